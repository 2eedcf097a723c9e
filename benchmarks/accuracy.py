"""Accuracy of a student on rendered people with exact truth: `wholebody bench accuracy STUDENT`.

The pictures are 384 x 384, from seeds that no training uses. What is measured is the whole pipeline at its
own operating point: the people it answers with, whatever their score. How predictions and truths are matched
is said in `metrics.judging`, what the numbers mean in `metrics.summary.PartAccuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from wholebody.benchmarks.json_file import prove_writable, write_json
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.metrics.judging import Judgement, judge, part_predictions
from wholebody.benchmarks.metrics.summary import PartAccuracy, SizeBin, summarise
from wholebody.benchmarks.synthetic import Scene, render_scene
from wholebody.benchmarks.synthetic.truth import PartTruth, part_truths
from wholebody.runtime.artefact import read_artefact, sidecar_path
from wholebody.runtime.kernels.proposals import PARTS
from wholebody.runtime.loading import load_dope

__all__ = ["FIRST_SEED", "AccuracyReport", "measure"]

FIRST_SEED = 30_000_000
SIDE = 384  # pixels
# Name, heading in the table, and whether it is a share.
ROWS = (
    ("recall", "recall", True),
    ("precision", "precision", True),
    ("ap_50", "AP, OKS 0.5", True),
    ("ap_50_95", "AP, OKS 0.5 to 0.95", True),
    ("pck", "PCK@0.1 body, @0.2 hand", True),
    ("nme", "NME", True),
    ("side_accuracy", "right or left", True),
    ("pck3d_150mm", "PCK3D@150 mm", True),
    ("mpjpe_mm", "MPJPE, mm", False),
    ("pa_mpjpe_mm", "PA-MPJPE, mm", False),
)
NOTES = (
    "Matched one to one, greedily by score: body at OKS 0.5 or more (area: the true box's), hand at a mean "
    "joint distance of at most 0.3 of the longer side of its box and with the same side, face at most 0.2 of "
    "√(w·h) of its landmarks.",
    "Bodies, hands and faces too small or too hidden to be trained on are ignored, and so are predictions on "
    "them. PCK over visible joints; errors in space over all joints, bodies centred between the hips, hands "
    "and faces at their mean. PCK, NME and errors are of those found.",
)


@dataclass(frozen=True)
class AccuracyReport:
    """What `measure` found: one `PartAccuracy` for body, hand and face, and what they were measured with."""

    student: str
    sha256: str
    precision: str
    backend: str
    pictures: int
    first_seed: int
    parts: Mapping[str, PartAccuracy]
    machine: Machine

    def markdown(self) -> str:
        """Two tables and what they mean."""
        seeds = f"seeds {self.first_seed} to {self.first_seed + self.pictures - 1}"
        return "\n".join(
            [
                f"Accuracy of {self.student} ({self.precision}, SHA-256 {self.sha256[:12]}) on "
                f"{self.pictures} rendered pictures, {SIDE} x {SIDE}, {seeds}.",
                "",
                *self._table(),
                "",
                *self._size_table(),
                "",
                *(line for note in NOTES for line in (note, "")),
                f"{self.backend} on {self.machine}",
            ]
        )

    def _table(self) -> list[str]:
        parts = self.parts.values()
        return [
            _row("", self.parts),
            _row("---", ["---:"] * len(self.parts)),
            _row("judged (ignored)", [f"{p.truths} ({p.ignored_truths})" for p in parts]),
            _row("predicted (ignored)", [f"{p.predictions} ({p.ignored_predictions})" for p in parts]),
            *(
                _row(title, [_shown(p.metrics.get(name, math.nan), share) for p in parts])
                for name, title, share in ROWS
            ),
        ]

    def _size_table(self) -> list[str]:
        bins = list(zip(*(p.by_size for p in self.parts.values()), strict=True))
        return [
            _row("recall by size", self.parts),
            _row("---", ["---:"] * len(self.parts)),
            *(_row(row[0].name, [_size_cell(b) for b in row]) for row in bins),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where there was nothing to measure."""
        return {
            "benchmark": "accuracy",
            "dataset": "synthetic",
            "student": self.student,
            "sha256": self.sha256,
            "precision": self.precision,
            "backend": self.backend,
            "pictures": self.pictures,
            "first_seed": self.first_seed,
            "parts": {name: _part(part) for name, part in self.parts.items()},
            "machine": self.machine.to_dict(),
        }


def measure(
    student: Path,
    *,
    pictures: int = 500,
    threads: int | None = None,
    json: Path | None = None,
    console: Console | None = None,
) -> AccuracyReport:
    """Run a student on `pictures` rendered pictures and compare what it finds with the truth.

    threads as for `wholebody.load`; json, a file that gets `to_dict()` as well; console shows the progress
    where it is a terminal. Raises ValueError for fewer than one picture, ArtefactError, BackendError, and
    SourceError, before any work, where the file cannot be written or is the student's own.
    """
    if pictures < 1:
        raise ValueError(f"pictures is {pictures}; it must be 1 or more")
    if json is not None:
        prove_writable(json, keep=[student, sidecar_path(student)])
    artefact, pose = read_artefact(student), load_dope(student, threads=threads)
    machine = Machine.here()
    judgements: dict[str, list[Judgement]] = {part: [] for part in PARTS}
    for seed in _with_progress(range(FIRST_SEED, FIRST_SEED + pictures), console):
        scene = render_scene(seed, (SIDE, SIDE))
        people, truths = pose(scene.image), _truths(scene)
        for part in PARTS:
            predictions = part_predictions(people, part, (SIDE, SIDE))
            judgements[part].append(judge(part, predictions, truths[part]))
    report = AccuracyReport(
        student=artefact.spec.name,
        sha256=artefact.sha256,
        precision=artefact.spec.precision,
        backend=pose.backend.name,
        pictures=pictures,
        first_seed=FIRST_SEED,
        parts={part: summarise(part, judgements[part]) for part in PARTS},
        machine=machine,
    )
    if json is not None:
        write_json(json, report.to_dict())
    return report


def _with_progress(seeds: range, console: Console | None) -> Iterable[int]:
    if console is None or not console.is_terminal:
        return seeds
    return track(seeds, "pictures", console=console, transient=True)


def _truths(scene: Scene) -> dict[str, PartTruth]:
    keypoints, keypoints3d = (
        np.stack([getattr(person, name) for person in scene.people]) for name in ("keypoints", "keypoints3d")
    )
    visible = np.stack([person.visible for person in scene.people])
    return part_truths(keypoints, keypoints3d, visible, SIDE, SIDE)


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def _shown(value: float, share: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if share else f"{value:.1f}"


def _size_cell(size: SizeBin) -> str:
    recall = size.found / size.truths if size.truths else math.nan
    span = f"{size.low} to {size.high}" if size.high else f"from {size.low}"
    return f"{_shown(recall, True)} of {size.truths} ({span} px)"


def _part(part: PartAccuracy) -> dict[str, Any]:
    return {
        "truths": part.truths,
        "ignored_truths": part.ignored_truths,
        "predictions": part.predictions,
        "ignored_predictions": part.ignored_predictions,
        "found": part.found,
        **{name: None if math.isnan(v) else round(v, 5) for name, v in part.metrics.items()},
        "by_size": [
            {"name": b.name, "from_px": b.low, "to_px": b.high, "truths": b.truths, "found": b.found}
            for b in part.by_size
        ],
    }
