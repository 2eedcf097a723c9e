"""Accuracy of a top-down student on rendered people with exact truth.

Everybody who is worth a look is asked for alone, with the true box: around what lies in the picture. So this
judges the student, not a detector.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from wholebody.benchmarks.json_file import prove_writable, write_json
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.pixels import nme, pck
from wholebody.benchmarks.synthetic import Scene, render_scene
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes, worth_a_crop
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.media import Image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.skeletons import WHOLEBODY133

__all__ = ["FIRST_SEED", "PartAccuracy", "TopDownAccuracy", "TopDownReport", "evaluate", "measure_top_down"]

FIRST_SEED = 30_000_000
SIDE = 384  # pixels
AREA = 0.53  # of a box, which COCO's tools take for a person's where no segment is known
MIN_SCORE = 0.3  # a usual threshold of keypoints that are shown
LEAST_SEEN = {"body": 0.0, "feet": 0.0, "face": 0.3, "left_hand": 0.35, "right_hand": 0.35, "whole": 0.0}
HANDS = ("left_hand", "right_hand")
ROWS = {
    "pck_person": "PCK@0.1 of the person's box",
    "pck_hand": "PCK@0.2 of the hand's box",
    "nme": "NME",
    "shown": f"visible keypoints with a score above {MIN_SCORE}",
    "guessed": "hidden keypoints with one",
    "phantoms": "keypoints outside the picture with one",
}
NOTES = (
    "True boxes, around what lies in the picture. PCK over visible keypoints, one that was not seen is "
    f"wrong; the size is the box's longer side. OKS over visible keypoints, area {AREA} of the person's box.",
    "A part is judged where any of it is visible, of a face 30 %, of a hand 35 %. NME over all landmarks of "
    "the faces that came whole.",
)


class Pose(Protocol):
    """A top-down pipeline of 133 keypoints."""

    def __call__(self, image_bgr: Image, boxes: Floats | None = None) -> People: ...


@dataclass(frozen=True)
class PartAccuracy:
    """One part of everybody, or the whole; NaN where there was nothing to measure.

    people      who are judged
    oks         mean object keypoint similarity
    pck_person  share of visible keypoints within 0.1 of the longer side of the person's box
    pck_hand    the same within 0.2 of the hand's
    nme         mean distance of a face's landmarks, of √(w·h) of their box
    shown       share of the visible keypoints with a score above 0.3
    guessed     share of the keypoints inside the picture, but hidden, with one
    phantoms    share of the keypoints outside the picture with one
    """

    people: int
    oks: float
    pck_person: float
    pck_hand: float
    nme: float
    shown: float
    guessed: float
    phantoms: float


@dataclass(frozen=True)
class TopDownAccuracy:
    """By part, and "whole"."""

    pictures: int
    first_seed: int
    parts: Mapping[str, PartAccuracy]

    def markdown(self) -> str:
        """A table with a column for each part, and what it means."""
        parts = self.parts.values()
        return "\n".join([
            _row("", [name.replace("_", " ") for name in self.parts]),
            _row("---", ["---:"] * len(self.parts)),
            _row("people judged", [str(part.people) for part in parts]),
            _row("mean OKS", ["–" if math.isnan(part.oks) else f"{part.oks:.3f}" for part in parts]),
            *(_row(title, [_share(getattr(part, name)) for part in parts]) for name, title in ROWS.items()),
            *(line for note in NOTES for line in ("", note)),
        ])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where there was nothing to measure."""
        return {
            "pictures": self.pictures,
            "first_seed": self.first_seed,
            "parts": {name: _plain(part) for name, part in self.parts.items()},
        }


@dataclass(frozen=True, eq=False)
class _People:
    """N people asked for: predicted and true (N, 133, 2) pixels, boxes (N, 4), the others (N, 133)."""

    predicted: NDArray[Any]
    scores: NDArray[Any]
    true: NDArray[Any]
    visible: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    boxes: NDArray[Any]


@dataclass(frozen=True)
class TopDownReport:
    """What `measure_top_down` found, and with what."""

    student: str
    weights_sha256: str
    precision: str
    backend: str
    accuracy: TopDownAccuracy
    machine: Machine

    def markdown(self) -> str:
        """The table and what it means."""
        first, last = self.accuracy.first_seed, self.accuracy.first_seed + self.accuracy.pictures - 1
        return "\n".join([
            f"Accuracy of {self.student} ({self.precision}, weights {self.weights_sha256[:12]}) on "
            f"{self.accuracy.pictures} rendered pictures, {SIDE} x {SIDE}, seeds {first} to {last}.",
            "", self.accuracy.markdown(), "", f"{self.backend} on {self.machine}",
        ])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "benchmark": "accuracy",
            "dataset": "synthetic",
            "student": self.student,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "backend": self.backend,
            **self.accuracy.to_dict(),
            "machine": self.machine.to_dict(),
        }


def measure_top_down(
    pose: TopDownPose, *, pictures: int = 500, json: Path | None = None, console: Console | None = None
) -> TopDownReport:
    """Ask a student of 133 keypoints for everybody in `pictures` rendered pictures.

    json, a file that gets `to_dict()` as well; console shows the progress where it is a terminal. Raises
    ArtefactError for a student of other keypoints, BackendError, ValueError for fewer than one picture, and
    SourceError, before any work, where the file cannot be written.
    """
    if pose.skeleton is not WHOLEBODY133:
        raise ArtefactError(
            f"the keypoints of {pose.spec.name} are {pose.skeleton.name}; rendered people judge "
            f"{WHOLEBODY133.name}: use --dataset coco"
        )
    if json is not None:
        prove_writable(json)
    machine = Machine.here()
    accuracy = evaluate(pose, pictures=pictures, console=console)
    spec = pose.spec
    report = TopDownReport(
        spec.name, spec.weights.sha256, spec.precision, pose.student.name, accuracy, machine
    )
    if json is not None:
        write_json(json, report.to_dict())
    return report


def evaluate(
    pose: Pose, *, pictures: int = 500, first_seed: int = FIRST_SEED, console: Console | None = None
) -> TopDownAccuracy:
    """Ask a student of 133 keypoints for everybody in `pictures` rendered pictures.

    console shows the progress where it is a terminal. Raises ValueError for fewer than one picture.
    """
    if pictures < 1:
        raise ValueError(f"pictures is {pictures}; it must be 1 or more")
    seeds: Iterable[int] = range(first_seed, first_seed + pictures)
    if console is not None and console.is_terminal:
        seeds = track(seeds, "pictures", total=pictures, console=console, transient=True)
    asked = [_ask(pose, render_scene(seed, (SIDE, SIDE))) for seed in seeds]
    everybody = _People(*(np.concatenate(arrays) for arrays in zip(*map(_fields, asked), strict=True)))
    parts = {**WHOLEBODY133.parts, "whole": slice(None)}
    return TopDownAccuracy(
        pictures, first_seed, {name: _judge(name, part, everybody) for name, part in parts.items()}
    )


def _ask(pose: Pose, scene: Scene) -> _People:
    true = np.stack([person.keypoints133 for person in scene.people])
    visible = np.stack([person.visible133 for person in scene.people])
    shown = inside(true, SIDE, SIDE)
    boxes = people_boxes(true, shown)
    who = worth_a_crop(boxes, visible)
    predicted, scores = np.full((len(who), *true.shape[1:]), np.nan), np.zeros((len(who), true.shape[1]))
    for i, person in enumerate(who):
        people = pose(scene.image, boxes=boxes[person : person + 1])
        if len(people):
            predicted[i], scores[i] = people.keypoints[0], people.scores[0]
    return _People(predicted, scores, true[who], visible[who], shown[who], boxes[who])


def _fields(people: _People) -> tuple[NDArray[Any], ...]:
    return people.predicted, people.scores, people.true, people.visible, people.inside, people.boxes


def _judge(name: str, part: slice, all_: _People) -> PartAccuracy:
    seen = all_.visible[:, part]
    judged = seen.any(axis=1) & (seen.mean(axis=1) >= LEAST_SEEN[name])
    predicted, true, visible = all_.predicted[judged, part], all_.true[judged, part], seen[judged]
    sides = (all_.boxes[:, 2:] - all_.boxes[:, :2])[judged]
    whole = np.isfinite(predicted).all(axis=(1, 2))
    above = all_.scores[:, part] > MIN_SCORE
    return PartAccuracy(
        people=int(judged.sum()),
        oks=_mean_oks(predicted, true, visible, AREA * sides.prod(axis=1), WHOLEBODY133.sigmas[part]),
        pck_person=pck(predicted, true, visible, sides.max(axis=1, initial=0), 0.1),
        pck_hand=pck(predicted, true, visible, np.ptp(true, axis=1).max(axis=1, initial=0), 0.2)
        if name in HANDS
        else math.nan,
        nme=nme(predicted[whole], true[whole]) if name == "face" else math.nan,
        shown=_mean(above[judged][visible]),
        guessed=_mean(above[judged][all_.inside[judged, part] & ~visible]),
        phantoms=_mean(above[~all_.inside[:, part]]),
    )


def _mean_oks(
    predicted: NDArray[Any],
    true: NDArray[Any],
    visible: NDArray[np.bool_],
    area: NDArray[Any],
    sigmas: tuple[float, ...],
) -> float:
    people = zip(predicted[:, None], true[:, None], visible[:, None], area[:, None], strict=True)
    return _mean(np.array([oks(*person, sigmas)[0, 0] for person in people]))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan


def _plain(part: PartAccuracy) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(part).items()}


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
