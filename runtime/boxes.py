"""Box arithmetic. A box is x0, y0, x1, y1 in pixels; arrays of boxes are (N, 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats

__all__ = ["box_iou", "clip_boxes", "grow_boxes", "pose_extent", "suppress"]


def box_iou(a: NDArray[Any], b: NDArray[Any], pixel: float = 0.0) -> Floats:
    """(N, M) float32 intersection over union of (N, 4) and (M, 4) boxes; 0 where neither has an area.

    With `pixel` = 1 a box includes its last row and column, so that its area is (x1-x0+1)(y1-y0+1): the
    convention of the pose-proposal networks.
    """
    a, b, one = np.asarray(a, np.float32), np.asarray(b, np.float32), np.float32(pixel)
    width = np.minimum(a[:, 2, None], b[:, 2]) - np.maximum(a[:, 0, None], b[:, 0]) + one
    height = np.minimum(a[:, 3, None], b[:, 3]) - np.maximum(a[:, 1, None], b[:, 1]) + one
    shared: Floats = width.clip(min=0) * height.clip(min=0)
    union = _areas(a, one)[:, None] + _areas(b, one) - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def suppress(boxes: NDArray[Any], score: NDArray[Any], iou_threshold: float) -> NDArray[np.intp]:
    """The boxes that greedy non-maximum suppression keeps, best first; of equal scores the first."""
    left = np.argsort(-score, kind="stable")
    kept: list[int] = []
    while len(left):
        kept.append(int(left[0]))
        best, left = left[:1], left[1:]
        left = left[box_iou(boxes[best], boxes[left])[0] <= iou_threshold]
    return np.array(kept, np.intp)


def clip_boxes(boxes: NDArray[Any], image_hw: tuple[int, int]) -> Floats:
    """(N, 4) boxes cut to a picture of (height, width): x to 0 .. width-1, y to 0 .. height-1."""
    height, width = image_hw
    last = np.array([width - 1, height - 1, width - 1, height - 1], np.float32)
    clipped: Floats = np.clip(np.asarray(boxes, np.float32), np.float32(0), last)
    return clipped


def grow_boxes(boxes: NDArray[Any], fraction: float) -> Floats:
    """(N, 4) boxes moved outwards on every side by a fraction of their width or height."""
    boxes = np.asarray(boxes, np.float32)
    margin = np.float32(fraction) * (boxes[:, 2:] - boxes[:, :2])
    grown: Floats = boxes + np.concatenate([-margin, margin], axis=1)
    return grown


def pose_extent(pose2d: NDArray[Any]) -> Floats:
    """(N, 4) tight boxes around (N, J, 2) poses."""
    pose2d = np.asarray(pose2d, np.float32)
    return np.concatenate([pose2d.min(axis=1), pose2d.max(axis=1)], axis=1)


def _areas(boxes: Floats, one: np.float32) -> Floats:
    width, height = boxes[:, 2] - boxes[:, 0] + one, boxes[:, 3] - boxes[:, 1] + one
    areas: Floats = width.clip(min=0) * height.clip(min=0)
    return areas
