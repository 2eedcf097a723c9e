"""The iBUG face mark-up: a contour of any density, then the same 51 points of brows, nose, eyes and lips.

"Right" is the person's right: left in a frontal picture. Every region runs from the person's right to the
left; eyes and lips then return along their lower side.
"""

from __future__ import annotations

from wholebody.runtime.skeletons.skeleton import FACE_COLOR, Skeleton

__all__ = ["face_regions", "face_skeleton"]

_CLOSED = ("right_eye", "left_eye", "outer_lip", "inner_lip")
# (left, right) of the 51 points after the contour.
_INNER_FLIPS = (
    *((9 - i, i) for i in range(5)),
    (18, 14), (17, 15),
    (28, 19), (27, 20), (26, 21), (25, 22), (30, 23), (29, 24),
    (37, 31), (36, 32), (35, 33), (38, 42), (39, 41),
    (47, 43), (46, 44), (48, 50),
)  # fmt: skip


def face_regions(contour: int) -> tuple[tuple[str, int], ...]:
    """Name and number of points of each region, in order, where the contour has this many."""
    return (
        ("contour", contour), ("right_brow", 5), ("left_brow", 5), ("nose_bridge", 4), ("nostril", 5),
        ("right_eye", 6), ("left_eye", 6), ("outer_lip", 12), ("inner_lip", 8),
    )  # fmt: skip


def face_skeleton(name: str, contour: int, sigmas: tuple[float, ...]) -> Skeleton:
    """A face of `contour` + 51 points; the contour's number of points is odd, the chin its middle."""
    joints: list[str] = []
    limbs: list[tuple[int, int]] = []
    for region, count in face_regions(contour):
        first, last = len(joints), len(joints) + count - 1
        joints += [f"{region}_{i}" for i in range(count)]
        limbs += [(i, i + 1) for i in range(first, last)]
        limbs += [(last, first)] if region in _CLOSED else []
    return Skeleton(
        name=name,
        joints=tuple(joints),
        parts={"face": slice(0, len(joints))},
        limbs=tuple(limbs),
        limb_colors=(FACE_COLOR,) * len(limbs),
        flip_pairs=(
            *((contour - 1 - i, i) for i in range(contour // 2)),
            *((contour + left, contour + right) for left, right in _INNER_FLIPS),
        ),
        sigmas=sigmas,
    )
