"""Lines and dots with sub-pixel ends that may lie anywhere, for `draw` and `draw3d`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2

from wholebody.runtime.media import Image

__all__ = ["Color", "Point", "dot", "line", "mix", "text"]

Color = tuple[int, int, int]  # red, green, blue, as in the skeleton tables
Point = tuple[float, float]

_SHIFT = 4  # OpenCV draws in sixteenths of a pixel
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def line(canvas: Image, start: Point, end: Point, color: Color, width: float) -> None:
    """Draw a line of `width` pixels with round ends into the (H, W, 3) BGR canvas; the rest is cut off."""
    thickness = max(1, round(width))
    ends = _clip(start, end, canvas.shape[1], canvas.shape[0], margin=thickness + 1)
    if ends is not None:
        cv2.line(canvas, _fixed(ends[0]), _fixed(ends[1]), color[::-1], thickness, cv2.LINE_AA, _SHIFT)


def dot(canvas: Image, centre: Point, color: Color, radius: float) -> None:
    """Draw a filled circle into the (H, W, 3) BGR canvas; one wholly outside is left out."""
    height, width = canvas.shape[:2]
    x, y = centre
    if -radius - 1 < x < width + radius and -radius - 1 < y < height + radius:
        fixed_radius = max(1, round(radius * (1 << _SHIFT)))
        cv2.circle(canvas, _fixed(centre), fixed_radius, color[::-1], cv2.FILLED, cv2.LINE_AA, _SHIFT)


def text(canvas: Image, words: str, centre: Point, color: Color, height: float) -> None:
    """Write a line of text, capitals `height` pixels high, centred at a point."""
    scale, thickness = height / 22, max(1, round(height / 12))
    (width, _), _ = cv2.getTextSize(words, _FONT, scale, thickness)
    corner = (round(centre[0] - width / 2), round(centre[1] + height / 2))
    cv2.putText(canvas, words, corner, _FONT, scale, color[::-1], thickness, cv2.LINE_AA)


def mix(color: Color, other: Color, share: float) -> Color:
    """`color` with a share (0..1) of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


def _clip(start: Point, end: Point, width: int, height: int, margin: float) -> tuple[Point, Point] | None:
    """The part of a line inside the picture and its margin (Liang and Barsky 1984), or None."""
    enter, leave = 0.0, 1.0
    for a, b, size in ((start[0], end[0], width), (start[1], end[1], height)):
        low, high = -margin - a, size + margin - a
        if a == b:
            if low > 0 or high < 0:
                return None
            continue
        first, last = sorted((low / (b - a), high / (b - a)))
        enter, leave = max(enter, first), min(leave, last)
    if enter > leave:
        return None
    return _along(start, end, enter, width, height, margin), _along(start, end, leave, width, height, margin)


def _along(start: Point, end: Point, share: float, width: int, height: int, margin: float) -> Point:
    """A point of the line; held inside the margin, which rounding may miss when an end is very far away."""
    x, y = (a + (b - a) * share for a, b in zip(start, end, strict=True))
    return min(max(x, -margin), width + margin), min(max(y, -margin), height + margin)


def _fixed(point: Iterable[float]) -> tuple[int, int]:
    x, y = (math.floor(v * (1 << _SHIFT) + 0.5) for v in point)
    return x, y
