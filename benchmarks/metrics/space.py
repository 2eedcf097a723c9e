"""Errors in space: root-relative MPJPE, PA-MPJPE and PCK3D, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned", "centred", "mpjpe", "pa_mpjpe", "pck3d"]

Numbers = NDArray[Any]


def centred(poses: Numbers, root: Sequence[int] | None = None) -> NDArray[np.float64]:
    """(N, J, 3) poses, each with the mean of its `root` joints (None: of all its joints) at the origin."""
    points = poses.astype(np.float64)
    at = points if root is None else points[:, list(root)]
    moved: NDArray[np.float64] = points - at.mean(axis=1, keepdims=True)
    return moved


def mpjpe(predicted: Numbers, truth: Numbers) -> float:
    """Mean per-joint position error in mm of (N, J, 3) poses in metres; NaN without poses.

    Nothing is aligned here: centre both before, as Human3.6M and MuPoTS-3D do at the pelvis.
    """
    return float(_millimetres(predicted, truth).mean()) if len(truth) else float("nan")


def pa_mpjpe(predicted: Numbers, truth: Numbers) -> float:
    """`mpjpe` after each pose is moved, turned and scaled onto its truth as well as can be (Procrustes)."""
    return mpjpe(aligned(predicted, truth), truth)


def pck3d(predicted: Numbers, truth: Numbers, millimetres: float = 150.0) -> float:
    """Share of joints nearer than 150 mm, of centred (N, J, 3) poses in metres; NaN without poses.

    Mehta et al.'s 3DPCK as in MuPoTS-3D over matched people, here without rescaling to the true bone lengths.
    """
    return float((_millimetres(predicted, truth) < millimetres).mean()) if len(truth) else float("nan")


def aligned(predicted: Numbers, truth: Numbers) -> NDArray[np.float64]:
    """(N, J, 3) predicted poses under the similarity (no mirroring) that brings each nearest to its truth.

    Umeyama's least squares (1991). A pose shrunk to a point stays one, at the truth's centre.
    """
    ours, theirs = centred(predicted), centred(truth)
    u, stretch, vt = np.linalg.svd(ours.transpose(0, 2, 1) @ theirs)
    proper = np.ones_like(stretch)
    proper[:, 2] = np.sign(np.linalg.det(u @ vt))
    turn = (u * proper[:, None]) @ vt
    extent = (ours**2).sum(axis=(1, 2)).clip(min=np.finfo(np.float64).tiny)
    scale = (stretch * proper).sum(axis=1) / extent
    at = truth.astype(np.float64).mean(axis=1, keepdims=True)
    placed: NDArray[np.float64] = at + scale[:, None, None] * (ours @ turn)
    return placed


def _millimetres(predicted: Numbers, truth: Numbers) -> NDArray[np.float64]:
    """(N, J) distances of poses in metres."""
    apart: NDArray[np.float64] = 1000 * np.linalg.norm(predicted.astype(np.float64) - truth, axis=2)
    return apart
