"""Sums and counts by joint (`datasets.dataset.Tally`): joints weigh the same, rarely labelled or not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cells", "by_joint", "found_alone", "where_labelled"]

Doubles = NDArray[np.float64]
Cells = tuple[Doubles, Doubles]


def by_joint(values: NDArray[Any]) -> Cells:
    """(K,) sums and (K,) counts of (G, K) values; those that are NaN do not count."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=0, dtype=np.float64), known.sum(axis=0, dtype=np.float64)


def where_labelled(values: NDArray[Any], errors: Doubles) -> Doubles:
    """The values of labelled joints; NaN where the error is: not labelled."""
    return np.where(np.isnan(errors), np.nan, values)


def found_alone(errors: Doubles) -> Doubles:
    """The errors of joints that were found; NaN for infinity: missed."""
    return np.where(np.isfinite(errors), errors, np.nan)
