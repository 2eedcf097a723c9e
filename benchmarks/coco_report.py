"""What `coco_accuracy` found, as a Markdown table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.metrics.coco_ap import AveragePrecision
from wholebody.benchmarks.metrics.detector_recall import FOUND_IOU, DetectorRecall

__all__ = ["CocoAccuracy", "CocoReport", "PartFigures"]

NOTE = (
    "AP and AR at OKS 0.50 to 0.95, at most 20 people a photograph, each part over its own keypoints with "
    "the area of the person's segment; crowds and people without a labelled keypoint in the part are "
    "ignored. Detected boxes are those of the detector's own operating point, which costs AP: none of a "
    "lower score follow."
)
FIGURES = {"ap": "AP", "ap_50": "AP, OKS 0.5", "ap_75": "AP, OKS 0.75", "ar": "AR"}


@dataclass(frozen=True)
class PartFigures:
    """One part of the skeleton, or the whole.

    true_boxes      AP and AR with the true boxes
    detected_boxes  the same with the detector's, None without a detector
    mean_oks        of the people judged, with the true boxes; who has no prediction counts as 0
    """

    true_boxes: AveragePrecision
    detected_boxes: AveragePrecision | None
    mean_oks: float


@dataclass(frozen=True)
class CocoAccuracy:
    """By part, then "whole" where there are several; and what the detector found, if there is one."""

    pictures: int
    parts: Mapping[str, PartFigures]
    detector: DetectorRecall | None

    def markdown(self) -> str:
        """A table with a column for each part, and the detector's recall."""
        rows = [
            _row("", [name.replace("_", " ") for name in self.parts]),
            _row("---", ["---:"] * len(self.parts)),
            _row("people judged", [str(p.true_boxes.people) for p in self.parts.values()]),
            *_figures_rows("true boxes", [p.true_boxes for p in self.parts.values()]),
            _row("mean OKS, true boxes", [_number(p.mean_oks) for p in self.parts.values()]),
        ]
        detected = [p.detected_boxes for p in self.parts.values()]
        if self.detector is None or None in detected:
            return "\n".join(rows)
        rows += _figures_rows("detected boxes", [figures for figures in detected if figures is not None])
        return "\n".join([*rows, "", _recall_line(self.detector)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where there was nothing to measure."""
        return {
            "pictures": self.pictures,
            "parts": {name: _plain(asdict(figures)) for name, figures in self.parts.items()},
            "detector": self.detector and _plain(self.detector.to_dict()),
        }


@dataclass(frozen=True)
class CocoReport:
    """What `measure_coco` found, and with what.

    weights_sha256   of the student's weights
    detector         its name, None without one
    annotations      the name of the annotation file
    """

    student: str
    weights_sha256: str
    precision: str
    backend: str
    detector: str | None
    annotations: str
    accuracy: CocoAccuracy
    machine: Machine

    def markdown(self) -> str:
        """The table and what it means."""
        by = f", boxes by {self.detector}" if self.detector else ""
        return "\n".join(
            [
                f"Accuracy of {self.student} ({self.precision}, weights {self.weights_sha256[:12]}{by}) on "
                f"the {self.accuracy.pictures} photographs of {self.annotations}.",
                "",
                self.accuracy.markdown(),
                "",
                NOTE,
                "",
                f"{self.backend} on {self.machine}",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "benchmark": "accuracy",
            "dataset": "coco",
            "student": self.student,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "backend": self.backend,
            "detector_name": self.detector,
            "annotations": self.annotations,
            **self.accuracy.to_dict(),
            "machine": self.machine.to_dict(),
        }


def _figures_rows(boxes: str, figures: Sequence[AveragePrecision]) -> list[str]:
    return [
        _row(f"{title}, {boxes}", [_number(getattr(each, name)) for each in figures])
        for name, title in FIGURES.items()
    ]


def _recall_line(found: DetectorRecall) -> str:
    own = f"with a box of their own {found.found}, {_number(found.recall_one_to_one)}"
    return (
        f"The detector covers {found.covered} of {found.people} people with labelled keypoints (recall "
        f"{_number(found.recall)}; {own}) with {found.boxes} boxes, at IoU {FOUND_IOU}."
    )


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """Dictionaries for JSON, NaN as null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 5)
    return value
