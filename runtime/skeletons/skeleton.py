"""What the keypoints of a person mean, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["Color", "Skeleton", "join"]

Color = tuple[int, int, int]  # red, green, blue

RIGHT_COLOR: Color = (255, 128, 0)
LEFT_COLOR: Color = (0, 200, 80)
MIDDLE_COLOR: Color = (51, 153, 255)
FACE_COLOR: Color = (235, 235, 235)
FINGERS = ("thumb", "index", "middle", "ring", "little")
FINGER_COLORS: tuple[Color, ...] = (
    (255, 77, 77), (255, 178, 29), (120, 220, 60), (64, 156, 255), (214, 92, 255),
)  # fmt: skip


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


def join(name: str, **parts: Skeleton) -> Skeleton:
    """Lay skeletons one after the other; hands flip into each other, their and the face's joints say whose.

    The parts are named by keyword and must hold `left_hand` and `right_hand`.
    """
    joints: list[str] = []
    slices: dict[str, slice] = {}
    limbs: list[tuple[int, int]] = []
    colors: list[Color] = []
    flips: list[tuple[int, int]] = []
    sigmas: list[float] = []
    for part, skeleton in parts.items():
        start = len(joints)
        slices[part] = slice(start, start + len(skeleton))
        named = part in ("body", "feet")
        joints += skeleton.joints if named else [f"{part}_{joint}" for joint in skeleton.joints]
        limbs += [(a + start, b + start) for a, b in skeleton.limbs]
        colors += skeleton.limb_colors
        flips += [(a + start, b + start) for a, b in skeleton.flip_pairs]
        sigmas += skeleton.sigmas
    left, right = slices["left_hand"], slices["right_hand"]
    flips += zip(range(left.start, left.stop), range(right.start, right.stop), strict=True)
    return Skeleton(name, tuple(joints), slices, tuple(limbs), tuple(colors), tuple(flips), tuple(sigmas))
