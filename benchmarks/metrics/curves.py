"""Areas under curves of right shares: that of many errors is the mean of the areas of each error alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["area_under_curve", "area_under_pck", "mean_pck"]

Doubles = NDArray[np.float64]


def area_under_pck(errors: NDArray[Any], thresholds: NDArray[Any]) -> Doubles:
    """(...) area under the PCK of each error alone, by the trapezoidal rule, 1 for no error, 0 for infinity.

    errors (...) and thresholds (T,), ascending, in one unit; an error equal to a threshold is right. hand3d's
    (ICCV 2017) and FreiHAND's (ICCV 2019), from 0 to 50 mm in 20 and in 100 thresholds.
    """
    steps = np.diff(thresholds.astype(np.float64), prepend=thresholds[0], append=thresholds[-1])
    weights = steps[1:] + steps[:-1]
    return _above(weights)[np.searchsorted(thresholds, errors, side="left")]


def mean_pck(errors: NDArray[Any], thresholds: NDArray[Any]) -> Doubles:
    """(...) share of the thresholds (T,), ascending, that each error is under: mmpose's `keypoint_auc`."""
    return _above(np.ones(len(thresholds)))[np.searchsorted(thresholds, errors, side="right")]


def area_under_curve(errors: NDArray[Any], limit: float) -> Doubles:
    """(...) exact area from 0 to `limit`, over `limit`, under the share of errors that are no larger."""
    area: Doubles = (1 - np.minimum(errors.astype(np.float64), limit) / limit).astype(np.float64)
    return area


def _above(weights: Doubles) -> Doubles:
    """(T + 1,) the share of all weights that the thresholds from each on have."""
    share: Doubles = np.append(np.cumsum(weights[::-1])[::-1], 0) / weights.sum()
    return share
