"""Normalised mean errors of faces: 68 landmarks of iBUG, over a size that each data set defines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.pixels import landmark_size

__all__ = ["box_size", "normalised_errors", "outer_eye_distance"]

Doubles = NDArray[np.float64]
OUTER_EYES = (36, 45)  # corners: of the person's right eye, of the left one


def normalised_errors(apart: Doubles, sizes: Doubles) -> Doubles:
    """(G,) mean of (G, K) distances over (G,) sizes, in pixels.

    Landmarks that are NaN, not labelled, are left out of the mean; one that is infinite, missed, makes it
    infinite. NaN where no landmark is labelled.
    """
    labelled = ~np.isnan(apart)
    count = labelled.sum(axis=1)
    mean = np.where(labelled, apart, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean / np.maximum(sizes, 1), np.nan)


def outer_eye_distance(truth: Doubles) -> Doubles:
    """(G,) pixels between the outer corners of the eyes: 300-W's size (Sagonas et al., 2016)."""
    right, left = (truth[:, corner] for corner in OUTER_EYES)
    distance: Doubles = np.linalg.norm(right - left, axis=1)
    return distance


def box_size(truth: Doubles) -> Doubles:
    """(G,) pixels: √(w·h) of the box around the landmarks, AFLW2000-3D's size (3DDFA, CVPR 2016)."""
    return landmark_size(truth)
