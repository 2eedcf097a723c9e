"""What one picture adds to a metric: sums and counts by cell (`datasets.dataset.Tally`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["tallied"]

Doubles = NDArray[np.float64]


def tallied(values: NDArray[Any], cell: int = 0, cells: int = 1) -> tuple[Doubles, Doubles]:
    """(C,) sum and (C,) count of the values, all in one cell; those that are NaN do not count."""
    sums, counts = np.zeros(cells), np.zeros(cells)
    known = values[~np.isnan(values)]
    sums[cell], counts[cell] = known.sum(), known.size
    return sums, counts
