"""Predictions of one picture held against its truth: what is right, what is wrong, and what is not judged.

Matching is one to one and greedy by score, as COCO's. Alike enough to be the same are

    body  OKS >= 0.5 over the visible joints; its `area` is the true box's (COCO: the segment's, about half)
    hand  mean distance of visible joints <= 0.3 of the longer side of the true box, and the same side
    face  mean distance of visible landmarks <= 0.2 of √(w·h) of the box around the true landmarks

True boxes are the ones a network is trained on: the pose's extent with a margin of 10 %, cut at the picture.
Truths that are too small or too hidden are ignored, by the rule of training (`synthetic.truth`): an unmatched
prediction whose box overlaps one of them by an IoU of 0.3 is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.pixels import landmark_size, mean_distance
from wholebody.benchmarks.synthetic.truth import BOX_MARGIN, PartTruth
from wholebody.runtime.boxes import box_iou, clip_boxes, grow_boxes, pose_extent
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import DOPE_BODY

__all__ = ["RULES", "Judgement", "PartPredictions", "Rule", "judge", "longer_side", "part_predictions"]

Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
Similarity = NDArray[np.float64]
IGNORED_OVERLAP = 0.3  # from here on training does not take a box for background either
SLICES = {"body": ("body",), "hand": ("right_hand", "left_hand"), "face": ("face",)}


@dataclass(frozen=True, eq=False)
class PartPredictions:
    """The P instances of one part predicted in one picture, as `PartTruth` holds the true ones.

    score (P,); boxes (P, 4) and pose2d (P, J, 2) pixels; pose3d (P, J, 3) metres in the camera's axes; group
    (P,) is 0 for right hands, 1 for left ones, 0 for the other parts.
    """

    score: Floats
    boxes: Floats
    pose2d: Floats
    pose3d: Floats
    group: NDArray[np.int64]


def part_predictions(people: People, part: str, image_hw: tuple[int, int]) -> PartPredictions:
    """The bodies, hands or faces of people in a picture of (height, width).

    A body's score is its person's, which may exceed 1; a hand's or face's is its best keypoint's. Raises
    ValueError for people without 3D.
    """
    if people.keypoints3d is None:
        raise ValueError("these people have no 3D keypoints")
    slices = [people.skeleton.parts[name] for name in SLICES[part]]
    scores, pose2d, pose3d = (
        np.concatenate([array[:, where] for where in slices])
        for array in (people.scores, people.keypoints, people.keypoints3d)
    )
    score = people.score if part == "body" else scores.max(axis=1)
    boxes = clip_boxes(grow_boxes(pose_extent(pose2d), BOX_MARGIN), image_hw)
    group = np.repeat(np.arange(len(slices)), len(people))
    seen = (scores > 0).any(axis=1)
    return PartPredictions(score[seen], boxes[seen], pose2d[seen], pose3d[seen], group[seen])


def longer_side(boxes: Floats) -> Floats:
    """(N,) pixels of (N, 4) boxes."""
    side: Floats = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return side


def _bodies_alike(predictions: PartPredictions, truth: PartTruth) -> Similarity:
    area = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(axis=1)
    return oks(predictions.pose2d, truth.pose2d, truth.visible, area, DOPE_BODY.sigmas)


def _hands_alike(predictions: PartPredictions, truth: PartTruth) -> Similarity:
    apart = mean_distance(predictions.pose2d, truth.pose2d, truth.visible)
    return -apart / longer_side(truth.boxes)


def _faces_alike(predictions: PartPredictions, truth: PartTruth) -> Similarity:
    apart = mean_distance(predictions.pose2d, truth.pose2d, truth.visible)
    return -apart / landmark_size(truth.pose2d)


@dataclass(frozen=True)
class Rule:
    """When a prediction and a truth of a part are the same.

    similarity gives (P, G); thresholds are the ones to match at, of which the first is the operating point.
    """

    similarity: Callable[[PartPredictions, PartTruth], Similarity]
    thresholds: tuple[float, ...]


RULES: Mapping[str, Rule] = {
    "body": Rule(_bodies_alike, (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)),
    "hand": Rule(_hands_alike, (-0.3,)),
    "face": Rule(_faces_alike, (-0.2,)),
}


@dataclass(frozen=True, eq=False)
class Judgement:
    """One part in one picture.

    truth        the G truths to be found; `ignored` more were too small or too hidden
    predictions  all P of them
    matched      (thresholds, P) the truth of each prediction, or UNMATCHED
    counted      (thresholds, P) whether a prediction is judged at all
    wrong_side   unmatched predictions that are an unmatched truth but for the side, of hands
    """

    truth: PartTruth
    ignored: int
    predictions: PartPredictions
    matched: Indices
    counted: Mask
    wrong_side: int


def judge(part: str, predictions: PartPredictions, truth: PartTruth) -> Judgement:
    """Match one picture's predictions of a part with its truth."""
    judged, ignored = _select(truth, ~truth.ignore), _select(truth, truth.ignore)
    rule, score = RULES[part], predictions.score
    alike = rule.similarity(predictions, judged)
    same_side = (predictions.group[:, None] == judged.group) | (part != "hand")
    own = np.where(same_side, alike, -np.inf)
    matched = np.stack([match(own, score, threshold) for threshold in rule.thresholds])
    overlapping = box_iou(predictions.boxes, ignored.boxes).max(axis=1, initial=0) >= IGNORED_OVERLAP
    return Judgement(
        truth=judged,
        ignored=len(ignored.boxes),
        predictions=predictions,
        matched=matched,
        counted=(matched != UNMATCHED) | ~overlapping,
        wrong_side=_wrong_side(np.where(same_side, -np.inf, alike), score, matched[0], rule.thresholds[0]),
    )


def _wrong_side(other: Similarity, score: Floats, matched: Indices, threshold: float) -> int:
    """How many predictions left over are a truth left over, of the `other` side."""
    taken = matched != UNMATCHED
    left = other.copy()
    left[taken] = -np.inf
    left[:, matched[taken]] = -np.inf
    return int((match(left, score, threshold) != UNMATCHED).sum())


def _select(truth: PartTruth, which: Mask) -> PartTruth:
    return PartTruth(*(getattr(truth, field.name)[which] for field in fields(truth)))
