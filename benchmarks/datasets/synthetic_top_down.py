"""Rendered people for top-down students: the keypoints of everybody who is worth a crop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.pictures import Lazy
from wholebody.benchmarks.datasets.synthetic import Rendered, Scenes
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.pixels import landmark_size
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes, worth_a_crop
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133, Skeleton

__all__ = ["SyntheticTopDown"]

Cells = tuple[NDArray[np.float64], NDArray[np.float64]]
SAME_BOX = 0.5  # IoU
AREA = 0.53  # of a box, which COCO's tools take for a person's where no segment is known
MIN_SCORE = 0.3  # a usual threshold of keypoints that are shown
LEAST_SEEN = {"face": 0.3, "left_hand": 0.35, "right_hand": 0.35}  # share of the keypoints; others: any
HANDS = ("left_hand", "right_hand")
TITLES = {
    "oks": "mean OKS",
    "pck": "PCK@0.1 of the person's box",
    "pck_hand": "PCK@0.2 of the hand's box",
    "nme": "NME",
    "shown": f"visible keypoints with a score above {MIN_SCORE}",
    "guessed": "hidden keypoints with one",
    "phantoms": "keypoints outside the picture with one",
}
WORSE = ("nme", "guessed", "phantoms")  # the lower the better
NOTES = (
    "True boxes lie around what is in the picture. PCK over visible keypoints, one that was not seen is "
    f"wrong; the size is the box's longer side. OKS over visible keypoints, area {AREA} of the person's box. "
    "A part is judged where any of it is visible, of a face 30 %, of a hand 35 %; who was not found, whose "
    f"box no answer's overlaps by an IoU of {SAME_BOX}, is all wrong. NME over all landmarks of the faces "
    "that came whole."
)


@dataclass(frozen=True, eq=False)
class SyntheticTopDown:
    """A `Dataset` for students of COCO's 17 or COCO-WholeBody's 133 keypoints."""

    scenes: Scenes
    skeleton: Skeleton
    name: str = "synthetic"

    @property
    def sha256(self) -> str:
        return self.scenes.sha256

    @property
    def pictures(self) -> Sequence[Picture]:
        return Lazy(self.scenes.count, self._picture)

    @property
    def parts(self) -> Mapping[str, slice]:
        """The whole, of several parts, comes first."""
        parts = dict(self.skeleton.parts)
        return parts if len(parts) == 1 else {"whole": slice(0, len(self.skeleton)), **parts}

    @property
    def metrics(self) -> Sequence[Metric]:
        return [
            Metric(
                f"{part}/{name}",
                f"{part.replace('_', ' ')}: {title}",
                "share",
                "lower" if name in WORSE else "higher",
            )
            for name, title in TITLES.items()
            for part in self.parts
            if _applies(name, part)
        ]

    @property
    def notes(self) -> str:
        return f"{NOTES} The pictures are of {self.scenes.seeds}."

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError for a skeleton that rendered people do not have."""
        if skeleton not in (COCO17, WHOLEBODY133):
            raise ArtefactError(
                f"the student's keypoints are {skeleton.name}; rendered people judge {COCO17.name}, "
                f"{WHOLEBODY133.name} and dope139"
            )

    def image(self, picture: Picture) -> Image:
        assert isinstance(picture, Rendered)
        return picture.scene.image

    def tally(self, people: People, picture: Picture) -> Tally:
        assert isinstance(picture, Rendered)
        truth = picture.truth
        height, width = picture.size
        predicted = np.full(truth.keypoints.shape, np.nan)
        above = np.zeros(truth.visible.shape, np.bool_)
        matched = match(box_iou(people.boxes, truth.boxes), np.nan_to_num(people.score), SAME_BOX)
        found = np.flatnonzero(matched != UNMATCHED)
        predicted[matched[found]], above[matched[found]] = (
            people.keypoints[found],
            people.scores[found] > MIN_SCORE,
        )
        shown = inside(truth.keypoints, width, height)
        cells: dict[str, Cells] = {}
        for part, where in self.parts.items():
            crop = _Crops(
                predicted[:, where], above[:, where], truth.keypoints[:, where], truth.visible[:, where],
                shown[:, where], truth.boxes, self.skeleton.sigmas[where],
            )  # fmt: skip
            cells |= {f"{part}/{name}": cell for name, cell in _figures(part, crop) if _applies(name, part)}
        return cells

    def _picture(self, index: int) -> Rendered:
        scene, joints = self.scenes.scene(index), len(self.skeleton)
        height, width = scene.image.shape[:2]
        keypoints = np.stack([person.keypoints133 for person in scene.people])
        visible = np.stack([person.visible133 for person in scene.people])
        boxes = people_boxes(keypoints, inside(keypoints, width, height))
        who = worth_a_crop(boxes, visible)
        truth = Truth(
            keypoints[who, :joints].astype(np.float64),
            None,
            visible[who, :joints],
            boxes[who].astype(np.float64),
        )
        return Rendered(f"seed-{scene.seed}", self.scenes.nowhere, truth, scene=scene)


@dataclass(frozen=True, eq=False)
class _Crops:
    """A part of N people: predicted and true (N, J, 2) pixels, (N, J) flags, boxes (N, 4)."""

    predicted: NDArray[Any]
    above: NDArray[np.bool_]
    true: NDArray[Any]
    visible: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    boxes: NDArray[Any]
    sigmas: Sequence[float]


def _applies(figure: str, part: str) -> bool:
    return {"pck_hand": part in HANDS, "nme": part == "face"}.get(figure, True)


def _figures(part: str, of: _Crops) -> Iterator[tuple[str, Cells]]:
    judged = of.visible.any(axis=1) & (of.visible.mean(axis=1) >= LEAST_SEEN.get(part, 0))
    visible = of.visible & judged[:, None]
    apart = np.linalg.norm(of.predicted - of.true, axis=2)
    sides = of.boxes[:, 2:] - of.boxes[:, :2]
    alike = oks(of.predicted, of.true, of.visible, AREA * sides.prod(axis=1), of.sigmas)
    yield "oks", _mean(np.diagonal(alike), judged)
    yield "pck", _mean(apart <= 0.1 * sides.max(axis=1, initial=0)[:, None], visible)
    extent = np.ptp(of.true, axis=1).max(axis=1, initial=0)
    yield "pck_hand", _mean(apart <= 0.2 * extent[:, None], visible)
    relative = apart.mean(axis=1) / landmark_size(of.true)
    yield "nme", _mean(relative, judged & np.isfinite(relative))
    yield "shown", _mean(of.above, visible)
    yield "guessed", _mean(of.above, of.inside & ~of.visible & judged[:, None])
    yield "phantoms", _mean(of.above, ~of.inside)


def _mean(values: NDArray[Any], counts: NDArray[np.bool_]) -> Cells:
    """Of those values that count."""
    return np.array([float(values[counts].sum())]), np.array([float(counts.sum())])
