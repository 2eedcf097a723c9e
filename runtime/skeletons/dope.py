"""DOPE's skeletons (ECCV 2020): body 13, hand 21, face 84, and one person of 139 keypoints.

The face is the 68-point iBUG mark-up with 33 contour points instead of 17. `DOPE` joins body, face, left
hand, right hand.
"""

from __future__ import annotations

from wholebody.runtime.skeletons.coco import COCO_HAND21
from wholebody.runtime.skeletons.face import face_regions, face_skeleton
from wholebody.runtime.skeletons.skeleton import (
    FINGER_COLORS,
    FINGERS,
    LEFT_COLOR,
    MIDDLE_COLOR,
    RIGHT_COLOR,
    Skeleton,
    join,
)

__all__ = ["DOPE", "DOPE_BODY", "DOPE_FACE", "DOPE_HAND", "HAND_ORDER"]

DOPE_BODY = Skeleton(
    name="dope_body13",
    joints=(
        "right_ankle", "left_ankle", "right_knee", "left_knee", "right_hip", "left_hip", "right_wrist",
        "left_wrist", "right_elbow", "left_elbow", "right_shoulder", "left_shoulder", "head_top",
    ),
    parts={"body": slice(0, 13)},
    limbs=(
        (0, 2), (2, 4), (1, 3), (3, 5), (6, 8), (8, 10), (7, 9), (9, 11), (4, 5), (10, 11), (4, 10), (5, 11),
        (10, 12), (11, 12),
    ),
    limb_colors=((RIGHT_COLOR,) * 2 + (LEFT_COLOR,) * 2) * 2 + (MIDDLE_COLOR,) * 6,
    flip_pairs=tuple((left, left - 1) for left in range(1, 13, 2)),
    # COCO's constants; COCO has no head top, which takes the shoulder's.
    sigmas=(.089, .089, .087, .087, .107, .107, .062, .062, .072, .072, .079, .079, .079),
)  # fmt: skip

# Where each joint of a DOPE hand stands in COCO-WholeBody's: DOPE names the wrist, then every finger's first
# joint, then finger by finger the other three; COCO goes from the palm outwards, one finger after the other.
HAND_ORDER = (0, *(1 + 4 * n for n in range(5)), *(1 + 4 * n + j for n in range(5) for j in (1, 2, 3)))

DOPE_HAND = Skeleton(
    name="dope_hand21",
    joints=(
        "wrist",
        *(f"{finger}_mcp" for finger in FINGERS),
        *(f"{finger}_{joint}" for finger in FINGERS for joint in ("pip", "dip", "tip")),
    ),
    parts={"hand": slice(0, 21)},
    # Bones of finger n: 0 -> n+1 -> 3n+6 -> 3n+7 -> 3n+8.
    limbs=tuple(
        bone
        for n in range(5)
        for bone in ((0, n + 1), (n + 1, 3 * n + 6), (3 * n + 6, 3 * n + 7), (3 * n + 7, 3 * n + 8))
    ),
    limb_colors=tuple(FINGER_COLORS[n] for n in range(5) for _ in range(4)),
    flip_pairs=(),
    sigmas=tuple(COCO_HAND21.sigmas[joint] for joint in HAND_ORDER),
)

# Region means of COCO-WholeBody's 68 constants (the 84-point contour is denser than its 17 points).
_REGION_SIGMA = {
    "contour": .036, "right_brow": .012, "left_brow": .012, "nose_bridge": .009, "nostril": .010,
    "right_eye": .012, "left_eye": .011, "outer_lip": .011, "inner_lip": .009,
}  # fmt: skip

DOPE_FACE = face_skeleton(
    "dope_face84",
    contour=33,
    sigmas=tuple(_REGION_SIGMA[region] for region, count in face_regions(33) for _ in range(count)),
)

DOPE = join("dope139", body=DOPE_BODY, face=DOPE_FACE, left_hand=DOPE_HAND, right_hand=DOPE_HAND)
