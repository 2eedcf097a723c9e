"""How alike two poses are, and the suppression of poses that show the same person.

Object keypoint similarity as COCO has it; the suppression is that of the top-down family (mmpose, Apache-2.0:
`oks_iou`, `oks_nms`), with one difference: a keypoint that either pose has not seen does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats

__all__ = ["oks", "oks_nms"]


def oks(
    a: NDArray[Any],
    b: NDArray[Any],
    areas: NDArray[Any],
    sigmas: Sequence[float] | NDArray[Any],
    visible: NDArray[np.bool_],
) -> Floats:
    """(N, M) float32 in 0..1: mean over the visible keypoints of exp(-d² / (2 · area · (2σ)²)).

    a (N, K, 2) and b (M, K, 2) pixels; areas, square pixels, as (M,) or (N, M); K sigmas; visible as (M, K)
    or (N, M, K). A visible keypoint that is NaN adds 0; poses without a visible keypoint are not alike.
    """
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    dx, dy = (a[:, None, :, axis] - b[None, :, :, axis] for axis in (0, 1))
    spread = 2 * (2 * np.asarray(sigmas, np.float32)) ** 2
    area = np.asarray(areas, np.float32)[..., None] + np.float32(np.spacing(1))  # of a point as well
    likeness = np.exp(-(dx * dx + dy * dy) / (area * spread))
    counts = visible & ~np.isnan(likeness)
    total = np.sum(likeness, axis=2, where=counts, dtype=np.float32)
    alike: Floats = total / np.maximum(visible.sum(axis=-1), 1).astype(np.float32)
    return alike


def oks_nms(
    keypoints: NDArray[Any],
    scores: NDArray[Any],
    score: NDArray[Any],
    areas: NDArray[Any],
    sigmas: Sequence[float] | NDArray[Any],
    threshold: float = 0.9,
) -> NDArray[np.intp]:
    """The people that greedy suppression keeps, best first; of equal scores the first.

    keypoints (N, K, 2) and areas (N,) in pixels of one picture, scores (N, K) of the keypoints (0: not seen),
    score (N,) of the people. A person goes who is alike a better one by more than `threshold`: OKS over the
    keypoints both have seen, with the mean of their areas.
    """
    seen = np.asarray(scores) > 0
    areas = np.asarray(areas, np.float32)
    both = seen[:, None] & seen
    alike = oks(keypoints, keypoints, (areas[:, None] + areas) / 2, sigmas, both) > threshold
    order = np.argsort(-np.asarray(score), kind="stable")
    gone = np.zeros(len(order), np.bool_)
    kept: list[int] = []
    for person in order.tolist():
        if not gone[person]:
            kept.append(person)
            gone |= alike[person]
    return np.array(kept, np.intp)
