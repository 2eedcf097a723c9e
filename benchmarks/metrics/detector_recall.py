"""How many of the people in photographs a detector finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from wholebody.benchmarks.metrics.coco_ap import TruePeople
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.people import Floats

__all__ = ["FOUND_IOU", "DetectorRecall", "detector_recall", "pooled"]

FOUND_IOU = 0.5


@dataclass(frozen=True)
class DetectorRecall:
    """How many of the people with a labelled keypoint a detector finds, at IoU 0.5.

    covered   people on whom some box lies, be it one that lies on two
    found     people with a box of their own: one to one, best score first
    boxes     how many it answered with
    """

    people: int
    covered: int
    found: int
    boxes: int

    @property
    def recall(self) -> float:
        """The share of people who are covered."""
        return self.covered / self.people if self.people else math.nan

    @property
    def recall_one_to_one(self) -> float:
        return self.found / self.people if self.people else math.nan

    def to_dict(self) -> dict[str, int | float]:
        """The counts and both recalls."""
        return {**asdict(self), "recall": self.recall, "recall_one_to_one": self.recall_one_to_one}


def detector_recall(truth: TruePeople, boxes: Floats, score: Floats) -> DetectorRecall:
    """Of one picture: boxes (N, 4) pixels and score (N,) of what was detected in it."""
    judged = truth.judged()
    iou = box_iou(boxes, truth.boxes)
    taken = match(iou[:, ~truth.crowd], score, FOUND_IOU)
    found = np.flatnonzero(~truth.crowd)[taken[taken != UNMATCHED]]
    return DetectorRecall(
        people=int(judged.sum()),
        covered=int((iou.max(axis=0, initial=0) >= FOUND_IOU)[judged].sum()),
        found=int(judged[found].sum()),
        boxes=len(boxes),
    )


def pooled(recalls: Sequence[DetectorRecall]) -> DetectorRecall:
    """All pictures as one."""
    names = [field.name for field in fields(DetectorRecall)]
    return DetectorRecall(**{name: sum(getattr(recall, name) for recall in recalls) for name in names})
