"""Ratios of latencies that were measured in rounds, with intervals by bootstrap.

Frames of one round are not independent, so whole rounds are resampled (percentile bootstrap). Runs that took
turns are held against each other round by round: both saw the same moods of the machine, which cancel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.interleave import ratio_of_medians
from wholebody.benchmarks.recorded import Estimate, Latency, Rounds

__all__ = ["baselines", "change", "in_units_of", "ratio"]

Doubles = NDArray[np.float64]
RESAMPLES = 4000
LEAST_ROUNDS = 3  # for an interval
CHUNK = 4_000_000  # times resampled at once


def baselines(runs: Sequence[Latency]) -> dict[int, Latency]:
    """By the identity of a run whom it took turns with and is held to; itself for whoever is the measure.

    What was recorded without one is held to PyTorch's run of the same student and turns.
    """
    by_id = {(_turns(run), run.id): run for run in runs}
    pytorch = {(_turns(run), run.model.name): run for run in runs if run.is_reference}
    of = {
        id(run): by_id.get((_turns(run), run.base or "")) or pytorch.get((_turns(run), run.model.name))
        for run in runs
    }
    found = {key: base for key, base in of.items() if base is not None}
    return found | {id(base): base for base in found.values()}


def _turns(run: Latency) -> tuple[str, str]:
    return run.group, str(run.machine.get("host"))


def ratio(slow: Rounds, fast: Rounds) -> Estimate | None:
    """How many times the milliseconds of `fast` those of `slow` are; None unless they took turns."""
    if not slow or len(slow) != len(fast):
        return None
    medians = [np.array([[np.median(times)] for times in rounds]) for rounds in (slow, fast)]
    found = ratio_of_medians(medians[0], medians[1])
    return Estimate(found.value, (found.low, found.high) if len(slow) >= LEAST_ROUNDS else None)


def in_units_of(anchor: Rounds, rounds: Rounds) -> Rounds:
    """Each round's times by the median of what the anchor did in its turn of that round."""
    return tuple(times / np.median(beside) for times, beside in zip(rounds, anchor, strict=True))


def change(old: Rounds, new: Rounds, *, share: float = 0.5, confidence: float = 0.95) -> Estimate | None:
    """A quantile (the median) of `new` over that of `old`, measured apart; None where one is empty."""
    if not old or not new:
        return None
    value = float(np.quantile(np.concatenate(new), share) / np.quantile(np.concatenate(old), share))
    if min(len(old), len(new)) < LEAST_ROUNDS:
        return Estimate(value)
    rng, tail = np.random.default_rng(0), (1 - confidence) / 2
    ratios = _resampled(new, share, rng) / _resampled(old, share, rng)
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return Estimate(value, (float(low), float(high)))


def _resampled(rounds: Rounds, share: float, rng: np.random.Generator) -> Doubles:
    """The quantile of each of RESAMPLES resamples of the rounds, which may differ in length."""
    chosen = rng.integers(len(rounds), size=(RESAMPLES, len(rounds)))
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
