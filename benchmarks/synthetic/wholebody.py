"""What COCO-WholeBody names and DOPE does not: eyes, ears and feet, on the very surfaces that are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.anatomy import Proportions
from wholebody.benchmarks.synthetic.body import Person, foot_shape
from wholebody.benchmarks.synthetic.face import LEFT_EYE, RIGHT_EYE
from wholebody.benchmarks.synthetic.head import ear_shape
from wholebody.benchmarks.synthetic.shapes import Floats, unit
from wholebody.runtime.skeletons import DOPE, DOPE_TO_WHOLEBODY, WHOLEBODY133

__all__ = ["WHOLEBODY_ORDER", "extra_joints", "extra_normals", "extra_slack"]

# The order of `extra_joints`.
_EXTRA = (
    "left_eye", "right_eye", "left_ear", "right_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_FACE = DOPE.parts["face"]
_NOSE_TIP = DOPE.joints.index("face_nose_bridge_3")
# Directions in the half axes of a right foot: to the person's left, to the toes, to the sole.
_FOOT = unit(np.array([[0.42, 0.9, 0.35], [-0.75, 0.66, 0.4], [0.0, -0.92, 0.4]]))


def _order() -> NDArray[np.int64]:
    order = np.zeros(len(WHOLEBODY133), np.int64)
    for dope, joint in DOPE_TO_WHOLEBODY:
        order[joint] = dope
    order[WHOLEBODY133.joints.index("nose")] = _NOSE_TIP
    for place, name in enumerate(_EXTRA, start=len(DOPE)):
        order[WHOLEBODY133.joints.index(name)] = place
    return order


# (133,) int64: each joint's place among DOPE's 139 followed by the extra ones.
WHOLEBODY_ORDER = _order()


def extra_joints(person: Person) -> Floats:
    """(10, 3) metres in the person's frame: middles of eyes and ears, big toes, small toes, heels."""
    face = person.keypoints[_FACE]
    eyes = [face[LEFT_EYE].mean(axis=0), face[RIGHT_EYE].mean(axis=0)]
    return np.array([*eyes, _ear(person, 1), _ear(person, -1), *_foot(person, 1), *_foot(person, 0)])


def _ear(person: Person, side: int) -> Floats:
    """The outermost point of an ear."""
    center, axes = ear_shape(person.look, side)
    outermost: Floats = (
        person.pose.head + person.pose.head_frame @ (center + side * axes[0]) * person.body.head
    )
    return outermost


def _foot(person: Person, side: int) -> Floats:
    """Big toe, small toe and heel (3, 3) of a foot; a left foot is the mirror image of a right one."""
    center, axes = foot_shape(person, side)
    surface: Floats = center + (_FOOT * [1 - 2 * side, 1, 1]) @ axes
    return surface


def extra_normals(face_normals: Floats) -> Floats:
    """(10, 3): the eyes look where their lids do; what may be seen from all sides has no normal."""
    normals = np.zeros((len(_EXTRA), 3))
    normals[0], normals[1] = (unit(face_normals[eye].mean(axis=0)) for eye in (LEFT_EYE, RIGHT_EYE))
    return normals


def extra_slack(body: Proportions) -> Floats:
    """(10,) metres: how far a person's own surface may lie before a joint and not hide it."""
    return np.concatenate(
        [np.full(2, 0.11 * body.head), np.full(2, 0.07 * body.head), np.full(6, 0.25 * body.foot)]
    )
