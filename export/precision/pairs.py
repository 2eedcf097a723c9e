"""Poses of two networks brought together: who is the same, and how far each joint lies from the other's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.export.certificate import Matching
from wholebody.export.precision.poses import Poses
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.people import Floats

__all__ = ["Pairs", "compare", "count_people", "pair_up"]

APART = 0.3  # of the person's size: further apart, on average, two poses are of two people

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Pairs:
    """One part's poses in the reference's answer to one input, and what became of them.

    apart   (M, J) pixels between both networks' joints, NaN where either has none
    solid   (M, J) millimetres between both when each pose has its mean at the origin; None in 2D
    alike   (M, J) similarity of 0 to 1: of OKS for a joint, of IoU for a box; 0 where the joint was lost
    size    (M,) pixels, of the person
    seen    (M, J) whether the reference has the joint; sure: and is confident of it
    gained  joints of which the other network alone is confident
    lost    joints of which the reference alone is
    """

    apart: Floats
    solid: Floats | None
    alike: Floats
    size: Floats
    seen: Mask
    sure: Mask
    lost: int
    gained: int


def pair_up(a: Poses, b: Poses) -> tuple[Rows, Rows]:
    """Rows of a and b that are each other's nearest in mean joint distance, and near enough."""
    if a.fixed:
        return np.arange(len(a)), np.arange(len(b))
    if not len(a) or not len(b):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    both: Mask = (a.scores[:, None] > 0) & (b.scores[None] > 0)
    apart = np.linalg.norm(a.keypoints[:, None] - b.keypoints, axis=3)
    shared = both.sum(axis=2)
    total = np.where(both, apart, 0).sum(axis=2)
    distance = np.divide(total, shared, out=np.full(total.shape, np.inf), where=shared > 0) / a.size[:, None]
    nearest, rows = distance.argmin(axis=1), np.arange(len(a))
    mutual = (distance.argmin(axis=0)[nearest] == rows) & (distance[rows, nearest] <= APART)
    return rows[mutual], nearest[mutual]


def count_people(a: Poses, b: Poses) -> Matching:
    """People of whom a network is confident of any joint: in both, in the reference alone, in the other.

    One who is found again with less confidence is not lost, unless the question was about that person alone.
    """
    ours, theirs = (np.asarray(poses.sure.any(axis=1)) for poses in (a, b))
    rows, others = pair_up(a, b)
    matched = int((ours[rows] & (theirs[others] | (not a.fixed))).sum())
    known = int((theirs[others] & (ours[rows] | (not a.fixed))).sum())
    return Matching(matched, int(ours.sum()) - matched, int(theirs.sum()) - known)


def compare(a: Poses, b: Poses, sigmas: Floats | None) -> Pairs:
    """What became of the reference's poses `a` in `b`; sigmas are OKS's (J,), None for boxes."""
    rows, others = pair_up(a, b)
    keypoints, scores = np.full_like(a.keypoints, np.nan), np.zeros_like(a.scores)
    keypoints[rows], scores[rows] = b.keypoints[others], b.scores[others]
    apart = np.linalg.norm(a.keypoints - keypoints, axis=2)
    both = int((a.sure & (scores >= a.confident)).sum())
    return Pairs(
        apart=apart,
        solid=_solid(a, b, rows, others),
        alike=_iou(a.keypoints, keypoints) if sigmas is None else _oks(apart, a.area, sigmas),
        size=a.size,
        seen=a.scores > 0,
        sure=a.sure,
        lost=int(a.sure.sum()) - both,
        gained=int(b.sure.sum()) - both,
    )


def _solid(a: Poses, b: Poses, rows: Rows, others: Rows) -> Floats | None:
    if a.keypoints3d is None or b.keypoints3d is None:
        return None
    apart = np.full(a.scores.shape, np.nan, np.float32)
    ours, theirs = _centred(a.keypoints3d[rows]), _centred(b.keypoints3d[others])
    apart[rows] = np.linalg.norm(ours - theirs, axis=2) * 1000
    return apart


def _centred(points: Floats) -> Floats:
    if not points.size:
        return points
    moved: Floats = points - points.mean(axis=1, keepdims=True)
    return moved


def _oks(apart: Floats, area: Floats, sigmas: Floats) -> Floats:
    """The summands of object keypoint similarity: COCO's exp(-d² / (2 · area · (2σ)²))."""
    spread = 2 * area[:, None] * (2 * sigmas) ** 2
    alike: Floats = np.nan_to_num(np.exp(-np.square(apart) / spread), nan=0.0)
    return alike


def _iou(ours: Floats, theirs: Floats) -> Floats:
    """Intersection over union of (M, 2, 2) corners, row by row, at both of them."""
    pairs = zip(ours.reshape(-1, 1, 4), np.nan_to_num(theirs).reshape(-1, 1, 4), strict=True)
    iou = np.array([box_iou(a, b)[0, 0] for a, b in pairs], np.float32)
    return np.repeat(iou[:, None], 2, axis=1)
