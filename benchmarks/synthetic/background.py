"""Procedural backgrounds: gradients, noise, rooms, landscapes and clutter."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def sample_background(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Picture:
    """A picture (H, W, 3) with its horizon at the given row, where it has one."""
    picture = _sample_place(rng, size, horizon)
    if rng.random() < 0.8:
        strength = float(rng.uniform(2, 14))
        picture = _as_picture(
            cv2.add(picture.astype(np.int16), _octaves(rng, size, strength), dtype=cv2.CV_8U)
        )
    if rng.random() < 0.35:
        picture = _as_picture(cv2.blur(picture, (int(rng.integers(2, 10)),) * 2))
    return picture


def _as_picture(array: object) -> Picture:
    return np.ascontiguousarray(array, np.uint8)


def _sample_place(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Picture:
    kind = rng.choice(5, p=[0.1, 0.12, 0.36, 0.27, 0.15])
    if kind == 0:
        return _gradient(size, _tone(rng), _tone(rng))
    if kind == 1:
        return _noise(rng, size, _tone(rng), 45.0)
    if kind == 2:
        return _room(rng, size, horizon)
    if kind == 3:
        return _outdoors(rng, size, horizon)
    return _clutter(rng, size)


def _tone(rng: np.random.Generator) -> tuple[float, float, float]:
    grey, tint = rng.uniform(20, 235), rng.normal(0, 25, 3)
    b, g, r = np.clip(grey + tint, 0, 255)
    return float(b), float(g), float(r)


def _gradient(size: tuple[int, int], top: tuple[float, ...], bottom: tuple[float, ...]) -> Picture:
    t = np.linspace(0, 1, size[0])[:, None, None]
    column = np.asarray(top) * (1 - t) + np.asarray(bottom) * t
    return np.ascontiguousarray(np.broadcast_to(column, (*size, 3)).astype(np.uint8))


def _octaves(rng: np.random.Generator, size: tuple[int, int], strength: float) -> NDArray[np.int16]:
    """Smooth coloured noise of two scales, signed."""
    total = np.zeros((*size, 3), np.int16)
    for cells in (int(rng.integers(2, 8)), int(rng.integers(16, 90))):
        grid = (rng.standard_normal((cells, cells, 3)) * strength).clip(-120, 120).astype(np.int16)
        if rng.random() < 0.6:
            grid[...] = grid[..., :1]
        total += np.asarray(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_LINEAR), np.int16)
    return total


def _noise(
    rng: np.random.Generator, size: tuple[int, int], tone: tuple[float, ...], strength: float
) -> Picture:
    flat = np.full((*size, 3), np.asarray(tone).astype(np.int16), np.int16)
    return _as_picture(cv2.add(flat, _octaves(rng, size, strength), dtype=cv2.CV_8U))


def _room(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Picture:
    """A wall with things on it, a floor with boards or tiles, a skirting board."""
    height, width = size
    wall = _tone(rng)
    picture = _gradient(size, wall, tuple(0.8 * c for c in wall))
    edge = int(np.clip(horizon + rng.uniform(0.05, 0.3) * height, -50, height + 50))
    if rng.random() < 0.3:
        _stripes(rng, picture, _tone(rng))
    for _ in range(rng.integers(0, 6)):
        _framed(rng, picture, edge)
    if edge < height:
        floor = _gradient((height - max(edge, 0), width), _tone(rng), _tone(rng))
        picture[max(edge, 0) :] = floor
        vanish = (width * rng.uniform(0.2, 0.8), horizon)
        line = _tone(rng)
        for x in np.linspace(-2 * width, 3 * width, int(rng.integers(6, 40))):
            at = vanish[0] + (x - vanish[0]) * np.clip((edge - horizon) / max(height - horizon, 1), 0, 1)
            cv2.line(picture, (int(at), edge), (int(x), height), line, 1, cv2.LINE_AA)
        cv2.line(picture, (0, edge), (width, edge), _tone(rng), int(rng.integers(1, 6)))
    return picture


def _stripes(rng: np.random.Generator, picture: Picture, color: tuple[float, float, float]) -> None:
    step = int(rng.integers(8, 60))
    for x in range(0, picture.shape[1], step):
        cv2.line(picture, (x, 0), (x, picture.shape[0]), color, max(1, step // int(rng.integers(2, 9))))


def _framed(rng: np.random.Generator, picture: Picture, below: int) -> None:
    """A window, picture, door or cupboard: a rectangle with a frame."""
    height, width = picture.shape[:2]
    x, y = int(rng.uniform(-0.1, 1) * width), int(rng.uniform(-0.1, 0.8) * max(below, 40))
    w, h = (int(v) for v in rng.uniform(0.06, 0.4, 2) * (width, height))
    cv2.rectangle(picture, (x, y), (x + w, y + h), _tone(rng), -1)
    cv2.rectangle(picture, (x, y), (x + w, y + h), _tone(rng), int(rng.integers(1, 6)))
    for k in range(1, int(rng.integers(1, 6))):
        cv2.line(picture, (x, y + k * h // 5), (x + w, y + k * h // 5), _tone(rng), int(rng.integers(1, 4)))


def _outdoors(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Picture:
    """Sky, houses or trees, and the ground."""
    height, width = size
    sky = np.array([235.0, 200, 160]) * rng.uniform(0.4, 1.05)
    picture = _gradient(size, tuple(sky), tuple(np.clip(sky * 0.6 + 100, 0, 255)))
    edge = int(np.clip(horizon, -20, height + 20))
    for _ in range(rng.integers(2, 14)):
        x, w = int(rng.uniform(-0.1, 1) * width), int(rng.uniform(0.04, 0.25) * width)
        top = edge - int(rng.uniform(0.05, 0.6) * height)
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, top), (x + w, edge), _tone(rng), -1)
            for k in range(top + 6, edge - 6, 14):
                cv2.line(picture, (x + 3, k), (x + w - 3, k), _tone(rng), 3)
        else:
            leaf = (float(rng.uniform(10, 60)), float(rng.uniform(60, 150)), float(rng.uniform(20, 90)))
            cv2.rectangle(picture, (x + w // 2 - 3, top), (x + w // 2 + 3, edge), (30.0, 50.0, 70.0), -1)
            for dx, dy in rng.uniform(-0.6, 0.6, (6, 2)):
                cv2.circle(picture, (int(x + w / 2 + dx * w), int(top + dy * w)), max(2, w // 2), leaf, -1)
    if edge < height:
        picture[max(edge, 0) :] = _gradient((height - max(edge, 0), width), _tone(rng), _tone(rng))
    return picture


def _clutter(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """Random polygons, lines and discs."""
    picture = _gradient(size, _tone(rng), _tone(rng))
    extent = np.array(size[::-1])
    for _ in range(rng.integers(8, 45)):
        center, radius = rng.uniform(0, 1, 2) * extent, rng.uniform(0.02, 0.35) * extent.max()
        points = (center + rng.normal(0, radius, (int(rng.integers(3, 6)), 2)) * 0.6).astype(np.int32)
        shape = rng.random()
        if shape < 0.6:
            cv2.fillPoly(picture, [points], _tone(rng))
        elif shape < 0.8:
            a, b = points[:2].tolist()
            cv2.line(picture, a, b, _tone(rng), int(rng.integers(1, 20)), cv2.LINE_AA)
        else:
            cv2.circle(picture, points[0].tolist(), int(radius / 2), _tone(rng), -1)
    return picture
