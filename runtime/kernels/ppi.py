"""Pose-proposal integration: from many overlapping candidates to one pose per person.

LCR-Net++ (Rogez, Weinzaepfel, Schmid, TPAMI 2019), used by DOPE (ECCV 2020) for bodies, hands and faces.
The candidates that overlap a person's best one are that person's. Among them, modes in 3D pose are sought;
the mode with the highest sum of scores is the person, and its score-weighted mean the pose.

`plain_ppi` in benchmarks/ppi.py takes the same steps one by one, and is the specification of `integrate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from wholebody.runtime.boxes import box_iou, clip_boxes, pose_extent
from wholebody.runtime.errors import CheckpointError
from wholebody.runtime.kernels.modes import Indices, Mask, Modes, best_modes, mean_joint_distance
from wholebody.runtime.kernels.proposals import Candidates, Detections, Part
from wholebody.runtime.people import Floats

__all__ = ["BODY_FUNCTIONS", "PpiOptions", "integrate"]

BODY_JOINT_SETS: Mapping[str, tuple[int, ...]] = {
    "torso": (4, 5, 10, 11),
    "torsohead": (4, 5, 10, 11, 12),
    "head": (12,),
    "shoulderhead": (10, 11, 12),
    "mje": tuple(range(13)),
}
BODY_FLIP = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12)
LEGS = slice(0, 4)  # ankles and knees, of which an upper-body class knows little
UPPER_BODY_LEG_WEIGHT = np.float32(0.1)

FUNCTIONS = ("bbox", "mje")  # of any part
BODY_FUNCTIONS = ("bbox", *BODY_JOINT_SETS, *(f"{name}LR" for name in BODY_JOINT_SETS))
BLOCK = 64, 2**16  # heads, and pairs, looked at together: few calls, and few pairs in vain


@dataclass(frozen=True)
class PpiOptions:
    """Options of one part, under the names of the published `{part}_ppi_kwargs`.

    K                bodies: classes from K on are upper bodies; hands: classes below K are right hands
    score_th         least score of a candidate; None: 0.1 / number of classes
    th_pose3D        mean 3D joint distance below which candidates share a mode, in the unit of pose3d
    th_iou           overlap above which (or joint distance below which) candidates are one person
    iou_func         overlap of boxes, "bbox", or distance of joints, "mje" for all; bodies have more of them,
                     BODY_FUNCTIONS, where "LR" forgives swapped sides
    min_mode_score   least score of the candidate that starts a further mode
    th_persondetect  what a person's summed score must exceed
    group_by         the boxes that "bbox" compares: "rpn", the proposals, or "pose", the extents of the poses

    Raises CheckpointError for a value that is not allowed.
    """

    K: int
    score_th: float | None = None
    th_pose3D: float = 0.3
    th_iou: float = 0.2
    iou_func: str = "bbox"
    min_mode_score: float = 0.05
    th_persondetect: float = 0.002
    group_by: Literal["rpn", "pose"] = "rpn"

    def __post_init__(self) -> None:
        _allow("iou_func", self.iou_func, BODY_FUNCTIONS)
        _allow("group_by", self.group_by, ("rpn", "pose"))
        for name in ("K", "th_pose3D", "th_iou", "min_mode_score", "th_persondetect"):
            _number(name, getattr(self, name), positive=name == "th_pose3D")
        if self.score_th is not None:
            _number("score_th", self.score_th)

    @classmethod
    def from_dict(cls, kwargs: Mapping[str, Any]) -> PpiOptions:
        """Options from a checkpoint's keyword arguments; CheckpointError for a name that is none of them."""
        names = tuple(field.name for field in fields(cls))
        for name in kwargs:
            _allow("option", name, names)
        if "K" not in kwargs:
            raise CheckpointError(
                "PPI option K is missing: give the number of full-body (right-hand) classes"
            )
        return cls(**kwargs)


def integrate(
    candidates: Candidates, part: Part, options: PpiOptions, resolution: tuple[int, int] | None = None
) -> Detections:
    """The people among one part's candidates, best first.

    `resolution` is the picture's (height, width) in the pixels of the candidates; only group_by="pose" needs
    it, to clip the boxes of the poses. Raises CheckpointError where the part has no such `iou_func`.
    """
    if part != "body":
        _allow(f"iou_func of a {part}", options.iou_func, FUNCTIONS)
    if not len(candidates):
        return Detections.empty(part)
    group = _group(candidates, options, resolution)
    modes = best_modes(
        candidates.pose3d,
        candidates.score,
        candidates.label,
        group,
        options.th_pose3D,
        options.min_mode_score,
    )
    return _people(candidates, part, options, modes)


# --- groups: candidates that overlap the best of them -------------------------------------------------------

Overlap = Callable[[Indices, Indices], Mask]  # (H,) heads and (A,) others -> (H, A)


def _group(candidates: Candidates, options: PpiOptions, resolution: tuple[int, int] | None) -> Indices:
    """(M,) the group of each candidate."""
    if options.iou_func != "bbox":
        return _greedy_groups(candidates.score, _pose_overlap(candidates, options))
    boxes = candidates.box
    if options.group_by == "pose":
        boxes = pose_extent(candidates.pose2d)
        boxes = boxes if resolution is None else clip_boxes(boxes, resolution)
    # All candidates of a box overlap the same boxes, so that the best of them can speak for all.
    first = np.ones(len(boxes), np.bool_)
    first[1:] = (boxes[1:] != boxes[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    best = np.maximum.reduceat(candidates.score, starts)
    group = _greedy_groups(best, _box_overlap(boxes[starts], options.th_iou))
    return np.repeat(group, np.diff(starts, append=len(boxes)))


def _greedy_groups(score: Floats, overlap: Overlap) -> Indices:
    """(N,) group numbers: the best-scored item left takes all that overlap it, and so on."""
    group = np.empty(len(score), np.intp)
    left = np.argsort(-score, kind="stable")
    found = 0
    while len(left):
        near = overlap(left[: max(1, min(BLOCK[0], BLOCK[1] // len(left)))], left)
        np.fill_diagonal(near, True)
        near = near[_heads(near)]
        taken = near.any(axis=0)
        group[left[taken]] = found + near[:, taken].argmax(axis=0)  # the first head that overlaps
        found += len(near)
        left = left[~taken]
    return group


def _heads(near: Mask) -> list[int]:
    """The rows that no earlier head overlaps."""
    heads: list[int] = []
    free = np.ones(near.shape[1], np.bool_)
    for i, row in enumerate(near):
        if free[i]:
            heads.append(i)
            free &= ~row
    return heads


def _box_overlap(boxes: Floats, th_iou: float) -> Overlap:
    def overlap(heads: Indices, others: Indices) -> Mask:
        near: Mask = box_iou(boxes[heads], boxes[others], pixel=1) > th_iou
        return near

    return overlap


def _pose_overlap(candidates: Candidates, options: PpiOptions) -> Overlap:
    """Overlap by mean 2D joint distance, as a share of twice the longer side of the head's box."""
    name = options.iou_func.removesuffix("LR")
    joints = list(range(candidates.pose2d.shape[1]) if name == "mje" else BODY_JOINT_SETS[name])
    pose = candidates.pose2d.take(joints, axis=1)
    swapped = (
        pose if name == options.iou_func else candidates.pose2d.take([BODY_FLIP[j] for j in joints], axis=1)
    )
    x, y = np.ascontiguousarray(pose.mean(axis=1).T)
    reach = np.float32(2 * options.th_iou) * (candidates.box[:, 2:] - candidates.box[:, :2] + 1).max(axis=1)

    def overlap(heads: Indices, others: Indices) -> Mask:
        # A mean of distances is no less than the distance of the means, swapped or not: most pairs end here.
        apart = (x[heads, None] - x[others]) ** 2 + (y[heads, None] - y[others]) ** 2
        near: Mask = apart <= reach[heads, None] ** 2 * np.float32(1.0001)
        i, j = np.nonzero(near)
        head, other = heads[i], others[j]
        distance = mean_joint_distance(pose, head, pose, other)
        if swapped is not pose:
            distance = np.minimum(distance, mean_joint_distance(pose, head, swapped, other))
        near[i, j] = distance < reach[head]
        return near

    return overlap


# --- people: the weighted mean of each group's best mode ----------------------------------------------------


def _people(candidates: Candidates, part: Part, options: PpiOptions, modes: Modes) -> Detections:
    found = np.argsort(-modes.score, kind="stable")
    found = found[modes.score[found] > options.th_persondetect]
    pose2d, pose3d = _means(candidates, part, options, modes)
    label = candidates.label[modes.head[found]]
    return Detections(
        score=modes.score[found].astype(np.float32),
        pose2d=pose2d[found],
        pose3d=pose3d[found],
        label=label,
        is_right=label < options.K if part == "hand" else None,
        box=pose_extent(pose2d[found]),
    )


def _means(candidates: Candidates, part: Part, options: PpiOptions, modes: Modes) -> tuple[Floats, Floats]:
    """(G, J, 2) and (G, J, 3) score-weighted poses; NaN where all scores are zero."""
    rows = modes.members
    weights = np.repeat(candidates.score[rows, None, None], candidates.pose2d.shape[1], axis=1)
    if part == "body":
        weights[candidates.label[rows] >= options.K, LEGS] *= UPPER_BODY_LEG_WEIGHT
    total = np.add.reduceat(weights, modes.starts)
    pose2d: Floats = np.add.reduceat(candidates.pose2d[rows] * weights, modes.starts)
    pose3d: Floats = np.add.reduceat(candidates.pose3d[rows] * weights, modes.starts)
    with np.errstate(invalid="ignore"):
        pose2d /= total
        pose3d /= total
    return pose2d, pose3d


def _number(name: str, value: Any, positive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and (value > 0 if positive else value >= 0)):
        allowed = "above 0" if positive else "from 0"
        raise CheckpointError(f"PPI option {name}: got {value!r}; allowed are numbers {allowed}")


def _allow(what: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise CheckpointError(f"PPI {what}: got {value!r}; allowed are {', '.join(allowed)}")
