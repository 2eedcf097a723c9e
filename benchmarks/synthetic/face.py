"""Faces: the shape of a head and the 84 landmarks on it.

The head frame has its origin in the middle of the head: x to the person's left, y down, the face looks along
-z. All tables are in head lengths (chin to top).
"""

from __future__ import annotations

import numpy as np

from wholebody.benchmarks.synthetic.looks import FaceLook
from wholebody.benchmarks.synthetic.shapes import Floats, unit

# Height, half width, front, back and the depth of the widest place.
_RINGS = np.array([
    (-0.50, 0.02, 0.00, 0.05, 0.03), (-0.485, 0.10, -0.09, 0.14, 0.02), (-0.45, 0.18, -0.19, 0.24, 0.02),
    (-0.38, 0.26, -0.29, 0.34, 0.01), (-0.26, 0.315, -0.36, 0.41, 0.0), (-0.12, 0.335, -0.39, 0.43, 0.0),
    (0.0, 0.335, -0.385, 0.42, 0.0), (0.1, 0.325, -0.395, 0.37, 0.0), (0.2, 0.305, -0.4, 0.28, -0.02),
    (0.28, 0.28, -0.405, 0.16, -0.06), (0.36, 0.24, -0.405, 0.03, -0.12), (0.43, 0.185, -0.40, -0.09, -0.19),
    (0.475, 0.12, -0.385, -0.18, -0.26), (0.50, 0.05, -0.35, -0.26, -0.3),
])  # fmt: skip
_EAR_HEIGHT = -0.05

_RIGHT_BROW = [(-0.265, -0.10), (-0.225, -0.135), (-0.17, -0.147), (-0.115, -0.137), (-0.065, -0.115)]
_BRIDGE = [(0.0, -0.035), (0.0, 0.03), (0.0, 0.095), (0.0, 0.16)]
_NOSTRILS = [(-0.075, 0.195), (-0.037, 0.212), (0.0, 0.22), (0.037, 0.212), (0.075, 0.195)]
_RIGHT_EYE = [
    (-0.215, -0.022),
    (-0.18, -0.05),
    (-0.133, -0.05),
    (-0.093, -0.01),
    (-0.135, 0.008),
    (-0.18, 0.008),
]
_OUTER_LIP = [
    (-0.125, 0.325), (-0.08, 0.302), (-0.033, 0.29), (0.0, 0.297), (0.033, 0.29), (0.08, 0.302),
    (0.125, 0.325),
    (0.085, 0.355), (0.04, 0.373), (0.0, 0.377), (-0.04, 0.373), (-0.085, 0.355),
]  # fmt: skip
_INNER_LIP = [
    (-0.1, 0.325), (-0.04, 0.32), (0.0, 0.322), (0.04, 0.32), (0.1, 0.325),
    (0.04, 0.33), (0.0, 0.332), (-0.04, 0.33),
]  # fmt: skip
_NOSE_LIFT = np.array([0.015, 0.05, 0.085, 0.12, 0.0, 0.045, 0.06, 0.045, 0.0])

CONTOUR, BROWS, BRIDGE, NOSTRILS = slice(0, 33), slice(33, 43), slice(43, 47), slice(47, 52)
RIGHT_EYE, LEFT_EYE, OUTER_LIP, INNER_LIP = slice(52, 58), slice(58, 64), slice(64, 76), slice(76, 84)


def head_surface(y: Floats, x: Floats) -> Floats:
    """Depth of the face's surface at frontal coordinates."""
    half, front, middle = (np.interp(y, _RINGS[:, 0], _RINGS[:, k]) for k in (1, 2, 4))
    depth: Floats = middle + (front - middle) * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    return depth


def landmarks(look: FaceLook) -> tuple[Floats, Floats]:
    """The 84 landmarks (84, 3) in head lengths and their outward unit normals (84, 3)."""
    flat = np.array(
        [
            *_RIGHT_BROW,
            *_mirrored(_RIGHT_BROW)[::-1],
            *_BRIDGE,
            *_NOSTRILS,
            *_eyes(),
            *_OUTER_LIP,
            *_INNER_LIP,
        ]
    )
    flat = _express(flat, look)
    z = head_surface(flat[:, 1], flat[:, 0])
    z[10:19] -= _NOSE_LIFT * look.nose
    flat[31:] = _droplower_jaw(flat[31:], look)
    points = np.concatenate([_contour(look), np.column_stack([flat, z])])
    normals = unit(np.column_stack([points[:, 0] * 2.2, np.zeros(84), np.full(84, -0.4)]))
    normals[CONTOUR] = unit(np.column_stack([points[:33, 0] * 2.2, np.zeros(33), np.full(33, -0.75)]))
    return points * [look.width, 1, 1], normals


def _mirrored(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-x, y) for x, y in points]


def _eyes() -> list[tuple[float, float]]:
    left = _mirrored(_RIGHT_EYE)
    return [*_RIGHT_EYE, *(left[i] for i in (3, 2, 1, 0, 5, 4))]


def _express(flat: Floats, look: FaceLook) -> Floats:
    """Brow, lid and lip corner movements on the frontal coordinates of landmarks 33 to 83."""
    flat = flat.copy()
    flat[:10, 1] -= 0.03 * look.brow
    for first, center in ((19, -0.155), (25, 0.155)):
        eye = flat[first : first + 6]
        eye[:] = (eye - [center, -0.02]) * [1, look.eye_size] + [center, -0.02]
        closed = look.blink * 0.92
        eye[[1, 2], 1] += closed * (eye[[5, 4], 1] - eye[[1, 2], 1])
    mouth = flat[31:]
    mouth[:, 0] *= look.mouth_width * (1 + 0.15 * look.smile)
    mouth[:, 1] -= 0.03 * look.smile * np.abs(mouth[:, 0] / 0.125) ** 1.5
    return flat


def _droplower_jaw(lips: Floats, look: FaceLook) -> Floats:
    """Lips 64 to 83 opened: corners drop a little, the lower lip follows the jaw."""
    lips = lips.copy()
    drop = np.zeros(20)
    drop[[0, 6, 12, 16]] = 0.3
    drop[[7, 11]] = 0.75
    drop[[8, 9, 10]] = 1.0
    drop[[17, 18, 19]] = 1.0
    lips[:, 1] += 0.1 * look.mouth_open * drop
    return lips


def lower_jaw(y: Floats, look: FaceLook) -> Floats:
    """Heights after the jaw has opened."""
    t = np.clip((y - 0.3) / 0.1, 0, 1)
    lowered: Floats = y + 0.1 * look.mouth_open * t * t * (3 - 2 * t)
    return lowered


def _contour(look: FaceLook) -> Floats:
    """33 points evenly along the widest line of the lower head, right ear to chin to left ear."""
    y = np.concatenate([np.linspace(_EAR_HEIGHT, 0.5, 60)])
    side = np.column_stack([-np.interp(y, *profile(1)), lower_jaw(y, look), np.interp(y, *profile(4))])
    chin = np.array([[0.0, lower_jaw(np.array([0.503]), look)[0], -0.335]])
    line = np.concatenate([side, chin, side[::-1] * [-1, 1, 1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 33)
    return np.column_stack([np.interp(at, length, line[:, k]) for k in range(3)])


def profile(k: int) -> tuple[Floats, Floats]:
    """Heights and, for k = 1..4, half width, front, back or depth of the widest place, for `np.interp`."""
    return _RINGS[:, 0], _RINGS[:, k]
