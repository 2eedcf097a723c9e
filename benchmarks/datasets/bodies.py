"""The protocol for whole bodies in space that Human3.6M, MPI-INF-3DHP and SMPLy are judged by here.

A true person is found where half of its labelled joints are near a predicted one's in the picture
(`metrics.same_person`). Both are moved to have their pelvis, which a student has between its hips, at the
origin. Nothing is rescaled or turned, but for PA-MPJPE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.body_joints import LIMBS12, arranged, given, names_of, require_joints
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.metrics.joint_errors import area_under_curve, joint_errors, known, within
from wholebody.benchmarks.metrics.matching import UNMATCHED
from wholebody.benchmarks.metrics.procrustes import procrustes
from wholebody.benchmarks.metrics.same_person import match_by_joints
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.boxes import grow_boxes
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = [
    "AUC",
    "FOUND",
    "MPJPE",
    "PA_MPJPE",
    "PCK3D",
    "Bodies",
    "BodyErrors",
    "body_errors",
    "boxes_around",
    "require_3d",
]

Doubles = NDArray[np.float64]
BOX_MARGIN = 0.1  # of width or height: joints do not reach to the end of hands, feet and skull

MPJPE = Metric("mpjpe", "MPJPE", "mm", "lower")
PA_MPJPE = Metric("pa_mpjpe", "PA-MPJPE", "mm", "lower")
PCK3D = Metric("pck3d", "PCK3D 150 mm", "share", "higher")
AUC = Metric("auc", "AUC 0-150 mm", "share", "higher")
FOUND = Metric("found", "people found", "share", "higher")


@dataclass(frozen=True, eq=False)
class BodyErrors:
    """The errors of the G true people of a picture.

    joints      the names of the J judged
    errors      (G, J) mm, root at root; NaN where a joint is not labelled or was not predicted
    pa_errors   (G, J) mm after Procrustes alignment
    labelled    (G, J) bool
    found       (G,) bool
    """

    joints: tuple[str, ...]
    errors: Doubles
    pa_errors: Doubles
    labelled: NDArray[np.bool_]
    found: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Bodies:
    """Pictures of people with joints in space (a `Dataset`).

    joints   the names of the truth's joints (`body_joints`), judged those that are judged
    cells    of each group of pictures; a metric is the mean over them. Empty: one cell for all
    """

    name: str
    sha256: str
    pictures: Sequence[Picture]
    metrics: Sequence[Metric]
    notes: str
    joints: tuple[str, ...]
    judged: tuple[str, ...]
    cells: Mapping[str, int] = field(default_factory=dict)

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        require_3d(self.name, with_3d=with_3d)
        require_joints(skeleton, LIMBS12, self.name)

    def tally(self, people: People, picture: Picture) -> Tally:
        result = body_errors(people, picture.truth, self.joints, self.judged)
        cell, cells = self.cells.get(picture.group, 0), max(len(self.cells), 1)
        values = {
            "mpjpe": result.errors,
            "pa_mpjpe": result.pa_errors,
            "pck3d": within(result.errors, result.labelled),
            "auc": area_under_curve(result.errors, result.labelled),
            "found": result.found.astype(np.float64),
        }
        return {metric.name: tallied(values[metric.name], cell, cells) for metric in self.metrics}


def body_errors(
    people: People, truth: Truth, joints: Sequence[str], wanted: Sequence[str], root: str = "pelvis"
) -> BodyErrors:
    """Match people with the true ones, whose joints are `joints`; measure those of `wanted` that both have.

    root: the joint that both are moved to have at the origin.

    Raises ValueError for people without joints in space.
    """
    have = names_of(people.skeleton)
    judged = given(joints, given(have, wanted))
    matched = match_by_joints(
        arranged(people.keypoints, have, judged),
        people.score,
        arranged(truth.keypoints, joints, judged),
        truth.boxes,
    )
    predicted = _of_truths(_centred(_in_space(people), have, judged, root), matched)
    true = _centred(_in_space(truth), joints, judged, root)
    return BodyErrors(
        joints=judged,
        errors=joint_errors(predicted, true),
        pa_errors=joint_errors(procrustes(predicted, true), true),
        labelled=known(true),
        found=matched != UNMATCHED,
    )


def require_3d(dataset: str, *, with_3d: bool) -> None:
    """Raise ArtefactError for a student that has no joints in space."""
    if not with_3d:
        raise ArtefactError(
            f"{dataset} judges joints in space, of which this student gives none: take a student with 3D, or "
            "coco or coco-wholebody"
        )


def boxes_around(keypoints: Doubles) -> Doubles:
    """(G, 4) boxes around the labelled of (G, J, 2) joints, a tenth larger on every side."""
    labelled = known(keypoints)[..., None]
    low = np.where(labelled, keypoints, np.inf).min(axis=1)
    high = np.where(labelled, keypoints, -np.inf).max(axis=1)
    return grow_boxes(np.concatenate([low, high], axis=1), BOX_MARGIN).astype(np.float64)


def _in_space(of: People | Truth) -> NDArray[np.floating]:
    if of.keypoints3d is None:
        raise ValueError("there are no joints in space")
    return of.keypoints3d


def _centred(points: NDArray[np.floating], have: Sequence[str], want: Sequence[str], root: str) -> Doubles:
    """(N, J, 3) the wanted joints, the root at the origin."""
    return arranged(points, have, want) - arranged(points, have, (root,))


def _of_truths(predicted: Doubles, matched: NDArray[np.intp]) -> Doubles:
    """(G, J, 3) the prediction of each truth, NaN where there is none."""
    nobody = np.full((1, *predicted.shape[1:]), np.nan)
    return np.concatenate([predicted, nobody])[matched]  # UNMATCHED is the last one
