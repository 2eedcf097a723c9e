"""Which joints of two skeletons are the same point of a person."""

from __future__ import annotations

from collections.abc import Iterator

from wholebody.runtime.skeletons.coco import WHOLEBODY133
from wholebody.runtime.skeletons.dope import DOPE, DOPE_BODY, HAND_ORDER

__all__ = ["DOPE_TO_WHOLEBODY"]


def _body() -> Iterator[tuple[int, int]]:
    """The twelve joints of the limbs; DOPE's head top has no counterpart."""
    for joint, name in enumerate(DOPE_BODY.joints):
        if name in WHOLEBODY133.joints:
            yield joint, WHOLEBODY133.joints.index(name)


def _face() -> Iterator[tuple[int, int]]:
    """Every second of DOPE's 33 contour points is one of iBUG's 17; the 51 others are the same."""
    dope, coco = DOPE.parts["face"].start, WHOLEBODY133.parts["face"].start
    yield from ((dope + 2 * i, coco + i) for i in range(17))
    yield from ((dope + 33 + i, coco + 17 + i) for i in range(51))


def _hand(part: str) -> Iterator[tuple[int, int]]:
    dope, coco = DOPE.parts[part].start, WHOLEBODY133.parts[part].start
    yield from ((dope + i, coco + j) for i, j in enumerate(HAND_ORDER))


# (joint of `DOPE`, joint of `WHOLEBODY133`), ordered by the first.
DOPE_TO_WHOLEBODY: tuple[tuple[int, int], ...] = (
    *_body(), *_face(), *_hand("left_hand"), *_hand("right_hand"),
)  # fmt: skip
