"""Accuracy of a top-down student on photographs: `wholebody bench accuracy STUDENT --dataset coco`.

Twice over: with the true boxes, which judges the student alone, and with the detector's, which judges the
pair at its own operating point. The figures are COCO's and COCO-WholeBody's (see `metrics.coco_ap`); a
person's score is the box's times the mean of the keypoint scores above 0.2, as mmpose has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from rich.console import Console
from rich.progress import track

from wholebody.benchmarks.coco_report import CocoAccuracy, PartFigures
from wholebody.benchmarks.datasets.coco import CocoDataset, CocoPicture
from wholebody.benchmarks.metrics.coco_ap import FoundPeople, TruePeople, coco_average_precision
from wholebody.benchmarks.metrics.detector_recall import detector_recall, pooled
from wholebody.benchmarks.metrics.oks import oks
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Image, read_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133, Skeleton

__all__ = ["evaluate"]

WHOLE = "whole"
LEAST_SCORE = 0.2  # of a keypoint that counts for its person's score


class Pose(Protocol):
    """A top-down pipeline."""

    def __call__(self, image_bgr: Image, boxes: Floats | None = None) -> People: ...


class Detector(Protocol):
    """Boxes (N, 4) in pixels and score (N,) of the people in a picture."""

    def __call__(self, image_bgr: Image) -> tuple[Floats, Floats]: ...


def evaluate(
    pose: Pose,
    skeleton: Skeleton,
    dataset: CocoDataset,
    *,
    detector: Detector | None = None,
    console: Console | None = None,
) -> CocoAccuracy:
    """Run a pipeline on all photographs, with the true boxes and, with a detector, with its boxes too.

    skeleton   of the people that `pose` answers with: COCO17 or WHOLEBODY133
    console    shows the progress where it is a terminal

    Raises ValueError for another skeleton, SourceError for a photograph that cannot be read or is not the one
    that was annotated.
    """
    judged = _common(skeleton, dataset.skeleton)
    truth, with_true, with_detected, recalls = [], [], [], []
    for picture in _with_progress(dataset.pictures, console):
        image, people = _image(picture), _first(picture.people, len(judged))
        truth.append(people)
        with_true.append(_in_true_boxes(pose, image, people))
        if detector is not None:
            with_detected.append(_first_found(pose(image), len(judged)))
            recalls.append(detector_recall(people, *detector(image)))
    parts = dict(judged.parts) if len(judged.parts) == 1 else {**judged.parts, WHOLE: slice(None)}
    return CocoAccuracy(
        pictures=len(truth),
        parts={
            name: PartFigures(
                coco_average_precision(truth, with_true, judged.sigmas, part),
                coco_average_precision(truth, with_detected, judged.sigmas, part) if detector else None,
                _mean_oks(truth, with_true, judged.sigmas, part),
            )
            for name, part in parts.items()
        },
        detector=pooled(recalls) if detector else None,
    )


def _with_progress(pictures: Sequence[CocoPicture], console: Console | None) -> Iterable[CocoPicture]:
    if console is None or not console.is_terminal:
        return pictures
    return track(pictures, "photographs", console=console, transient=True)


def _common(student: Skeleton, marked: Skeleton) -> Skeleton:
    """The smaller of two skeletons, whose keypoints are the larger one's first."""
    if student.name not in (COCO17.name, WHOLEBODY133.name):
        raise ValueError(f"skeleton {student.name} cannot be judged on COCO, only coco17 and wholebody133")
    return min(student, marked, key=len)


def _image(picture: CocoPicture) -> Image:
    image = read_image(picture.path)
    height, width = image.shape[:2]
    if (width, height) != (picture.width, picture.height):
        raise SourceError(
            f"{picture.path} is {width} x {height}, but {picture.width} x {picture.height} was annotated: "
            "give the folder of the photographs as they were published"
        )
    return image


def _first(people: TruePeople, joints: int) -> TruePeople:
    keypoints, labelled = people.keypoints[:, :joints], people.labelled[:, :joints]
    return replace(people, keypoints=keypoints, labelled=labelled)


def _first_found(people: People, joints: int) -> FoundPeople:
    return FoundPeople(people.keypoints[:, :joints], _person_score(people))


def _person_score(people: People) -> Floats:
    """(N,) the box's score times the mean of the keypoint scores above 0.2."""
    good = people.scores > LEAST_SCORE
    mean = np.where(good, people.scores, 0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)
    score: Floats = (people.score * mean).astype(np.float32)
    return score


def _in_true_boxes(pose: Pose, image: Image, truth: TruePeople) -> FoundPeople:
    """One prediction for each of the G true people who are judged, NaN for the others and where none came."""
    found = FoundPeople(np.full_like(truth.keypoints, np.nan), np.zeros(len(truth.area), np.float32))
    asked = np.flatnonzero(truth.judged() & (truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1))
    people = pose(image, boxes=truth.boxes[asked]) if len(asked) else None
    if people is not None and len(people):
        own = asked[box_iou(people.boxes, truth.boxes[asked]).argmax(axis=1)]
        found.keypoints[own] = people.keypoints[:, : truth.keypoints.shape[1]]
        found.score[own] = _person_score(people)
    return found


def _mean_oks(
    truth: Sequence[TruePeople], found: Sequence[FoundPeople], sigmas: Sequence[float], part: slice
) -> float:
    values = [
        np.diag(oks(f.keypoints[:, part], t.keypoints[:, part], t.labelled[:, part], t.area, sigmas[part]))[
            t.judged(part)
        ]
        for t, f in zip(truth, found, strict=True)
    ]
    everybody = np.concatenate(values) if values else np.zeros(0)
    return float(everybody.mean()) if len(everybody) else math.nan
