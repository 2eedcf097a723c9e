"""Resamples of pictures, and the interval that figures of them lie in (Efron's percentile bootstrap)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "interval", "resamples"]

RESAMPLES = 1000
BLOCK = 64
OUTSIDE = (2.5, 97.5)  # per cent


def resamples(pictures: int) -> Iterator[NDArray[np.int64]]:
    """`RESAMPLES`, always the same, in blocks of (R, pictures): how often each picture is drawn."""
    rng = np.random.default_rng(0)
    for first in range(0, RESAMPLES, BLOCK):
        rows = min(BLOCK, RESAMPLES - first)
        drawn = rng.integers(pictures, size=(rows, pictures)) + pictures * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * pictures).reshape(rows, pictures)


def interval(figures: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % of (R,) figures; None where no resample has one (NaN)."""
    known = figures[np.isfinite(figures)]
    if not len(known):
        return None
    low, high = np.percentile(known, OUTSIDE)
    return float(low), float(high)
