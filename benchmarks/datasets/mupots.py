"""MuPoTS-3D (Mehta et al., 3DV 2018): people together, indoors and outdoors, without markers.

The folder is the published `MultiPersonTestSet`: TS1 to TS20, each of

    img_000000.jpg …   the frames
    annot.mat          `annotations`, cells (frames, people) of structures with annot2 (2, 17) pixels,
                       annot3 and univ_annot3 (3, 17) mm, isValidFrame
    occlusion.mat      `occlusion_labels`, cells (frames, people) of 17, 1 where a joint is hidden

The protocol is the publishers' `mpii_mupots_multiperson_eval.m`, relative to the root: people are matched in
the picture, bones are brought to the true lengths, and a joint is right when it is nearer than 150 mm to
`univ_annot3`, whose people are all of one height. Students have no spine: the neck hangs on the pelvis, as
others without one do it (SMAP).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import digest, find_pictures
from wholebody.benchmarks.datasets.bodies import boxes_around, require_3d
from wholebody.benchmarks.datasets.body_joints import (
    LIMBS12,
    MPI14,
    MPI17,
    MPI_PARENTS,
    arranged,
    given,
    names_of,
    require_joints,
)
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.matlab import read_cells
from wholebody.benchmarks.datasets.registry import require_files
from wholebody.benchmarks.metrics.bones import with_true_bones
from wholebody.benchmarks.metrics.joint_errors import area_under_curve, joint_errors, within
from wholebody.benchmarks.metrics.matching import UNMATCHED
from wholebody.benchmarks.metrics.same_person import match_as_mupots
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.errors import SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Mupots", "read_mupots"]

Doubles = NDArray[np.float64]
SEQUENCES = 20
MATCHED_BY = MPI17[1:14]  # the publishers leave the head's top out

METRICS = (
    Metric("pck3d_all", "PCK3D 150 mm, all people", "share", "higher"),
    Metric("pck3d_matched", "PCK3D 150 mm, matched people", "share", "higher"),
    Metric("auc_all", "AUC 0-150 mm, all people", "share", "higher"),
    Metric("auc_matched", "AUC 0-150 mm, matched people", "share", "higher"),
    Metric("pck3d_visible", "PCK3D 150 mm, joints in sight", "share", "higher"),
    Metric("pck3d_occluded", "PCK3D 150 mm, hidden joints", "share", "higher"),
    Metric("found", "people matched", "share", "higher"),
)

NOTES = (
    "By its publishers' protocol, relative to the root: people are matched by 13 joints within 40 pixels; "
    "bones are rescaled to the true lengths; 14 joints are judged (13 for a student without the head's "
    "top). A student's neck is between its shoulders, its pelvis between its hips, and the neck hangs on "
    "the pelvis, for want of a spine. 'All people' counts the joints of people that were not matched as "
    "wrong; people that nobody annotated are not held against a student."
)


@dataclass(frozen=True, eq=False)
class Mupots:
    """The frames of the sequences that are there (a `Dataset`); each is a cell of every metric."""

    sha256: str
    pictures: Sequence[Picture]
    cells: Mapping[str, int]
    name: str = "mupots"
    metrics: tuple[Metric, ...] = METRICS

    @property
    def notes(self) -> str:
        return f"The mean over {len(self.cells)} of {SEQUENCES} sequences. {NOTES}"

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        require_3d(self.name, with_3d=with_3d)
        require_joints(skeleton, LIMBS12, self.name)

    def tally(self, people: People, picture: Picture) -> Tally:
        truth = picture.truth
        assert truth.keypoints3d is not None
        have = names_of(people.skeleton)
        judged = given(have, MPI14)
        matched = match_as_mupots(
            arranged(people.keypoints, have, MATCHED_BY), arranged(truth.keypoints, MPI17, MATCHED_BY)
        )
        found = matched != UNMATCHED
        errors = np.full((len(truth.keypoints), len(judged)), np.nan)
        errors[found] = _errors(people, matched[found], truth.keypoints3d[found])
        right, curve = (rate(errors, np.ones_like(errors, np.bool_)) for rate in (within, area_under_curve))
        in_sight = truth.visible[:, [MPI17.index(name) for name in judged]]
        values = {
            "pck3d_all": right,
            "pck3d_matched": right[found],
            "auc_all": curve,
            "auc_matched": curve[found],
            "pck3d_visible": right[in_sight],
            "pck3d_occluded": right[~in_sight],
            "found": found.astype(np.float64),
        }
        cell = self.cells[picture.group]
        return {name: tallied(value, cell, len(self.cells)) for name, value in values.items()}


def read_mupots(folder: Path) -> Mupots:
    """The frames with somebody annotated of the sequences that lie in the folder. Raises SourceError."""
    annotations = require_files(folder, "mupots")["TS*/annot.mat"]
    sequences = sorted((path.parent for path in annotations), key=_number)
    pictures = tuple(picture for sequence in sequences for picture in _sequence(sequence))
    files = [sequence / name for sequence in sequences for name in ("annot.mat", "occlusion.mat")]
    return Mupots(digest(*files), pictures, {s.name: cell for cell, s in enumerate(sequences)})


def _errors(people: People, of: NDArray[np.intp], truth: Doubles) -> Doubles:
    """(M, J) mm of the joints that are judged, of matched people and truths (M, 17, 3)."""
    if people.keypoints3d is None:
        raise ValueError("these people have no joints in space")
    have = names_of(people.skeleton)
    judged = given(have, MPI14)
    joints = (*judged, "pelvis")
    parents = [joints.index(MPI_PARENTS[name]) for name in joints]
    predicted = arranged(people.keypoints3d[of], have, joints)
    true = arranged(truth, MPI17, joints)
    predicted, true = predicted - predicted[:, -1:], true - true[:, -1:]
    return joint_errors(with_true_bones(predicted, true, parents), true)[:, : len(judged)]


def _number(sequence: Path) -> int:
    number = sequence.name.removeprefix("TS")
    if not number.isdecimal():
        raise SourceError(f"{sequence} is no sequence of MuPoTS-3D: they are TS1 to TS{SEQUENCES}")
    return int(number)


def _sequence(folder: Path) -> list[Picture]:
    """The frames in which somebody is annotated."""
    path, hidden_path = folder / "annot.mat", folder / "occlusion.mat"
    if not hidden_path.is_file():
        raise SourceError(f"{folder} lacks occlusion.mat of MuPoTS-3D: unpack the whole archive")
    people, hidden = read_cells(path, "annotations"), read_cells(hidden_path, "occlusion_labels")
    if people.shape != hidden.shape:
        raise SourceError(f"{path} tells {people.shape} frames and people, {hidden_path} {hidden.shape}")
    names = [f"img_{frame:06d}.jpg" for frame in range(len(people))]
    try:
        truths = [_truth(people[frame], hidden[frame]) for frame in range(len(people))]
    except (IndexError, KeyError, TypeError, ValueError):
        raise SourceError(
            f"{path} holds no annotations of MuPoTS-3D, or is damaged: unpack it again"
        ) from None
    kept = [frame for frame, truth in enumerate(truths) if len(truth.boxes)]
    paths = find_pictures(folder, "mupots", [names[frame] for frame in kept])
    return [
        Picture(f"{folder.name}/{names[frame]}", path, truths[frame], folder.name)
        for frame, path in zip(kept, paths, strict=True)
    ]


def _truth(people: NDArray[np.object_], hidden: NDArray[np.object_]) -> Truth:
    """The people of a frame whose annotation is valid."""
    valid = [k for k, person in enumerate(people) if person["isValidFrame"].item().item()]
    flat = np.array([people[k]["annot2"].item() for k in valid], np.float64).reshape(-1, 2, 17)
    solid = np.array([people[k]["univ_annot3"].item() for k in valid], np.float64).reshape(-1, 3, 17)
    occluded = np.array([hidden[k].ravel() for k in valid], np.float64).reshape(-1, 17)
    keypoints = flat.transpose(0, 2, 1)
    return Truth(keypoints, solid.transpose(0, 2, 1) / 1000, occluded == 0, boxes_around(keypoints))
