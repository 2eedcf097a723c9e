"""COCO's 17 body keypoints and COCO-WholeBody's 133 (ECCV 2020).

The 133 are body 17, feet 6, face 68 (iBUG), left hand 21, right hand 21. Sigmas are those of the official
evaluation (jin-s13/COCO-WholeBody, `evaluation/myeval_wholebody.py`).
"""

from __future__ import annotations

from dataclasses import replace

from wholebody.runtime.skeletons.face import face_skeleton
from wholebody.runtime.skeletons.skeleton import (
    FINGER_COLORS,
    FINGERS,
    LEFT_COLOR,
    MIDDLE_COLOR,
    RIGHT_COLOR,
    Skeleton,
    join,
)

__all__ = ["COCO17", "COCO_HAND21", "WHOLEBODY133"]

COCO17 = Skeleton(
    name="coco17",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
        "right_knee", "left_ankle", "right_ankle",
    ),
    parts={"body": slice(0, 17)},
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (9, 7), (7, 5), (10, 8), (8, 6), (11, 12), (5, 6), (5, 11),
        (6, 12), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    limb_colors=((LEFT_COLOR,) * 2 + (RIGHT_COLOR,) * 2) * 2 + (MIDDLE_COLOR,) * 11,
    flip_pairs=tuple((left, left + 1) for left in range(1, 17, 2)),
    sigmas=(
        .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089,
    ),
)  # fmt: skip

COCO_HAND21 = Skeleton(
    name="coco_hand21",
    joints=("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3, 4))),
    parts={"hand": slice(0, 21)},
    limbs=tuple((0 if j == 1 else 4 * n + j - 1, 4 * n + j) for n in range(5) for j in (1, 2, 3, 4)),
    limb_colors=tuple(FINGER_COLORS[n] for n in range(5) for _ in range(4)),
    flip_pairs=(),
    sigmas=(
        .029, .022, .035, .037, .047, .026, .025, .024, .035, .018, .024, .022, .026, .017, .021, .021, .032,
        .02, .019, .022, .031,
    ),
)  # fmt: skip

_FEET = Skeleton(
    name="coco_feet6",
    joints=(
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    ),
    parts={"feet": slice(0, 6)},
    limbs=(),
    limb_colors=(),
    flip_pairs=((0, 3), (1, 4), (2, 5)),
    sigmas=(.068, .066, .066, .092, .094, .094),
)  # fmt: skip

_FACE = face_skeleton(
    "coco_face68",
    contour=17,
    sigmas=(
        .042, .043, .044, .043, .040, .035, .031, .025, .020, .023, .029, .032, .037, .038, .043, .041, .045,
        .013, .012, .011, .011, .012, .012, .011, .011, .013, .015, .009, .007, .007, .007, .012, .009, .008,
        .016, .010, .017, .011, .009, .011, .009, .007, .013, .008, .011, .012, .010, .034, .008, .008, .009,
        .008, .008, .007, .010, .008, .009, .009, .009, .007, .007, .008, .011, .008, .008, .008, .01, .008,
    ),
)  # fmt: skip


def _with_ankles(joined: Skeleton) -> Skeleton:
    """Feet hang on the body's ankles: a limb from each toe and from the heel."""
    left, right = ((17, 15), (18, 15), (19, 15)), ((20, 16), (21, 16), (22, 16))
    return replace(
        joined,
        limbs=joined.limbs + left + right,
        limb_colors=joined.limb_colors + (LEFT_COLOR,) * 3 + (RIGHT_COLOR,) * 3,
    )


WHOLEBODY133 = _with_ankles(
    join("wholebody133", body=COCO17, feet=_FEET, face=_FACE, left_hand=COCO_HAND21, right_hand=COCO_HAND21)
)
