"""Distances in the picture: mean distance of poses, PCK and NME."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["landmark_size", "mean_distance", "nme", "pck"]

Numbers = NDArray[Any]


def mean_distance(predicted: Numbers, truth: Numbers, visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P, G) pixels: mean distance over a truth's visible joints; infinite where none is, or one is NaN.

    predicted (P, J, 2) and truth (G, J, 2) pixels, visible (G, J).
    """
    apart = np.linalg.norm(predicted[:, None].astype(np.float64) - truth[None], axis=3)
    count = visible.sum(axis=1)
    mean = np.where(visible, apart, 0).sum(axis=2) / np.maximum(count, 1)
    return np.where(np.isfinite(mean) & (count > 0), mean, np.inf)


def pck(
    predicted: Numbers, truth: Numbers, visible: NDArray[np.bool_], size: Numbers, fraction: float
) -> float:
    """Share of visible joints at most `fraction` of `size` from the truth; NaN without any.

    predicted and truth (N, J, 2) pixels of matched poses, visible (N, J), size (N,) pixels. All joints of all
    poses weigh the same. Yang and Ramanan's PCK (2013) where `size` is the longer side of the person's box.
    """
    apart = np.linalg.norm(predicted.astype(np.float64) - truth, axis=2)
    correct = apart <= fraction * size[:, None]
    return float(correct[visible].mean()) if visible.any() else float("nan")


def nme(predicted: Numbers, truth: Numbers) -> float:
    """Normalised mean error: mean distance of landmarks / √(w·h) of the true ones' box, mean over faces.

    predicted and truth (N, J, 2) pixels of matched faces; hidden landmarks count as well; NaN without faces.
    AFLW2000-3D's protocol (3DDFA), without its mean over three bins of yaw.
    """
    if not len(truth):
        return float("nan")
    apart = np.linalg.norm(predicted.astype(np.float64) - truth, axis=2).mean(axis=1)
    return float((apart / landmark_size(truth)).mean())


def landmark_size(landmarks: Numbers) -> NDArray[np.float64]:
    """(N,) pixels: √(w·h) of the box around (N, J, 2) landmarks, at least one pixel."""
    sides = np.ptp(landmarks.astype(np.float64), axis=1)
    size: NDArray[np.float64] = np.sqrt(sides.prod(axis=1)).clip(min=1)
    return size
