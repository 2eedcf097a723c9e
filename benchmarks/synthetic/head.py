"""Head meshes: skull, hair and ears, and features drawn from the very landmarks of the truth."""

from __future__ import annotations

import numpy as np

from wholebody.benchmarks.synthetic.face import (
    BRIDGE,
    INNER_LIP,
    LEFT_EYE,
    NOSTRILS,
    OUTER_LIP,
    RIGHT_EYE,
    head_surface,
    lower_jaw,
    profile,
)
from wholebody.benchmarks.synthetic.looks import FaceLook
from wholebody.benchmarks.synthetic.shapes import Floats, Mesh, ellipsoid, face_towards, loft, quads_of_rings


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
    half, front, back, middle = (np.interp(y, *profile(k))[:, None] for k in (1, 2, 3, 4))
    cos = np.cos(angle)  # 1 in front, -1 behind
    z = middle + np.where(cos > 0, (front - middle) * cos, (middle - back) * cos)
    x = half * np.sin(angle)
    height = np.broadcast_to(lower_jaw(y, look)[:, None], x.shape)
    rings = np.stack([x * look.width, height, z], axis=-1)
    bottom = np.broadcast_to(rings[-1:].mean(axis=1, keepdims=True), rings[-1:].shape)
    quads = quads_of_rings(np.concatenate([rings, bottom])[::-1]).reshape(-1, 4, 3)
    center = quads.mean(axis=1)
    line = look.hairline + 0.35 * np.clip(center[:, 2] + 0.3, 0, 1) * 1.6 + 0.1 * np.abs(center[:, 0])
    hairy = center[:, 1] < np.minimum(line, 0.32)
    colors = np.broadcast_to(np.array(look.skin), center.shape)
    if look.beard:
        jaw = (center[:, 1] > 0.24) & (center[:, 2] < 0.05)
        colors = np.where(jaw[:, None], 0.75 * np.array(look.hair) + 0.25 * np.array(look.skin), colors)
    skin = Mesh.of(quads, colors)
    return Mesh.join([skin, Mesh.of(quads[hairy] * 1.055, look.hair)])


def _ears(look: FaceLook, detail: int) -> Mesh:
    rows, sides = (4, 6) if detail < 2 else (6, 10)
    ears = [ellipsoid(*ear_shape(look, side), rows, sides).reshape(-1, 4, 3) for side in (-1, 1)]
    return Mesh.of(np.concatenate(ears), np.array(look.skin) * 0.93)


def ear_shape(look: FaceLook, side: int) -> tuple[Floats, Floats]:
    """Centre (3,) and half axes (3, 3) of an ear (-1 right, 1 left): to the left, down, to the back."""
    axes = np.array([[0.03, 0, 0], [0, 0.085, 0.02], [0, 0, 0.05]])
    return np.array([side * 0.345 * look.width, 0.03, 0.04]), axes


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
        teeth = _strip(inner[1:4], inner[1:4] + np.array([0, 0.022, 0]))
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
    return ring.take([[0, 1, 7, 7], [1, 2, 6, 7], [2, 3, 5, 6], [3, 4, 5, 5]], axis=0)


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
        up = np.array([0, 0.011, 0])
        holes.append(np.stack([center - u, center - up, center + u, center + up]))
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
    center = eye.mean(axis=0) + np.array([0.022 * look.gaze[0], 0.01 * look.gaze[1] - 0.002, 0])
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
    return ring.take([[0, 1, 2, 3], [0, 3, 4, 7], [4, 5, 6, 7]], axis=0)


def _glasses(points: Floats) -> Floats:
    """Two frames and the bridge between them."""
    angle = np.linspace(0, 2 * np.pi, 13)
    quads = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        center = points[eye].mean(axis=0) + np.array([0, 0.005, -0.02])
        circle = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(13)])
        quads.append(_strip(center + 0.105 * circle * [1, 0.75, 1], center + 0.09 * circle * [1, 0.72, 1]))
    left = points[RIGHT_EYE].mean(axis=0) + np.array([0.095, 0, -0.03])
    right = points[LEFT_EYE].mean(axis=0) - np.array([0.095, 0, 0.03])
    bar = np.array([0, 0.008, 0])
    return np.concatenate([*quads, np.stack([left - bar, right - bar, right + bar, left + bar])[None]])
