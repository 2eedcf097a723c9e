"""Boxes around the people of a picture as a detector would give them, and who is worth a look."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SIDE", "inside", "people_boxes", "worth_a_crop"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
LEAST_JOINTS, LEAST_SIDE = 8, 40.0  # visible joints; pixels of the box's longer side


def inside(keypoints: NDArray[Any], width: int, height: int) -> Bools:
    """(..., K) whether (..., K, 2) pixels lie in a picture of this size."""
    within: Bools = np.all((keypoints >= 0) & (keypoints <= (width - 1, height - 1)), axis=-1)
    return within


def people_boxes(keypoints: Floats, counted: Bools) -> Floats:
    """(P, 4) x0 y0 x1 y1 around the counted (P, K) of (P, K, 2) keypoints; zeros where there is none."""
    low = np.where(counted[..., None], keypoints, np.inf).min(axis=1)
    high = np.where(counted[..., None], keypoints, -np.inf).max(axis=1)
    boxes = np.concatenate([low, high], axis=1)
    return np.where(counted.any(axis=1, keepdims=True), boxes, 0).astype(np.float32)


def worth_a_crop(boxes: Floats, visible: Bools) -> NDArray[np.intp]:
    """Those of the P people, boxes (P, 4) and visible (P, K), who are large and in sight enough."""
    large = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) >= LEAST_SIDE
    return np.flatnonzero(large & (visible.sum(axis=1) >= LEAST_JOINTS))
