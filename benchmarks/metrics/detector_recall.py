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
    """How many people a detector finds: one to one, best score first, at IoU 0.5.

    people, found   those with a labelled keypoint
    all_people, all_found   these and those without, but no crowds
    boxes           how many it answered with
    """

    people: int
    found: int
    all_people: int
    all_found: int
    boxes: int

    @property
    def recall(self) -> float:
        return self.found / self.people if self.people else math.nan

    @property
    def all_recall(self) -> float:
        return self.all_found / self.all_people if self.all_people else math.nan

    def to_dict(self) -> dict[str, int | float]:
        """The counts and both recalls."""
        return {**asdict(self), "recall": self.recall, "all_recall": self.all_recall}


def detector_recall(truth: TruePeople, boxes: Floats, score: Floats) -> DetectorRecall:
    """Of one picture: boxes (N, 4) pixels and score (N,) of what was detected in it."""
    people = ~truth.crowd
    matched = match(box_iou(boxes, truth.boxes[people]), score, FOUND_IOU)
    judged, found = truth.judged()[people], np.zeros(int(people.sum()), np.bool_)
    found[matched[matched != UNMATCHED]] = True
    return DetectorRecall(
        people=int(judged.sum()),
        found=int((found & judged).sum()),
        all_people=len(found),
        all_found=int(found.sum()),
        boxes=len(boxes),
    )


def pooled(recalls: Sequence[DetectorRecall]) -> DetectorRecall:
    """All pictures as one."""
    names = [field.name for field in fields(DetectorRecall)]
    return DetectorRecall(**{name: sum(getattr(recall, name) for recall in recalls) for name in names})
