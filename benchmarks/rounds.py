"""Ratios of latencies that were measured in rounds, with intervals by bootstrap.

Frames of one round are not independent, so whole rounds are resampled (percentile bootstrap). Rounds of two
runs that took turns belong together and are resampled together: both saw the same moods of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.recorded import Estimate, Rounds

__all__ = ["Timed", "change", "ratio"]

Doubles = NDArray[np.float64]
RESAMPLES = 4000
LEAST_ROUNDS = 3  # for an interval
CHUNK = 4_000_000  # times resampled at once


@dataclass(frozen=True)
class Timed:
    """Milliseconds in rounds; with an anchor, in units of the median of what took turns with them."""

    rounds: Rounds
    anchor: Rounds = ()


def ratio(slow: Rounds, fast: Rounds, *, confidence: float = 0.95) -> Estimate | None:
    """The median of `slow` over that of `fast`, which took turns. None where one of them is empty."""
    if not slow or not fast:
        return None
    value, resampled = _level(Timed(slow, fast), 0.5, np.random.default_rng(0))
    return _estimate(value, resampled, confidence)


def change(old: Timed, new: Timed, *, share: float = 0.5, confidence: float = 0.95) -> Estimate | None:
    """A quantile (the median) of `new` over that of `old`, measured apart. None where one of them is "
    "empty."""
    if not old.rounds or not new.rounds:
        return None
    rng = np.random.default_rng(0)
    (new_value, of_new), (old_value, of_old) = (_level(each, share, rng) for each in (new, old))
    return _estimate(
        new_value / old_value, None if of_new is None or of_old is None else of_new / of_old, confidence
    )


def _estimate(value: float, resampled: Doubles | None, confidence: float) -> Estimate:
    if resampled is None:
        return Estimate(value)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Estimate(value, (float(low), float(high)))


def _level(of: Timed, share: float, rng: np.random.Generator) -> tuple[float, Doubles | None]:
    """The quantile, by the anchor's median; and that of every resample, None where rounds are too few."""
    value, resampled, chosen = float(np.quantile(np.concatenate(of.rounds), share)), None, None
    if len(of.rounds) >= LEAST_ROUNDS:
        chosen = rng.integers(len(of.rounds), size=(RESAMPLES, len(of.rounds)))
        resampled = _resampled(of.rounds, chosen, share)
    if not of.anchor:
        return value, resampled
    value /= float(np.median(np.concatenate(of.anchor)))
    if resampled is None or len(of.anchor) < LEAST_ROUNDS:
        return value, None
    if len(of.anchor) != len(of.rounds):
        chosen = rng.integers(len(of.anchor), size=(RESAMPLES, len(of.anchor)))
    assert chosen is not None
    return value, resampled / _resampled(of.anchor, chosen, 0.5)


def _resampled(rounds: Rounds, chosen: NDArray[np.int64], share: float) -> Doubles:
    """The quantile of every resample (R,), for the rounds' numbers (R, rounds); rounds differ in length."""
    padded = np.full((len(rounds), max(map(len, rounds))), np.nan)
    for row, times in zip(padded, rounds, strict=True):
        row[: len(times)] = times
    parts = -(-chosen.size * padded.shape[1] // CHUNK)
    return np.concatenate([_quantiles(padded[part], share) for part in np.array_split(chosen, parts)])


def _quantiles(times: Doubles, share: float) -> Doubles:
    """Linearly interpolated, of (R, rounds, frames) over all but R, leaving NaN out."""
    ordered = np.sort(times.reshape(len(times), -1), axis=1)  # NaN last
    place = share * (np.isfinite(ordered).sum(axis=1) - 1)
    index = np.stack([np.floor(place), np.ceil(place)], axis=1).astype(np.int64)
    low, high = np.take_along_axis(ordered, index, axis=1).T
    return np.asarray(low + (high - low) * (place - index[:, 0]))
