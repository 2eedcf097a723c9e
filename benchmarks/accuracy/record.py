"""A measurement as a line of the file of runs (docs/runs.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wholebody.benchmarks.accuracy.asking import Pose, kind_of_boxes
from wholebody.benchmarks.accuracy.estimates import Estimate, Estimates
from wholebody.benchmarks.accuracy.measuring import Evaluation
from wholebody.benchmarks.accuracy.reference import Reference
from wholebody.benchmarks.datasets.dataset import Dataset
from wholebody.benchmarks.latency.contenders import sha256_of
from wholebody.benchmarks.runs import run_id
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.spec import AnySpec, verified

__all__ = ["Subject", "identity", "model_entry", "record"]

DIGITS = 6  # of a figure


@dataclass(frozen=True, eq=False)
class Subject:
    """Who is measured, on what, and beside whom.

    student, detector  their files
    """

    student: Path
    detector: Path | None
    pose: Pose
    reference: Reference | None
    dataset: Dataset
    threads: int | None

    @property
    def backend(self) -> str:
        return self.pose.backend.name if isinstance(self.pose, DopePose) else self.pose.student.name

    @property
    def beside(self) -> Pose | None:
        """The reference's pipeline."""
        return None if self.reference is None else self.reference.pose

    @property
    def boxes(self) -> str | None:
        return kind_of_boxes(self.pose)

    @property
    def flip_test(self) -> bool:
        return not isinstance(self.pose, DopePose) and self.pose.flip_test


def identity(subject: Subject) -> str:
    """The entry "id": the same where the same is asked for."""
    spec = subject.pose.spec.to_dict()
    detector = None if isinstance(subject.pose, DopePose) else subject.pose.detector
    told = {name: value for name, value in spec.items() if name not in ("certificate", "versions")}
    return run_id(
        {
            "kind": "accuracy",
            "model": sha256_of(subject.student),
            "spec": told,  # of a published student, partly what the user said it is
            "backend": subject.backend,
            "detector": None
            if subject.detector is None or detector is None
            else [sha256_of(subject.detector), detector.min_score, detector.iou, detector.min_area],
            "reference": subject.reference and [subject.reference.sha256, subject.reference.backend],
            "dataset": [subject.dataset.name, subject.dataset.sha256, len(subject.dataset.pictures)],
            "boxes": subject.boxes,
            "flip_test": subject.flip_test,
        }
    )


def record(
    subject: Subject, evaluation: Evaluation, worst: Sequence[Mapping[str, Any]], title: str
) -> dict[str, Any]:
    """The entries of a run but those that tell where it came from. title: the data set's."""
    dataset, reference = subject.dataset, subject.reference
    detector = None if isinstance(subject.pose, DopePose) else subject.pose.detector
    return {
        "kind": "accuracy",
        "id": (identifier := identity(subject)),
        "group": identifier,
        "model": model_entry(subject.student, subject.pose.spec),
        "detector": None
        if subject.detector is None or detector is None
        else model_entry(subject.detector, detector.spec),
        "backend": subject.backend,
        "threads": subject.threads,
        "settings": {
            "pictures": dataset.sha256,
            "size": None if evaluation.size is None else list(evaluation.size),
            "people": None,
            "batch": None,
            "proposals": None,
            "pace_hz": None,
            "boxes": subject.boxes,
            "flip_test": subject.flip_test,
        },
        "dataset": {
            "name": dataset.name,
            "title": title,
            "pictures": len(dataset.pictures),
            "sha256": dataset.sha256,
            "notes": dataset.notes,
        },
        "metrics": {each.metric.name: _metric(each) for each in evaluation.estimates},
        "reference": None
        if reference is None
        else {"backend": reference.backend, "sha256": reference.sha256, "file": reference.file},
        "ranked_by": evaluation.ranked_by,
        "worst": list(worst),
    }


def model_entry(path: Path, spec: AnySpec) -> dict[str, Any]:
    """The entry of a network's file."""
    return {
        "name": spec.name,
        "file": path.name,
        "sha256": sha256_of(path),
        "family": spec.family,
        "precision": spec.precision,
        "verified": None if spec.certificate is None else verified(spec),
        "megabytes": round(path.stat().st_size / 1e6, 1),
    }


def _metric(each: Estimates) -> dict[str, Any]:
    return {
        "title": each.metric.title,
        "unit": each.metric.unit,
        "better": each.metric.better,
        "value": _numbers(each.value),
        "reference": None if each.reference is None else round(each.reference, DIGITS),
        "difference": _numbers(each.difference),
        "count": each.count,
    }


def _numbers(estimate: Estimate | None) -> list[float] | None:
    if estimate is None:
        return None
    return [round(number, DIGITS) for number in (estimate.value, estimate.low, estimate.high)]
