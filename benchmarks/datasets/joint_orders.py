"""In which order each data set lists the joints of a hand, and where a student's hands and faces lie.

Readers bring every hand into the order of COCO_HAND21 (wrist, then thumb to little finger, each from the palm
outwards), and every face is the 68 landmarks of iBUG: data sets and students meet in one order. The 68 are
all of them among DOPE's 84: the 51 of brows, nose, eyes and lips, and every second of the contour's 33.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.skeletons import (
    COCO_HAND21,
    DOPE,
    DOPE_FACE,
    DOPE_HAND,
    DOPE_TO_WHOLEBODY,
    WHOLEBODY133,
)

__all__ = ["FACE_PARTS", "HAND_ORDERS", "HAND_PARTS", "in_coco_order"]

Indices = NDArray[np.intp]
Doubles = NDArray[np.float64]

PALM_OUTWARDS = tuple(range(21))
TIP_TO_PALM = (0, *(joint for base in range(1, 21, 4) for joint in range(base + 3, base - 1, -1)))
LITTLE_TO_THUMB = (0, *(joint for base in range(17, 0, -4) for joint in range(base, base + 4)))
TIP_TO_PALM_WRIST_LAST = (*TIP_TO_PALM[1:], 0)

# Of each data set, joint by joint as it lists them: which joint of COCO_HAND21 that is.
HAND_ORDERS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "freihand": PALM_OUTWARDS,
        "onehand10k": PALM_OUTWARDS,
        "panoptic": PALM_OUTWARDS,
        "rhd": TIP_TO_PALM,
        "stb": LITTLE_TO_THUMB,  # its first joint is the centre of the palm, not the wrist
        "interhand": TIP_TO_PALM_WRIST_LAST,  # of the right hand, then of the left one
    }
)


def in_coco_order(joints: Doubles, dataset: str) -> Doubles:
    """(..., 21, d) joints of a data set's hand, in the order of COCO_HAND21."""
    ordered = np.empty_like(joints)
    ordered[..., HAND_ORDERS[dataset], :] = joints
    return ordered


def _of_dope(part: str) -> Indices:
    """The joints of DOPE that are those of a part of WHOLEBODY133, in the latter's order."""
    dope = {theirs: ours for ours, theirs in DOPE_TO_WHOLEBODY}
    return np.array([dope[joint] for joint in _of_wholebody(part)], np.intp)


def _of_wholebody(part: str) -> Indices:
    where = WHOLEBODY133.parts[part]
    return np.arange(where.start, where.stop)


# By skeleton: the side of each hand it has ("" where it does not say), and its joints in COCO_HAND21's order.
HAND_PARTS: Mapping[str, tuple[tuple[str, Indices], ...]] = MappingProxyType(
    {
        DOPE.name: (("left", _of_dope("left_hand")), ("right", _of_dope("right_hand"))),
        WHOLEBODY133.name: (("left", _of_wholebody("left_hand")), ("right", _of_wholebody("right_hand"))),
        DOPE_HAND.name: (("", _of_dope("left_hand") - DOPE.parts["left_hand"].start),),
        COCO_HAND21.name: (("", np.arange(21)),),
    }
)

# By skeleton: the 68 landmarks of iBUG.
FACE_PARTS: Mapping[str, Indices] = MappingProxyType(
    {
        DOPE.name: _of_dope("face"),
        WHOLEBODY133.name: _of_wholebody("face"),
        DOPE_FACE.name: _of_dope("face") - DOPE.parts["face"].start,
    }
)
