"""Skeleton tables: joint names, parts, limbs, flip pairs, colours and OKS sigmas.

Joint orders are DOPE's: body 13, hand 21, face 84 (ECCV 2020; the face is the 68-point iBUG mark-up with 33
contour points instead of 17). `DOPE` joins them into one person of 139 keypoints: body, face, left hand,
right hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["DOPE", "DOPE_BODY", "DOPE_FACE", "DOPE_HAND", "SKELETONS", "Skeleton"]

Color = tuple[int, int, int]  # red, green, blue


@dataclass(frozen=True)
class Skeleton:
    """What the K keypoints of a person mean.

    `parts` maps a part's name to its slice of the keypoints; `limbs` are joint pairs to draw; `limb_colors`
    has one RGB colour a limb; `flip_pairs` are (left, right) joints that trade places in a mirrored picture;
    `sigmas` are the OKS constants (COCO's and COCO-WholeBody's where they name the same joint).
    """

    name: str
    joints: tuple[str, ...]
    parts: Mapping[str, slice]
    limbs: tuple[tuple[int, int], ...]
    limb_colors: tuple[Color, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    flip_index: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.joints) or len(self.limb_colors) != len(self.limbs):
            raise ValueError(f"skeleton {self.name}: one sigma per joint and one colour per limb")
        index = list(range(len(self.joints)))
        for a, b in self.flip_pairs:
            index[a], index[b] = b, a
        object.__setattr__(self, "flip_index", tuple(index))
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    def __len__(self) -> int:
        return len(self.joints)


RIGHT_COLOR: Color = (255, 128, 0)
LEFT_COLOR: Color = (0, 200, 80)
MIDDLE_COLOR: Color = (51, 153, 255)
FACE_COLOR: Color = (235, 235, 235)
FINGER_COLORS: tuple[Color, ...] = (
    (255, 77, 77), (255, 178, 29), (120, 220, 60), (64, 156, 255), (214, 92, 255),
)  # fmt: skip

_BODY_JOINTS = (
    "right_ankle", "left_ankle", "right_knee", "left_knee", "right_hip", "left_hip", "right_wrist",
    "left_wrist", "right_elbow", "left_elbow", "right_shoulder", "left_shoulder", "head_top",
)  # fmt: skip
_BODY_LIMBS = (
    (0, 2), (2, 4), (1, 3), (3, 5), (6, 8), (8, 10), (7, 9), (9, 11), (4, 5), (10, 11), (4, 10), (5, 11),
    (10, 12), (11, 12),
)  # fmt: skip
_BODY_COLORS = ((RIGHT_COLOR,) * 2 + (LEFT_COLOR,) * 2) * 2 + (MIDDLE_COLOR,) * 6
# COCO's constants; COCO has no head top, which takes the shoulder's.
_BODY_SIGMAS = (.089, .089, .087, .087, .107, .107, .062, .062, .072, .072, .079, .079, .079)  # fmt: skip

DOPE_BODY = Skeleton(
    name="dope_body13",
    joints=_BODY_JOINTS,
    parts={"body": slice(0, 13)},
    limbs=_BODY_LIMBS,
    limb_colors=_BODY_COLORS,
    flip_pairs=tuple((left, left - 1) for left in range(1, 13, 2)),
    sigmas=_BODY_SIGMAS,
)

_FINGERS = ("thumb", "index", "middle", "ring", "little")
_HAND_JOINTS = (
    "wrist",
    *(f"{finger}_mcp" for finger in _FINGERS),
    *(f"{finger}_{joint}" for finger in _FINGERS for joint in ("pip", "dip", "tip")),
)
# Bones of finger n: 0 -> n+1 -> 3n+6 -> 3n+7 -> 3n+8.
_HAND_LIMBS = tuple(
    bone
    for n in range(5)
    for bone in ((0, n + 1), (n + 1, 3 * n + 6), (3 * n + 6, 3 * n + 7), (3 * n + 7, 3 * n + 8))
)
# COCO-WholeBody's hand constants: wrist, then four per finger from the palm outwards.
_WHOLEBODY_HAND = (
    .029, .022, .035, .037, .047, .026, .025, .024, .035, .018, .024, .022, .026, .017, .021, .021, .032,
    .02, .019, .022, .031,
)  # fmt: skip
_HAND_SIGMAS = (
    _WHOLEBODY_HAND[0],
    *(_WHOLEBODY_HAND[1 + 4 * n] for n in range(5)),
    *(_WHOLEBODY_HAND[2 + 4 * n + j] for n in range(5) for j in range(3)),
)

DOPE_HAND = Skeleton(
    name="dope_hand21",
    joints=_HAND_JOINTS,
    parts={"hand": slice(0, 21)},
    limbs=_HAND_LIMBS,
    limb_colors=tuple(FINGER_COLORS[n] for n in range(5) for _ in range(4)),
    flip_pairs=(),
    sigmas=_HAND_SIGMAS,
)

# Face: contour 0-32, right brow 33-37, left brow 38-42, nose bridge 43-46, nostrils 47-51, right eye 52-57,
# left eye 58-63, outer lip 64-75, inner lip 76-83. "Right" is the person's right: left in a frontal picture.
_FACE_REGIONS = (
    ("contour", 33), ("right_brow", 5), ("left_brow", 5), ("nose_bridge", 4), ("nostril", 5),
    ("right_eye", 6), ("left_eye", 6), ("outer_lip", 12), ("inner_lip", 8),
)  # fmt: skip
_FACE_FLIPS = (
    *((32 - i, i) for i in range(16)),
    *((42 - i, 33 + i) for i in range(5)),
    (51, 47), (50, 48),
    (61, 52), (60, 53), (59, 54), (58, 55), (63, 56), (62, 57),
    (70, 64), (69, 65), (68, 66), (71, 75), (72, 74),
    (80, 76), (79, 77), (81, 83),
)  # fmt: skip


def _chain(first: int, last: int, closed: bool = False) -> tuple[tuple[int, int], ...]:
    links = tuple((i, i + 1) for i in range(first, last))
    return (*links, (last, first)) if closed else links


_FACE_LIMBS = (
    *_chain(0, 32), *_chain(33, 37), *_chain(38, 42), *_chain(43, 46), *_chain(47, 51), *_chain(52, 57, True),
    *_chain(58, 63, True), *_chain(64, 75, True), *_chain(76, 83, True),
)  # fmt: skip
# Region means of COCO-WholeBody's 68 constants (the 84-point contour is denser than its 17 points).
_REGION_SIGMA = {
    "contour": .036, "right_brow": .012, "left_brow": .012, "nose_bridge": .009, "nostril": .010,
    "right_eye": .012, "left_eye": .011, "outer_lip": .011, "inner_lip": .009,
}  # fmt: skip

DOPE_FACE = Skeleton(
    name="dope_face84",
    joints=tuple(f"{region}_{i}" for region, count in _FACE_REGIONS for i in range(count)),
    parts={"face": slice(0, 84)},
    limbs=_FACE_LIMBS,
    limb_colors=(FACE_COLOR,) * len(_FACE_LIMBS),
    flip_pairs=_FACE_FLIPS,
    sigmas=tuple(_REGION_SIGMA[region] for region, count in _FACE_REGIONS for _ in range(count)),
)


def _join(name: str, *parts: tuple[str, Skeleton]) -> Skeleton:
    """Lay skeletons one after the other; hands flip into each other."""
    joints: list[str] = []
    slices: dict[str, slice] = {}
    limbs: list[tuple[int, int]] = []
    colors: list[Color] = []
    flips: list[tuple[int, int]] = []
    sigmas: list[float] = []
    for part, skeleton in parts:
        start = len(joints)
        slices[part] = slice(start, start + len(skeleton))
        joints += [f"{part}_{joint}" for joint in skeleton.joints] if part != "body" else skeleton.joints
        limbs += [(a + start, b + start) for a, b in skeleton.limbs]
        colors += skeleton.limb_colors
        flips += [(a + start, b + start) for a, b in skeleton.flip_pairs]
        sigmas += skeleton.sigmas
    left, right = slices["left_hand"], slices["right_hand"]
    flips += zip(range(left.start, left.stop), range(right.start, right.stop), strict=True)
    return Skeleton(name, tuple(joints), slices, tuple(limbs), tuple(colors), tuple(flips), tuple(sigmas))


DOPE = _join(
    "dope139", ("body", DOPE_BODY), ("face", DOPE_FACE), ("left_hand", DOPE_HAND), ("right_hand", DOPE_HAND)
)

SKELETONS: Mapping[str, Skeleton] = MappingProxyType(
    {s.name: s for s in (DOPE_BODY, DOPE_HAND, DOPE_FACE, DOPE)}
)
