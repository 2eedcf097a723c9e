"""The people's 3D poses, drawn as a panel beside the picture.

The poses are relative to each person's own centre, so the panel cannot say how far apart people stand: it
lines them up from left to right as their boxes lie in the picture, feet on a common floor, seen a little
from the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.draw import drawn_parts, limbs_of, without_doubles
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.strokes import Color, Point, line, mix, text

__all__ = ["draw_view3d", "side_by_side"]

Doubles = NDArray[np.float64]

_BACKGROUND: Color = (33, 36, 42)
_GRID: Color = (92, 98, 110)
_SHADOW: Color = (22, 24, 28)
_WORDS: Color = (138, 145, 158)
_JOINT: Color = (245, 245, 245)
_AXES: tuple[tuple[str, Color], ...] = (("x", (255, 99, 99)), ("y", (110, 220, 120)), ("z", (90, 160, 255)))

_TURN, _TILT = np.radians(30), np.radians(14)  # the view: from the person's side, and from above
_FINE_PANEL = 1_000_000  # pixels; smaller panels are drawn twice as large and averaged
_REACH = 2.0  # metres from a person's centre; no joint of a person is further
_CENTRE_HEIGHT = 0.9  # metres above the floor, of a person whose feet are not seen
_GAP = 0.3  # metres between people
_FLOOR_DEPTH = 1.1  # metres of floor in front of and behind them
_FINEST = 1.5  # pixels before averaging; lines that should be finer are fainter instead
_THICKNESS = {"face": 0.004, "hand": 0.010, "head": 0.012, "feet": 0.016}  # metres, of a part's lines
_GRID_STEPS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # metres


@dataclass(frozen=True)
class _Figure:
    """One person in view coordinates: metres right, down (0 is the floor) and away from the viewer."""

    points: Doubles  # (K, 3), NaN where not seen
    person: int

    @property
    def seen(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.points).all(axis=1))


def draw_view3d(people: People, size: tuple[int, int] = (480, 640), *, min_score: float = 0.0) -> Image:
    """A panel of (width, height) pixels with every person's 3D pose, from left to right as in the picture.

    Keypoints of score 0 or below `min_score`, without 3D coordinates or implausibly far out are left out.
    Many people stand in several rows. Where there is nothing to draw the panel says so.
    Returns (height, width, 3) uint8 BGR.
    """
    finer = 2 if size[0] * size[1] < _FINE_PANEL else 1
    width, height = (max(1, side) * finer for side in size)
    canvas: Image = np.empty((height, width, 3), np.uint8)
    canvas[:] = _BACKGROUND[::-1]
    figures = _figures(people, min_score)
    rows = _rows(figures, width, height)
    scale = _scale(rows, width, height)
    step = _grid_step(scale, height)
    for band, row in zip(np.array_split(canvas, len(rows)), rows, strict=True):
        _draw_row(band, people, row, scale, step)
    if not figures:
        words = "no 3D poses" if len(people) and people.keypoints3d is None else "nobody here"
        text(canvas, words, (width / 2, 0.45 * height), _WORDS, 0.02 * height)
    text(canvas, f"grid {100 * step:g} cm", (width - 0.1 * height, 0.97 * height), _WORDS, 0.013 * height)
    _draw_axes(canvas)
    return np.asarray(
        cv2.resize(canvas, (width // finer, height // finer), interpolation=cv2.INTER_AREA), np.uint8
    )


def side_by_side(image: Image, panel: Image) -> Image:
    """The picture and to its right the panel, scaled to the picture's height. Both (H, W, 3) uint8 BGR."""
    height = image.shape[0]
    if panel.shape[0] != height:
        width = max(1, round(panel.shape[1] * height / panel.shape[0]))
        panel = np.asarray(cv2.resize(panel, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.concatenate([image, panel], axis=1)


def _figures(people: People, min_score: float) -> list[_Figure]:
    """The people who have a 3D pose, ordered by where they are in the picture."""
    if people.keypoints3d is None:
        return []
    order = np.argsort(np.nan_to_num(people.boxes[:, [0, 2]]).mean(axis=1), kind="stable")
    figures = [_figure(people, int(i), min_score) for i in order]
    return [figure for figure in figures if figure.seen.any()]


def _figure(people: People, person: int, min_score: float) -> _Figure:
    assert people.keypoints3d is not None
    points = people.keypoints3d[person].astype(np.float64)
    scores = people.scores[person]
    with np.errstate(invalid="ignore"):
        seen = (scores > 0) & (scores >= min_score) & (np.abs(points) <= _REACH).all(axis=1)
    points[~without_doubles(people.skeleton, seen)] = np.nan
    points[:, 1] -= _floor(people, points, seen)
    return _Figure(_turn(points), person)


def _floor(people: People, points: Doubles, seen: NDArray[np.bool_]) -> float:
    """How far below the person's centre the floor is, in metres."""
    if not seen.any():
        return 0.0
    lowest = float(np.nanmax(points[:, 1]))
    joints = people.skeleton.joints
    if any(seen[k] and ("toe" in name or "heel" in name) for k, name in enumerate(joints)):
        return lowest + 0.01
    if any(seen[k] and "ankle" in name for k, name in enumerate(joints)):
        return lowest + 0.05
    body = "body" in people.skeleton.parts and seen[people.skeleton.parts["body"]].any()
    return max(lowest, _CENTRE_HEIGHT) if body else lowest + 0.02


def _turn(points: Doubles) -> Doubles:
    """Turn about the vertical: (..., 3) right, down, away."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack(
        [x * np.cos(_TURN) + z * np.sin(_TURN), y, z * np.cos(_TURN) - x * np.sin(_TURN)], axis=-1
    )


def _project(points: Doubles, origin: Point, scale: float) -> Doubles:
    """View coordinates (..., 3) in metres to pixels (..., 2), seen from above; 0 0 0 falls on `origin`."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([x, y * np.cos(_TILT) - z * np.sin(_TILT)], axis=-1) * scale + origin


def _rows(figures: list[_Figure], width: int, height: int) -> list[list[_Figure]]:
    """As many rows as let the people be largest; one empty row for nobody."""

    def split(count: int) -> list[list[_Figure]]:
        return [[figures[k] for k in part] for part in np.array_split(np.arange(len(figures)), count)]

    layouts = [split(count) for count in range(1, max(1, len(figures)) + 1)]
    return max(layouts, key=lambda rows: _scale(rows, width, height))


def _scale(rows: list[list[_Figure]], width: int, height: int) -> float:
    """Pixels a metre, so that the widest and the tallest row fit."""
    widest = max((_span(row) for row in rows), default=0.0) or 2.0
    tallest = max((_height(figure) for row in rows for figure in row), default=1.75)
    return min(0.94 * width / widest, 0.80 * height / len(rows) / tallest)


def _span(row: list[_Figure]) -> float:
    return sum(_width(figure) for figure in row)


def _width(figure: _Figure) -> float:
    return float(np.ptp(figure.points[figure.seen, 0])) + min(_GAP, 1.5 * _height(figure))


def _height(figure: _Figure) -> float:
    return max(0.1, -float(figure.points[figure.seen, 1].min()))


def _draw_row(band: Image, people: People, row: list[_Figure], scale: float, step: float) -> None:
    height, width = band.shape[:2]
    tallest = max((_height(figure) for figure in row), default=0.0)
    floor = min(0.90, 0.55 + tallest * scale / height / 2) * height if row else 0.8 * height
    left = (width - _span(row) * scale) / 2
    _draw_grid(band, (width / 2, floor), scale, step, max(1.0, _span(row) / 2 + 0.2))
    for figure in row:
        seen_x = figure.points[figure.seen, 0]
        middle = left + _width(figure) * scale / 2
        origin = (middle - float(seen_x.min() + seen_x.max()) / 2 * scale, floor)
        _draw_figure(band, people, figure, origin, scale)
        left += _width(figure) * scale


def _grid_step(scale: float, height: int) -> float:
    return next((step for step in _GRID_STEPS if step * scale >= 0.055 * height), _GRID_STEPS[-1])


def _draw_grid(band: Image, origin: Point, scale: float, step: float, reach: float) -> None:
    """Floor lines along the camera's x and z, that fade out towards the ends of an ellipse."""
    radius = np.array([reach, _FLOOR_DEPTH])
    count = int(np.hypot(*radius) / step) + 1
    along, across = np.meshgrid(np.arange(-count, count) * step, np.arange(-count, count + 1) * step)
    along, across, level = along.ravel(), across.ravel(), np.zeros(along.size)
    x_lines = np.stack([[along, level, across], [along + step, level, across]]).transpose(2, 0, 1)
    ends = _turn(np.concatenate([x_lines, x_lines[..., ::-1]]).astype(np.float64))  # (lines, 2, 3)
    fade = np.hypot(*(ends.mean(axis=1)[:, [0, 2]] / radius).T)
    for (start, end), share in zip(_project(ends, origin, scale)[fade < 1], fade[fade < 1], strict=True):
        line(band, (start[0], start[1]), (end[0], end[1]), mix(_GRID, _BACKGROUND, float(share)), 1.2)


def _draw_figure(band: Image, people: People, figure: _Figure, origin: Point, scale: float) -> None:
    places: list[Point] = [tuple(p) for p in _project(figure.points, origin, scale)]
    shade: list[Point] = [tuple(p) for p in _project(figure.points * (1, 0, 1), origin, scale)]
    depth = figure.points[:, 2]
    parts = drawn_parts(people.skeleton)
    for name, joints in parts.items():
        if "face" not in name:
            for a, b, _ in limbs_of(people, figure.seen, joints):
                line(band, shade[a], shade[b], _SHADOW, _thickness(name) * 1.6 * scale)
    strokes = [
        (depth[a] + depth[b], a, b, color, name)
        for name, joints in parts.items()
        for a, b, color in limbs_of(people, figure.seen, joints)
    ]
    for away, a, b, color, name in sorted(strokes, key=lambda stroke: -stroke[0]):
        width = _thickness(name) * scale
        faint = float(np.clip(0.2 + 0.35 * away, 0, 0.55)) + max(0.0, 0.35 * (1 - width / _FINEST))
        if "hand" not in name and "face" not in name:
            line(band, places[a], places[b], _BACKGROUND, max(_FINEST, width) * 1.5)
        line(band, places[a], places[b], mix(color, _BACKGROUND, min(faint, 0.7)), max(_FINEST, width))


def _thickness(part: str) -> float:
    """Of a line, in metres."""
    for name, thickness in _THICKNESS.items():
        if name in part:
            return thickness
    return 0.026


def _draw_axes(canvas: Image) -> None:
    """The camera's axes as this view turns them, in the lower left corner."""
    unit = 0.04 * canvas.shape[0]
    origin = (1.2 * unit, canvas.shape[0] - 1.6 * unit)
    for (name, color), axis in zip(_AXES, np.eye(3), strict=True):
        tip = _project(_turn(axis), origin, unit)
        line(canvas, origin, tuple(tip), color, 0.06 * unit)
        text(canvas, name, tuple(origin + (tip - origin) * 1.35), color, 0.28 * unit)
