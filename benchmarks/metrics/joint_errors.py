"""Errors of joints in space and what is counted of them; what was not predicted is NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AUC_LIMITS", "area_under_curve", "joint_errors", "known", "within"]

Numbers = NDArray[Any]
Doubles = NDArray[np.float64]

AUC_LIMITS = np.arange(0, 151, 5)  # millimetres: of MPI-INF-3DHP's and MuPoTS-3D's publishers


def known(points: Numbers) -> NDArray[np.bool_]:
    """(N, J) bool: which of (N, J, D) points have all coordinates."""
    finite: NDArray[np.bool_] = np.all(np.isfinite(points), axis=2)
    return finite


def joint_errors(predicted: Numbers, truth: Numbers) -> Doubles:
    """(N, J) millimetres between (N, J, 3) poses in metres; NaN where a joint is not known in both."""
    apart: Doubles = 1000 * np.linalg.norm(predicted.astype(np.float64) - truth, axis=2)
    return apart


def within(errors: Doubles, labelled: NDArray[np.bool_], millimetres: float = 150.0) -> Doubles:
    """(N, J): 1 for a labelled joint nearer than that, 0 for one that is not or was not predicted, else NaN.

    Its mean is PCK3D (Mehta et al., 3DV 2017).
    """
    return np.where(labelled, errors < millimetres, np.nan)


def area_under_curve(errors: Doubles, labelled: NDArray[np.bool_]) -> Doubles:
    """(N, J): of the limits 0, 5 … 150 mm, the share that a labelled joint is under; else NaN.

    Its mean is the mean of PCK3D over the limits, which is called AUC (Mehta et al., 3DV 2017).
    """
    under = len(AUC_LIMITS) - np.searchsorted(AUC_LIMITS, errors, side="right")  # NaN is above all limits
    return np.where(labelled, under / len(AUC_LIMITS), np.nan)
