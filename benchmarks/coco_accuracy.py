"""Accuracy of a top-down student on photographs: `wholebody bench accuracy STUDENT --dataset coco`.

Twice over: with the true boxes, which judges the student alone, and with the detector's, which judges the
pair at its own operating point. The figures are COCO's and COCO-WholeBody's (see `metrics.coco_ap`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from wholebody.benchmarks.coco_report import CocoAccuracy, CocoReport, PartFigures
from wholebody.benchmarks.datasets.coco import CocoDataset, CocoPicture, read_coco
from wholebody.benchmarks.json_file import prove_writable, write_json
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.metrics.coco_ap import FoundPeople, TruePeople, coco_average_precision
from wholebody.benchmarks.metrics.detector_recall import detector_recall, pooled
from wholebody.benchmarks.metrics.oks import oks
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image, read_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133, Skeleton

__all__ = ["evaluate", "measure_coco"]

WHOLE = "whole"


class Pipeline(Protocol):
    """`TopDownPose`, as far as it is used here."""

    @property
    def skeleton(self) -> Skeleton: ...

    @property
    def detector(self) -> object | None: ...

    def detect(self, image_bgr: Image) -> tuple[Floats, Floats]: ...

    def estimate(self, image_bgr: Image, boxes: Floats, score: Floats) -> tuple[People, NDArray[np.intp]]: ...


def measure_coco(
    pose: TopDownPose,
    *,
    annotations: Path,
    images: Path | None = None,
    json: Path | None = None,
    console: Console | None = None,
) -> CocoReport:
    """Compare what a pipeline finds in photographs with what is marked in them.

    pose         a student of 17 or 133 keypoints, with or without a detector
    annotations  a file of COCO keypoints or COCO-WholeBody; their common parts are judged
    images       the folder of the photographs; None: that of the annotations
    json         a file that gets `to_dict()` as well
    console      shows the progress where it is a terminal

    Raises ArtefactError for a student of other keypoints, BackendError, and SourceError where annotations,
    photographs or the file to write are not what they should be.
    """
    if json is not None:
        prove_writable(json, keep=[annotations])
    dataset, machine = read_coco(annotations, images or annotations.parent), Machine.here()
    report = CocoReport(
        student=pose.spec.name,
        weights_sha256=pose.spec.weights.sha256,
        precision=pose.spec.precision,
        backend=pose.student.name,
        detector=pose.detector.spec.name if pose.detector else None,
        annotations=annotations.name,
        accuracy=evaluate(pose, dataset, console=console),
        machine=machine,
    )
    if json is not None:
        write_json(json, report.to_dict())
    return report


def evaluate(pose: Pipeline, dataset: CocoDataset, *, console: Console | None = None) -> CocoAccuracy:
    """Run a pipeline on all photographs, with the true boxes and, if it has a detector, with its boxes too.

    console shows the progress where it is a terminal. Raises ArtefactError for a skeleton other than coco17
    and wholebody133, SourceError for a photograph that cannot be read or is not the one that was annotated.
    """
    judged = _common(pose.skeleton, dataset.skeleton)
    truth, with_true, with_detected, recalls = [], [], [], []
    for picture in _with_progress(dataset.pictures, console):
        image, people = _image(picture), _first(picture.people, len(judged))
        truth.append(people)
        with_true.append(_in_true_boxes(pose, image, people))
        if pose.detector is not None:
            boxes, score = pose.detect(image)
            found, _ = pose.estimate(image, boxes, score)
            with_detected.append(FoundPeople(found.keypoints[:, : len(judged)], found.score))
            recalls.append(detector_recall(people, boxes, score))
    parts = dict(judged.parts) if len(judged.parts) == 1 else {**judged.parts, WHOLE: slice(None)}
    return CocoAccuracy(
        pictures=len(truth),
        parts={
            name: PartFigures(
                coco_average_precision(truth, with_true, judged.sigmas, part),
                coco_average_precision(truth, with_detected, judged.sigmas, part) if pose.detector else None,
                _mean_oks(truth, with_true, judged.sigmas, part),
            )
            for name, part in parts.items()
        },
        detector=pooled(recalls) if pose.detector else None,
    )


def _with_progress(pictures: Sequence[CocoPicture], console: Console | None) -> Iterable[CocoPicture]:
    if console is None or not console.is_terminal:
        return pictures
    return track(pictures, "photographs", console=console, transient=True)


def _common(student: Skeleton, marked: Skeleton) -> Skeleton:
    """The smaller of two skeletons, whose keypoints are the larger one's first."""
    if student.name not in (COCO17.name, WHOLEBODY133.name):
        raise ArtefactError(
            f"the student's keypoints are {student.name}; photographs of COCO judge coco17 and wholebody133"
        )
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


def _in_true_boxes(pose: Pipeline, image: Image, truth: TruePeople) -> FoundPeople:
    """One prediction for each of the G true people who are judged, NaN for the others and where none came."""
    found = FoundPeople(np.full_like(truth.keypoints, np.nan), np.zeros(len(truth.area), np.float32))
    asked = np.flatnonzero(truth.judged() & (truth.boxes[:, 2:] > truth.boxes[:, :2]).all(axis=1))
    people, kept = pose.estimate(image, truth.boxes[asked], np.ones(len(asked), np.float32))
    found.keypoints[asked[kept]] = people.keypoints[:, : truth.keypoints.shape[1]]
    found.score[asked[kept]] = people.score
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
