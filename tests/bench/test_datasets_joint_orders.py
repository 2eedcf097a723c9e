"""The order of joints in each data set and in each skeleton, told by the joints' names."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.benchmarks.datasets.joint_orders import FACE_PARTS, HAND_ORDERS, HAND_PARTS, in_coco_order
from wholebody.runtime.skeletons import COCO_HAND21, DOPE, SKELETONS, WHOLEBODY133

FINGERS = ("thumb", "index", "middle", "ring", "little")
OUTWARDS = ("mcp", "pip", "dip", "tip")


def coco_name(dope_name: str) -> str:
    """`index_pip` -> `index2`."""
    finger, _, joint = dope_name.partition("_")
    return f"{finger}{OUTWARDS.index(joint) + 1}" if joint else finger


@pytest.mark.parametrize(
    ("dataset", "first"),
    [
        ("freihand", ["wrist", "thumb1", "thumb2", "thumb3", "thumb4", "index1"]),
        ("onehand10k", ["wrist", "thumb1", "thumb2", "thumb3", "thumb4", "index1"]),
        ("panoptic", ["wrist", "thumb1", "thumb2", "thumb3", "thumb4", "index1"]),
        ("rhd", ["wrist", "thumb4", "thumb3", "thumb2", "thumb1", "index4"]),
        ("stb", ["wrist", "little1", "little2", "little3", "little4", "ring1"]),
        ("interhand", ["thumb4", "thumb3", "thumb2", "thumb1", "index4", "index3"]),
    ],
)
def test_orders(dataset: str, first: list[str]) -> None:
    order = HAND_ORDERS[dataset]
    assert sorted(order) == list(range(21))
    assert [COCO_HAND21.joints[joint] for joint in order[:6]] == first
    hands = np.array(order, np.float64)[None, :, None]  # each joint tells which one it is
    assert in_coco_order(hands, dataset)[0, :, 0].tolist() == list(range(21))


def test_interhand_ends_with_the_wrist() -> None:
    assert HAND_ORDERS["interhand"][-1] == 0


@pytest.mark.parametrize("name", HAND_PARTS)
def test_hands_of_a_student(name: str) -> None:
    for side, joints in HAND_PARTS[name]:
        prefix = f"{side}_hand_" if side else ""
        names = [SKELETONS[name].joints[joint] for joint in joints]
        assert all(joint.startswith(prefix) for joint in names)
        plain = [joint.removeprefix(prefix) for joint in names]
        if "dope" in name:
            plain = [coco_name(joint) for joint in plain]
        assert tuple(plain) == COCO_HAND21.joints


def test_faces_of_a_student() -> None:
    """The 68 of iBUG: every second of DOPE's 33 contour points, then the same 51."""
    ibug = WHOLEBODY133.joints[WHOLEBODY133.parts["face"]]
    for name, joints in FACE_PARTS.items():
        names = [SKELETONS[name].joints[joint].removeprefix("face_") for joint in joints]
        assert len(names) == 68
        if "dope" in name:
            assert names[:17] == [f"contour_{i}" for i in range(0, 33, 2)]
            assert names[17:] == [joint.removeprefix("face_") for joint in ibug[17:]]
    assert FACE_PARTS[DOPE.name][8] == DOPE.joints.index("face_contour_16")  # the chin
