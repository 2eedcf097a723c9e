"""What a detector answers to the boxes of people, before non-maximum suppression.

RTMDet (arXiv 2212.07784) and YOLOX (arXiv 2107.08430) both answer on three grids of 8, 16 and 32 pixels;
the layouts are those of the published ONNX files. Boxes are x0 y0 x1 y1 in pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats
from wholebody.runtime.spec.detector import STRIDES

__all__ = ["decode_rtmdet", "decode_yolox", "unpack_suppressed"]


def decode_rtmdet(
    maps: Sequence[Floats], input_hw: tuple[int, int], *, person: int = 0, min_score: float = 0.0
) -> tuple[Floats, Floats]:
    """Boxes (N, 4) and score (N,) of people, float32, from one map a stride, in any order.

    Each map is (rows, columns, classes + 4): class logits, then the distances in pixels from the top left
    corner of the cell to the left, upper, right and lower side. What scores less than `min_score` or is not
    finite is left out.
    """
    found = [_rtmdet_level(level, input_hw, person, min_score) for level in maps]
    return _finite(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _rtmdet_level(
    level: Floats, input_hw: tuple[int, int], person: int, min_score: float
) -> tuple[Floats, Floats]:
    score = _sigmoid(level[..., person])
    rows, columns = np.nonzero(score >= min_score)
    stride = np.float32(input_hw[0] / len(level))
    corners = np.stack([columns, rows], axis=1).astype(np.float32) * stride
    sides = level[rows, columns, -4:]
    boxes = np.concatenate([corners - sides[:, :2], corners + sides[:, 2:]], axis=1, dtype=np.float32)
    return boxes, score[rows, columns]


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is left out
def decode_yolox(
    anchors: Floats, input_hw: tuple[int, int], *, person: int = 0, min_score: float = 0.0
) -> tuple[Floats, Floats]:
    """Boxes (N, 4) and score (N,) of people, float32, from (A, 5 + classes), one row a cell of the grids.

    A row holds the centre relative to its cell and the logarithm of the size, both in strides, then
    objectness and classes, whose product is the score. What scores less than `min_score` or is not finite is
    left out.
    """
    score = anchors[:, 4] * anchors[:, 5 + person]
    kept = np.flatnonzero(score >= min_score)
    cells = _cells(*input_hw)[kept]
    stride = cells[:, 2:]
    centre = (anchors[kept, :2] + cells[:, :2]) * stride
    half = np.exp(anchors[kept, 2:4]) * stride / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1, dtype=np.float32)
    return _finite(boxes, score[kept])


def unpack_suppressed(
    dets: Floats, labels: NDArray[Any] | None, *, person: int = 0, min_score: float = 0.0
) -> tuple[Floats, Floats]:
    """Boxes (N, 4) and score (N,) of people, float32, from a graph that ends in its own suppression.

    dets (M, 5) boxes and scores, labels (M,) class indices; None where the detector knows one class only.
    What scores less than `min_score` or is not finite is left out.
    """
    people = dets[:, 4] >= min_score
    if labels is not None:
        people &= labels == person
    return _finite(dets[people, :4], dets[people, 4])


def _finite(boxes: Floats, score: Floats) -> tuple[Floats, Floats]:
    whole = np.isfinite(boxes).all(axis=1) & np.isfinite(score)
    return boxes[whole], score[whole]


def _sigmoid(logits: Floats) -> Floats:
    halved: Floats = logits / np.float32(2)
    return (np.tanh(halved) + np.float32(1)) / np.float32(2)  # never overflows


@lru_cache(maxsize=8)
def _cells(height: int, width: int) -> Floats:
    """(A, 3) column, row and stride of every cell, grid after grid, row after row."""
    grids = []
    for stride in STRIDES:
        row, column = np.mgrid[: height // stride, : width // stride].reshape(2, -1)
        grids.append(np.stack([column, row, np.full_like(row, stride)], axis=1))
    cells = np.concatenate(grids).astype(np.float32)
    cells.flags.writeable = False
    return cells
