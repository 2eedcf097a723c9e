"""Which joint of a data set is which of a student: names of ours for the joints of each.

Two joints of one name are the same point of a person. What students have no joint of their own for lies
between two that they have (`MIDDLES`). Joints with a name that no student has are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.skeletons import DOPE, DOPE_BODY, DOPE_TO_WHOLEBODY, WHOLEBODY133, Skeleton

__all__ = [
    "BODY13",
    "H36M17",
    "LIMBS12",
    "MPI14",
    "MPI17",
    "MPI_PARENTS",
    "arranged",
    "given",
    "names_of",
    "require_joints",
]

BODY13 = DOPE_BODY.joints
LIMBS12 = BODY13[:12]  # all but the head's top

# MPI-INF-3DHP's test set and MuPoTS-3D ("relevant" joints of the publishers' evaluation), of which the first
# 14 are judged; the neck is at the height of the shoulders.
MPI17 = (
    "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis",
    "spine", "head",
)  # fmt: skip
MPI14 = MPI17[:14]
# The joint that each of MPI14 and the pelvis hangs on, without the spine that students lack.
MPI_PARENTS = {
    "head_top": "neck", "neck": "pelvis", "right_shoulder": "neck", "right_elbow": "right_shoulder",
    "right_wrist": "right_elbow", "left_shoulder": "neck", "left_elbow": "left_shoulder",
    "left_wrist": "left_elbow", "right_hip": "pelvis", "right_knee": "right_hip", "right_ankle": "right_knee",
    "left_hip": "pelvis", "left_knee": "left_hip", "left_ankle": "left_knee", "pelvis": "pelvis",
}  # fmt: skip

# The 17 of Human3.6M's 32 joints that are used: D3_Positions 0-3, 6-8, 12-15, 17-19, 25-27.
H36M17 = (
    "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine",
    "thorax", "throat", "head_top", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder",
    "right_elbow", "right_wrist",
)  # fmt: skip

MIDDLES = {
    "mid_hip": ("right_hip", "left_hip"),
    "pelvis": ("right_hip", "left_hip"),
    "neck": ("right_shoulder", "left_shoulder"),
}


def names_of(skeleton: Skeleton) -> tuple[str, ...]:
    """The joints of a student; DOPE's by the names of COCO-WholeBody, "" where that has no such joint."""
    if skeleton is not DOPE:
        return skeleton.joints
    names = [name if name in BODY13 else "" for name in DOPE.joints]
    for dope, wholebody in DOPE_TO_WHOLEBODY:
        names[dope] = WHOLEBODY133.joints[wholebody]
    return tuple(names)


def given(have: Sequence[str], want: Sequence[str]) -> tuple[str, ...]:
    """Those of the wanted joints that there are, or that lie between two that there are."""
    return tuple(name for name in want if all(end in have for end in _ends(name, have)))


def arranged(points: NDArray[Any], have: Sequence[str], want: Sequence[str]) -> NDArray[np.float64]:
    """(N, J, D) points of the wanted joints, NaN where there is none, out of (N, K, D) of those there are."""
    place = {name: number for number, name in enumerate(have)}
    ends = np.array([[place.get(end, len(have)) for end in _ends(name, have)] for name in want], np.intp)
    nowhere = np.full((len(points), 1, points.shape[2]), np.nan)
    padded = np.concatenate([points.astype(np.float64), nowhere], axis=1)
    middle: NDArray[np.float64] = padded[:, ends].mean(axis=2)
    return middle


def require_joints(skeleton: Skeleton, want: Sequence[str], dataset: str) -> None:
    """Raise ArtefactError where a skeleton lacks wanted joints."""
    have = names_of(skeleton)
    if missing := [name for name in want if name not in given(have, want)]:
        raise ArtefactError(
            f"{dataset} judges the joints of a body, and {skeleton.name} has no {', '.join(missing)}: "
            "take a student of whole people"
        )


def _ends(name: str, have: Sequence[str]) -> tuple[str, str]:
    """The two joints that a joint lies between: itself twice where there is one of its name."""
    return (name, name) if name in have else MIDDLES.get(name, (name, name))
