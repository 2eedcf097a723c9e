"""What data sets of hands have in common: whom they can judge, and how hands in the picture are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally
from wholebody.benchmarks.datasets.found_parts import Found, Pairs, found_hands, pair, right_sides
from wholebody.benchmarks.datasets.joint_orders import HAND_PARTS
from wholebody.benchmarks.metrics.curves import mean_pck
from wholebody.benchmarks.metrics.joint_tallies import Cells, by_joint, found_alone, where_labelled
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO_HAND21, Skeleton

__all__ = ["HandDataset", "longer_sides"]

Doubles = NDArray[np.float64]

PCK_FRACTION = 0.2
AUC_PIXELS = np.arange(20) * 30 / 20  # mmpose's thresholds
FOUND = Metric("found", "hands found", "share", "higher")
SIDE = Metric("side", "right or left", "share", "higher")
IN_PICTURE = (
    Metric("pck", "PCK@0.2", "share", "higher"),
    Metric("auc_30px", "AUC 0 to 30 px", "share", "higher"),
    Metric("epe_px", "mean error, found", "px", "lower"),
)
NOTES = (
    "A true hand is judged by the nearest one found, at most half its longer side away on average and of the "
    "same side where both tell it; joints of hands that were not found, and joints without coordinates, are "
    "wrong in every share, and left out of mean errors. Right or left is of hands found whatever their side. "
    "PCK@0.2 of the longer side of the true box, and the area under the PCK from 0 to 30 px, are means over "
    "joints, as mmpose computes them."
)
TRUE_BOXES = (
    "A top-down student without a detector is given the true hand's box, which is no person's: one for whole "
    "bodies was not trained on such pictures."
)


@dataclass(frozen=True, eq=False)
class HandDataset:
    """Pictures of hands in COCO_HAND21's order. Subclasses add what their publishers measure in space."""

    name: str
    sha256: str
    pictures: tuple[Picture, ...]

    @property
    def metrics(self) -> Sequence[Metric]:
        """Those in space first, where the truth has three dimensions."""
        in_space = self.space_metrics if self._is_3d else ()
        sides = (SIDE,) if any("" not in p.truth.sides and p.truth.sides for p in self.pictures) else ()
        return (*in_space, *self.picture_metrics, FOUND, *sides)

    @property
    def skeleton(self) -> Skeleton:
        """The order of the true joints."""
        return COCO_HAND21

    @property
    def notes(self) -> str:
        return " ".join([*([self.space_notes] if self._is_3d else []), NOTES, TRUE_BOXES])

    @property
    def _is_3d(self) -> bool:
        return any(picture.truth.keypoints3d is not None for picture in self.pictures)

    @property
    def picture_metrics(self) -> tuple[Metric, ...]:
        return IN_PICTURE

    @property
    def space_metrics(self) -> tuple[Metric, ...]:
        return ()

    @property
    def space_notes(self) -> str:
        return ""

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError for a skeleton without hands. A student without 3D is judged in the picture."""
        if skeleton.name not in HAND_PARTS:
            raise ArtefactError(
                f"{self.name} judges hands, which {skeleton.name} does not have: "
                f"take a student of {', '.join(HAND_PARTS)}"
            )

    def tally(self, people: People, picture: Picture) -> Tally:
        """Each true hand beside the one found of it, in the picture and, where both have depth, in space."""
        found = self.found(found_hands(people))
        pairs = pair(found, picture.truth)
        cells = dict(self.in_picture(pairs, picture))
        if pairs.truth.keypoints3d is not None and pairs.keypoints3d is not None:
            cells |= self.in_space(pairs, picture)
        cells |= {"found": tallied(np.where(pairs.judged, pairs.found, np.nan))}
        if picture.truth.sides:
            cells |= {"side": right_sides(found, picture.truth)}
        return cells

    def found(self, hands: Found) -> Found:
        """What was found, by the joints that the data set labels."""
        return hands

    def in_picture(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        """PCK, AUC and mean error in pixels, as mmpose."""
        errors = pairs.pixels
        near = errors <= PCK_FRACTION * longer_sides(pairs.truth.boxes)[:, None]
        return {
            "pck": by_joint(where_labelled(near, errors)),
            "auc_30px": by_joint(where_labelled(mean_pck(errors, AUC_PIXELS), errors)),
            "epe_px": tallied(found_alone(errors)),
        }

    def in_space(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        """What the publishers measure in space."""
        return {}


def longer_sides(boxes: Doubles) -> Doubles:
    """(G,) pixels of (G, 4) boxes."""
    sides: Doubles = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    return sides
