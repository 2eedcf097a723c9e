"""Heads: a shaded surface, the 84 landmarks on it, and features drawn from those very landmarks.

The head frame has its origin between the eyes' height and the head's middle: x to the person's left, y down, the face
looks along -z. All tables are in head lengths (chin to top).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wholebody.benchmarks.synthetic.shapes import (
    Floats,
    Mesh,
    ellipsoid,
    face_towards,
    loft,
    quads_of_rings,
    unit,
)

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
    (-0.125, 0.325), (-0.08, 0.302), (-0.033, 0.29), (0.0, 0.297), (0.033, 0.29), (0.08, 0.302), (0.125, 0.325),
    (0.085, 0.355), (0.04, 0.373), (0.0, 0.377), (-0.04, 0.373), (-0.085, 0.355),
]  # fmt: skip
_INNER_LIP = [
    (-0.1, 0.325), (-0.04, 0.32), (0.0, 0.322), (0.04, 0.32), (0.1, 0.325), (0.04, 0.33), (0.0, 0.332), (-0.04, 0.33),
]  # fmt: skip
_NOSE_LIFT = np.array([0.015, 0.05, 0.085, 0.12, 0.0, 0.045, 0.06, 0.045, 0.0])

CONTOUR, BROWS, BRIDGE, NOSTRILS = slice(0, 33), slice(33, 43), slice(43, 47), slice(47, 52)
RIGHT_EYE, LEFT_EYE, OUTER_LIP, INNER_LIP = slice(52, 58), slice(58, 64), slice(64, 76), slice(76, 84)


@dataclass(frozen=True)
class FaceLook:
    """Shape, expression and colours of one head; expressions run from 0 to 1 (smile and brow from -1)."""

    width: float
    mouth_open: float
    smile: float
    blink: float
    brow: float
    gaze: tuple[float, float]
    eye_size: float
    mouth_width: float
    nose: float
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lips: tuple[float, float, float]
    hairline: float
    hair_length: float
    beard: bool
    glasses: bool


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
    flat[31:] = _drop_jaw(flat[31:], look)
    points = np.concatenate([_contour(look), np.column_stack([flat, z])])
    normals = unit(np.column_stack([points[:, 0] * 2.2, np.zeros(84), np.full(84, -0.4)]))
    normals[CONTOUR] = unit(np.column_stack([points[:33, 0] * 2.5, np.zeros(33), np.full(33, -0.55)]))
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


def _drop_jaw(lips: Floats, look: FaceLook) -> Floats:
    """Lips 64 to 83 opened: corners drop a little, the lower lip follows the jaw."""
    lips = lips.copy()
    drop = np.zeros(20)
    drop[[0, 6, 12, 16]] = 0.3
    drop[[7, 11]] = 0.75
    drop[[8, 9, 10]] = 1.0
    drop[[17, 18, 19]] = 1.0
    lips[:, 1] += 0.1 * look.mouth_open * drop
    return lips


def _jaw(y: Floats, look: FaceLook) -> Floats:
    """Heights after the jaw has opened."""
    t = np.clip((y - 0.3) / 0.1, 0, 1)
    lowered: Floats = y + 0.1 * look.mouth_open * t * t * (3 - 2 * t)
    return lowered


def _contour(look: FaceLook) -> Floats:
    """33 points evenly along the widest line of the lower head, right ear to chin to left ear."""
    y = np.concatenate([np.linspace(_EAR_HEIGHT, 0.5, 60)])
    side = np.column_stack([-np.interp(y, *_column(1)), _jaw(y, look), np.interp(y, *_column(4))])
    chin = np.array([[0.0, _jaw(np.array([0.503]), look)[0], -0.335]])
    line = np.concatenate([side, chin, side[::-1] * [-1, 1, 1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 33)
    return np.column_stack([np.interp(at, length, line[:, k]) for k in range(3)])


def _column(k: int) -> tuple[Floats, Floats]:
    return _RINGS[:, 0], _RINGS[:, k]


def head_mesh(look: FaceLook, points: Floats, detail: int) -> Mesh:
    """Skull, hair, ears and, where detail > 0, the features; in head lengths, in the head frame."""
    meshes = [_skull(look, detail), _ears(look, detail)]
    if look.hair_length > 0.1:
        meshes.append(_long_hair(look, detail))
    meshes += _features(look, points, detail)
    return Mesh.join(meshes)


def _skull(look: FaceLook, detail: int) -> Mesh:
    rows, sides = ((11, 14), (15, 18), (24, 30), (34, 44))[detail]
    y = -0.5 * np.cos(np.linspace(0, np.pi, rows + 1) * 0.97)
    y[0], y[-1] = -0.5, 0.5
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    half, front, back, middle = (np.interp(y, *_column(k))[:, None] for k in (1, 2, 3, 4))
    cos = np.cos(angle)  # 1 in front, -1 behind
    z = middle + np.where(cos > 0, (front - middle) * cos, (middle - back) * cos)
    x = half * np.sin(angle)
    height = np.broadcast_to(_jaw(y, look)[:, None], x.shape)
    rings = np.stack([x * look.width, height, z], axis=-1)
    bottom = np.broadcast_to(rings[-1:].mean(axis=1, keepdims=True), rings[-1:].shape)
    quads = quads_of_rings(np.concatenate([rings, bottom])[::-1]).reshape(-1, 4, 3)
    center = quads.mean(axis=1)
    line = look.hairline + 0.35 * np.clip(center[:, 2] + 0.3, 0, 1) * 1.6 + 0.1 * np.abs(center[:, 0])
    hairy = (center[:, 1] < np.minimum(line, 0.32)) & (np.abs(center[:, 0]) + center[:, 2] * 0.4 < 9)
    colors = np.where(hairy[:, None], np.array(look.hair), np.array(look.skin))
    jaw = (center[:, 1] > 0.24) & (center[:, 2] < 0.05)
    if look.beard:
        colors = np.where(
            (jaw & ~hairy)[:, None], 0.75 * np.array(look.hair) + 0.25 * np.array(look.skin), colors
        )
    thick = np.where(hairy[:, None, None], 1.06, 1.0)
    return Mesh.of(quads * thick, colors)


def _ears(look: FaceLook, detail: int) -> Mesh:
    rows, sides = (4, 6) if detail < 2 else (6, 10)
    axes = np.array([[0.03, 0, 0], [0, 0.085, 0.02], [0, 0, 0.05]])
    ears = [
        ellipsoid(np.array([s * 0.345 * look.width, 0.03, 0.04]), axes, rows, sides).reshape(-1, 4, 3)
        for s in (-1, 1)
    ]
    return Mesh.of(np.concatenate(ears), np.array(look.skin) * 0.93)


def _long_hair(look: FaceLook, detail: int) -> Mesh:
    """A curtain behind the neck."""
    rows, sides = (4, 8) if detail < 2 else (8, 14)
    t = np.linspace(0, 1, rows + 1)[:, None]
    centers = np.array([0, -0.2, 0.2]) + t * np.array([0, 0.4 + look.hair_length, 0.06])
    width = np.interp(t, [0, 0.2, 0.8, 1], [0.2, 0.37, 0.36, 0.2])
    u, v = width * np.array([look.width, 0, 0]), width * np.array([0, 0, 0.62])
    return Mesh.of(loft(centers, u, v, sides), np.array(look.hair) * 0.95)


def _features(look: FaceLook, points: Floats, detail: int) -> list[Mesh]:
    """Nose, brows, eyes, mouth from the landmarks; each lies a little above the one before in sorting."""
    skin, forward = np.array(look.skin), np.array([0.0, 0.0, -1.0])
    parts: list[tuple[Floats, Floats]] = [(_nose(points), skin * 1.02)]
    if detail > 0:
        parts.append((_nostril_holes(points), skin * 0.45))
    parts += [
        (_brow(points[33:38]), np.array(look.hair) * 0.7),
        (_brow(points[38:43]), np.array(look.hair) * 0.7),
    ]
    for eye in (RIGHT_EYE, LEFT_EYE):
        parts += _eye(points[eye], look)
    outer, inner = points[OUTER_LIP], points[INNER_LIP]
    lips = _strip(outer[[*range(12), 0]], inner[[0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 0]])
    parts += [(lips, np.array(look.lips)), (_fill(inner), np.array([30.0, 25, 60]))]
    if look.mouth_open > 0.2:
        teeth = _strip(inner[1:4], inner[1:4] + [0, 0.022, 0])
        parts.append((teeth, np.array([225.0, 235, 240])))
    if look.glasses:
        parts.append((_glasses(points), np.array([25.0, 25, 30])))
    return [
        Mesh.of(face_towards(quads, forward) if n else quads, color, 0.02 + 0.0008 * n)
        for n, (quads, color) in enumerate(parts)
    ]


def _strip(a: Floats, b: Floats) -> Floats:
    """Quads between two polylines of the same length."""
    return np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=1)


def _fill(ring: Floats) -> Floats:
    """Quads that fill eight points (left corner, upper, right corner, lower)."""
    return ring[np.array([[0, 1, 7, 7], [1, 2, 6, 7], [2, 3, 5, 6], [3, 4, 5, 5]])]


def _nose(points: Floats) -> Floats:
    bridge, wing = points[BRIDGE], points[NOSTRILS]
    half = np.array([0.03, 0.036, 0.05])
    quads = []
    for side, corner in ((-1.0, wing[0]), (1.0, wing[4])):
        x = bridge[:3, 0] + side * half
        foot = np.column_stack([x, bridge[:3, 1], head_surface(bridge[:3, 1], x) - 0.004])
        strip = _strip(bridge, np.concatenate([foot, corner[None]]))
        quads.append(face_towards(strip, np.array([side * 0.7, 0, -0.5])))
    below = np.stack([np.stack([bridge[3], wing[i], wing[i + 1], wing[i + 1]]) for i in range(4)])
    return np.concatenate([*quads, face_towards(below, np.array([0, 0.6, -0.5]))])


def _nostril_holes(points: Floats) -> Floats:
    wing = points[NOSTRILS]
    holes = []
    for a, b in ((0, 1), (3, 4)):
        center, u = (wing[a] + wing[b]) / 2, (wing[b] - wing[a]) * 0.36
        holes.append(np.stack([center - u, center - [0, 0.012, 0], center + u, center + [0, 0.01, 0]]))
    return np.stack(holes)


def _brow(line: Floats) -> Floats:
    thick = np.array([0.008, 0.014, 0.017, 0.017, 0.015])
    if line[0, 0] > 0 or line[-1, 0] > 0.1:
        thick = thick[::-1]
    up = np.zeros((5, 3))
    up[:, 1] = thick
    return _strip(line - up, line + up)


def _eye(eye: Floats, look: FaceLook) -> list[tuple[Floats, Floats]]:
    """White, iris and pupil clipped to the lids, and the upper lid line."""
    order = np.argsort(eye[[0, 1, 2, 3], 0])
    top, bottom = eye[[0, 1, 2, 3]][order], eye[[0, 5, 4, 3]][order]
    white = np.stack([eye[[0, 1, 2, 3]], eye[[3, 4, 5, 0]]])
    parts = [(white, np.array([225.0, 230, 232]))]
    center = eye.mean(axis=0) + [0.022 * look.gaze[0], 0.01 * look.gaze[1] - 0.002, 0]
    for radius, color in ((0.031, look.iris), (0.015, (15.0, 12, 12))):
        parts.append((_disc(center, radius, top, bottom), np.array(color)))
    lid = np.zeros((4, 3))
    lid[:, 1] = [0.003, 0.009, 0.009, 0.003]
    parts.append((_strip(top - lid, top), np.array(look.hair) * 0.4))
    return parts


def _disc(center: Floats, radius: float, top: Floats, bottom: Floats) -> Floats:
    angle = np.arange(8) * (np.pi / 4)
    x = center[0] + radius * np.cos(angle)
    y = center[1] + radius * np.sin(angle)
    y = np.clip(y, np.interp(x, top[:, 0], top[:, 1]), np.interp(x, bottom[:, 0], bottom[:, 1]))
    ring = np.column_stack([x, y, np.full(8, center[2])])
    return ring[np.array([[0, 1, 2, 3], [0, 3, 4, 7], [4, 5, 6, 7]])]


def _glasses(points: Floats) -> Floats:
    """Two frames and the bridge between them."""
    angle = np.linspace(0, 2 * np.pi, 13)
    quads = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        center = points[eye].mean(axis=0) + [0, 0.005, -0.02]
        circle = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(13)])
        quads.append(_strip(center + 0.105 * circle * [1, 0.75, 1], center + 0.09 * circle * [1, 0.72, 1]))
    left, right = (
        points[RIGHT_EYE].mean(axis=0) + [0.095, 0, -0.03],
        points[LEFT_EYE].mean(axis=0) - [0.095, 0, 0.03],
    )
    bar = np.array([0, 0.008, 0])
    return np.concatenate([*quads, np.stack([left - bar, right - bar, right + bar, left + bar])[None]])
