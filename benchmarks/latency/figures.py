"""What rounds of times come to: percentiles with intervals, and the ratio of two contenders."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIGURES", "figures"]

Milliseconds = NDArray[np.float64]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
FIGURES = tuple(PERCENTILES)
RESAMPLES = 1000
LEAST_ROUNDS = 3  # for an interval


def figures(rounds: Milliseconds) -> dict[str, list[float | None]]:
    """By name, [value, low, high] of (rounds, frames) milliseconds; low and high None below three rounds.

    The interval holds 95 % of the percentile bootstrap over rounds, whose frames are not independent. What is
    resampled cannot exceed the maximum that was seen, so that of "max" tells only how lonely it is.
    """
    values = np.percentile(rounds, list(PERCENTILES.values()))
    low, high = _intervals(rounds) if len(rounds) >= LEAST_ROUNDS else ([None] * 5, [None] * 5)
    return {
        name: list(map(_plain, row))
        for name, row in zip(FIGURES, zip(values, low, high, strict=True), strict=True)
    }


def _intervals(rounds: Milliseconds) -> tuple[Iterable[float], Iterable[float]]:
    chosen = np.random.default_rng(0).integers(len(rounds), size=(RESAMPLES, len(rounds)))
    resampled = np.percentile(rounds[chosen].reshape(RESAMPLES, -1), list(PERCENTILES.values()), axis=1)
    return tuple(np.percentile(resampled, (2.5, 97.5), axis=1))


def _plain(number: float | None) -> float | None:
    """Microseconds are as fine as a clock is read here."""
    return None if number is None else round(float(number), 3)
