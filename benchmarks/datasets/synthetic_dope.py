"""Rendered people for DOPE: bodies, hands and faces that are found, and what their poses are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.pictures import Lazy
from wholebody.benchmarks.datasets.synthetic import Rendered, Scenes
from wholebody.benchmarks.metrics.judging import judge, part_predictions
from wholebody.benchmarks.metrics.part_tally import part_metrics, part_ranking, part_tally
from wholebody.benchmarks.metrics.ranking import Ranking
from wholebody.benchmarks.synthetic import Scene
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes
from wholebody.benchmarks.synthetic.truth import PartTruth, part_truths
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.kernels.proposals import PARTS
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import DOPE, Skeleton

__all__ = ["SyntheticDope"]

FOUND = Metric("all/f1", "bodies, hands and faces: F1", "share", "higher")
NOTES = (
    "Matched one to one, greedily by score: body at OKS 0.5 or more (area: the true box's), hand at a mean "
    "joint distance of at most 0.3 of the longer side of its box and with the same side, face at most 0.2 "
    "of √(w·h) of its landmarks. Bodies, hands and faces too small or too hidden to be trained on are "
    "ignored, and so are predictions on them. PCK over visible joints; errors in space over all joints, "
    "bodies centred between the hips, hands and faces at their mean. PCK, NME and errors are of those found."
)


@dataclass(frozen=True, eq=False)
class SyntheticDope:
    """A `Dataset` for students of `DOPE`; the people that are answered count, whatever their score."""

    scenes: Scenes
    name: str = "synthetic"

    @property
    def sha256(self) -> str:
        return self.scenes.sha256

    @property
    def skeleton(self) -> Skeleton:
        return DOPE

    @property
    def pictures(self) -> Sequence[Picture]:
        return Lazy(self.scenes.count, self._picture)

    @property
    def metrics(self) -> Sequence[Metric]:
        return (FOUND, *(metric for part in PARTS for metric in part_metrics(part)))

    @property
    def means(self) -> Mapping[str, Sequence[str]]:
        return {}

    @property
    def notes(self) -> str:
        return f"{NOTES} The pictures are of {self.scenes.seeds}."

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError for another skeleton, and without 3D."""
        if skeleton is not DOPE or not with_3d:
            raise ArtefactError(
                f"the student's keypoints are {skeleton.name}; here it must be {DOPE.name} in 3D"
            )

    def image(self, picture: Picture) -> Image:
        assert isinstance(picture, Rendered)
        return picture.scene.image

    def rank(self, people: People, picture: Picture) -> Mapping[str, Ranking]:
        assert isinstance(picture, Rendered)
        truth = _truths(picture.scene)["body"]
        return {"body": part_ranking(judge("body", part_predictions(people, "body", picture.size), truth))}

    def tally(self, people: People, picture: Picture) -> Tally:
        assert isinstance(picture, Rendered)
        truths = _truths(picture.scene)
        cells: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for part in PARTS:
            predictions = part_predictions(people, part, picture.size)
            cells |= part_tally(part, judge(part, predictions, truths[part]))
        of_parts = [cells.pop(f"{part}/f1") for part in PARTS]
        found, judged = (sum(column) for column in zip(*of_parts, strict=True))
        return {**cells, FOUND.name: (np.asarray(found), np.asarray(judged))}

    def _picture(self, index: int) -> Rendered:
        scene = self.scenes.scene(index)
        height, width = scene.image.shape[:2]
        keypoints = np.stack([person.keypoints for person in scene.people])
        truth = Truth(
            keypoints.astype(np.float64),
            np.stack([person.keypoints3d for person in scene.people]).astype(np.float64),
            np.stack([person.visible for person in scene.people]),
            people_boxes(keypoints, inside(keypoints, width, height)).astype(np.float64),
        )
        return Rendered(f"seed-{scene.seed}", self.scenes.nowhere, truth, scene=scene)


def _truths(scene: Scene) -> dict[str, PartTruth]:
    keypoints, keypoints3d = (
        np.stack([getattr(person, name) for person in scene.people]) for name in ("keypoints", "keypoints3d")
    )
    visible = np.stack([person.visible for person in scene.people])
    height, width = scene.image.shape[:2]
    return part_truths(keypoints, keypoints3d, visible, height, width)
