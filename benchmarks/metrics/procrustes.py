"""Poses under the similarity that brings each nearest to its truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.joint_errors import known

__all__ = ["procrustes"]

Numbers = NDArray[Any]
Doubles = NDArray[np.float64]


def procrustes(predicted: Numbers, truth: Numbers) -> Doubles:
    """(N, J, D) predicted poses, each moved, turned and scaled (not mirrored) as near to its truth as can be.

    Least squares over the joints that are known, i.e. not NaN, in both (Umeyama 1991); the others move along.
    A pose shrunk to a point stays one; without a joint known in both, all of it is NaN.
    """
    shared = (known(predicted) & known(truth))[..., None]
    (ours, from_), (theirs, to) = (
        _spread(points.astype(np.float64), shared) for points in (predicted, truth)
    )
    u, stretch, vt = np.linalg.svd(ours.transpose(0, 2, 1) @ theirs)
    sign = np.ones_like(stretch)
    sign[:, -1] = np.sign(np.linalg.det(u @ vt))
    turn = (u * sign[:, None]) @ vt
    extent = (ours**2).sum(axis=(1, 2)).clip(min=np.finfo(np.float64).tiny)
    scale = (stretch * sign).sum(axis=1) / extent
    placed: Doubles = to + scale[:, None, None] * ((predicted - from_) @ turn)
    return placed


def _spread(points: Doubles, shared: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Shared points about their mean, 0 for the others; and that mean, NaN where there is none."""
    count = shared.sum(axis=1, keepdims=True)
    total = np.where(shared, points, 0).sum(axis=1, keepdims=True)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.where(shared, points - mean, 0), mean
