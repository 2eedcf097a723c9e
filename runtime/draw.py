"""People drawn over the picture they were found in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.media import Image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import Skeleton
from wholebody.runtime.strokes import Color, Point, dot, line

__all__ = ["draw_people", "drawn_parts", "limbs_of", "without_doubles"]

_DARK: Color = (18, 20, 24)
_JOINT: Color = (250, 250, 250)
_BOX: Color = (255, 205, 40)
_FAINTEST = 0.45  # opacity of the smallest parts
_COCO_HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class _PartStyle:
    """How a part is drawn over a picture: fine where it is small, so that it does not hide what it shows."""

    joints: slice
    width: float  # of a line, as a share of the longer side of what gives the scale
    thickest: float  # line, as a share of the picture's longer side
    edged_from: float  # line width in pixels from which lines have a dark edge
    dotted_from: float  # longer side in pixels from which joints have a dot
    opaque_from: float  # longer side in pixels; smaller parts shine through
    scale: slice  # the joints whose longer side counts: mostly the part itself


def drawn_parts(skeleton: Skeleton) -> dict[str, slice]:
    """The skeleton's parts, feet first; COCO's nose, eyes and ears are a part of their own, `head`."""
    parts = {name: skeleton.parts[name] for name in sorted(skeleton.parts, key=lambda name: name != "feet")}
    if skeleton.joints[:5] == _COCO_HEAD:
        parts |= {"head": slice(0, 5), "body": slice(5, parts["body"].stop)}
    return parts


def _part_styles(people: People) -> tuple[_PartStyle, ...]:
    """One style a part, coarse parts first: hands and faces lie on top of arms and trunk."""
    parts = drawn_parts(people.skeleton)
    styles = [_style(name, parts) for name in parts]
    return tuple(sorted(styles, key=lambda style: -style.thickest))


def _style(name: str, parts: dict[str, slice]) -> _PartStyle:
    own = parts[name]
    if "face" in name:
        return _PartStyle(own, 0.010, 0.0015, edged_from=2, dotted_from=math.inf, opaque_from=160, scale=own)
    if "hand" in name:
        return _PartStyle(own, 0.036, 0.0030, edged_from=1.5, dotted_from=120, opaque_from=50, scale=own)
    if name in ("head", "feet"):  # not by their own size: a pair of feet is as long as they are apart
        person = slice(0, parts["feet" if "feet" in parts else "body"].stop)
        return _PartStyle(own, 0.005, 0.0080, edged_from=1.5, dotted_from=150, opaque_from=100, scale=person)
    return _PartStyle(own, 0.011, 0.0080, edged_from=0, dotted_from=130, opaque_from=50, scale=own)


def draw_people(image: Image, people: People, *, min_score: float = 0.0, boxes: bool = False) -> Image:
    """A copy of the picture with every person's limbs and joints, those nearest (largest) on top.

    image      (H, W, 3) uint8 BGR, left as it is
    min_score  keypoints below it are left out; those of score 0 or without coordinates always are
    boxes      draw each person's box as well

    Lines grow with the person, so that a hand reads in a thumbnail and in 4K alike.
    Returns (H, W, 3) uint8 BGR.
    """
    canvas = np.array(image, np.uint8, order="C")
    styles = _part_styles(people)
    for i in np.argsort(_areas(people.boxes), kind="stable"):
        if boxes:
            _draw_box(canvas, people.boxes[i])
        seen = without_doubles(people.skeleton, _visible(people, int(i), min_score))
        for style in styles:
            _draw_part(canvas, people, people.keypoints[i], seen, style)
    return canvas


def _visible(people: People, person: int, min_score: float = 0.0) -> NDArray[np.bool_]:
    """(K,) bool: keypoints with coordinates, a score above zero and at least `min_score`."""
    scores, points = people.scores[person], people.keypoints[person]
    seen: NDArray[np.bool_] = (scores > 0) & (scores >= min_score) & np.isfinite(points).all(axis=1)
    return seen


def without_doubles(skeleton: Skeleton, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without COCO's nose and eyes where the face, which has its own, is seen."""
    doubled = np.array([joint in _COCO_HEAD[:3] for joint in skeleton.joints])
    face = skeleton.parts.get("face", slice(0))
    return seen & ~doubled if seen[face].any() else seen


def _draw_part(
    canvas: Image, people: People, points: Floats, seen: NDArray[np.bool_], style: _PartStyle
) -> None:
    joints = np.flatnonzero(seen[style.joints]) + style.joints.start
    if not len(joints):
        return
    extent = _extent(points[style.scale][seen[style.scale]])
    width = float(np.clip(style.width * extent, 1, max(1, style.thickest * max(canvas.shape[:2]))))
    limbs = limbs_of(people, seen, style.joints)
    ends = [joint for a, b, _ in limbs for joint in (a, b)]
    dotted = joints if extent >= style.dotted_from else np.setdiff1d(joints, ends)
    with _translucent(canvas, points[[*joints, *ends]], 3 * width, extent / style.opaque_from):
        _draw_limbs(canvas, points, limbs, width, edged=width >= style.edged_from)
        _draw_joints(canvas, points[dotted], width)


def _extent(points: Floats) -> float:
    """The longer side of (n, 2) points."""
    return float(np.ptp(points.astype(np.float64), axis=0).max())


def _draw_limbs(
    canvas: Image, points: Floats, limbs: list[tuple[int, int, Color]], width: float, *, edged: bool
) -> None:
    place: list[Point] = [(float(x), float(y)) for x, y in points]
    for a, b, _ in limbs if edged else ():
        line(canvas, place[a], place[b], _DARK, width + max(1.5, 0.6 * width))
    for a, b, color in limbs:
        line(canvas, place[a], place[b], color, width)


def _draw_joints(canvas: Image, points: Floats, width: float) -> None:
    for x, y in points:
        dot(canvas, (float(x), float(y)), _DARK, 1.15 * width)
        dot(canvas, (float(x), float(y)), _JOINT, 0.8 * width)


def limbs_of(people: People, seen: NDArray[np.bool_], joints: slice) -> list[tuple[int, int, Color]]:
    """Limbs that begin in a part and have both ends in sight."""
    table = zip(people.skeleton.limbs, people.skeleton.limb_colors, strict=True)
    return [
        (a, b, color) for (a, b), color in table if joints.start <= a < joints.stop and seen[a] and seen[b]
    ]


def _draw_box(canvas: Image, box: Floats) -> None:
    if not np.isfinite(box).all():
        return
    x0, y0, x1, y1 = (float(v) for v in box)
    width = max(1.0, 0.0015 * max(canvas.shape[:2]))
    corners: list[Point] = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        line(canvas, start, end, _BOX, width)


def _areas(boxes: Floats) -> Floats:
    sides = np.nan_to_num(boxes[:, 2:].astype(np.float64) - boxes[:, :2])
    areas: Floats = sides.prod(axis=1)
    return areas


@contextmanager
def _translucent(canvas: Image, points: Floats, margin: float, share: float) -> Iterator[None]:
    """What this block draws around the points shines through, the more the less `share` is."""
    opacity = min(1.0, _FAINTEST + (1 - _FAINTEST) * share)
    size = canvas.shape[1::-1]
    low, high = points.astype(np.float64).min(axis=0) - margin, points.astype(np.float64).max(axis=0) + margin
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, size))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high) + 1, 0, size))
    area = canvas[y0:y1, x0:x1]
    before = area.copy() if opacity < 1 and area.size else None
    yield
    if before is not None:
        area[:] = cv2.addWeighted(before, 1 - opacity, area, opacity, 0)
