"""Meshes of quads: rotations, lofts over rings, tapered capsules, ellipsoids and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Mesh:
    """F quads: corners (F, 4, 3) metres, colours (F, 3) BGR 0..255, lift (F,) metres nearer when sorted."""

    quads: Floats
    colors: Floats
    lift: Floats

    @classmethod
    def of(cls, quads: Floats, colors: Floats | tuple[float, float, float], lift: float = 0.0) -> Mesh:
        """Quads of any leading shape, with one colour for all or one each."""
        quads = quads.reshape(-1, 4, 3)
        painted = np.broadcast_to(np.asarray(colors, float).reshape(-1, 3), (len(quads), 3))
        return cls(quads, painted, np.full(len(quads), lift))

    @classmethod
    def join(cls, meshes: list[Mesh]) -> Mesh:
        """All quads of all meshes, in order."""
        return cls(
            np.concatenate([m.quads for m in meshes]),
            np.concatenate([m.colors for m in meshes]),
            np.concatenate([m.lift for m in meshes]),
        )


def rotate_x(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotate_y(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotate_z(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def unit(v: Floats) -> Floats:
    scaled: Floats = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
    return scaled


def quads_of_rings(rings: Floats) -> Floats:
    """(..., K, n, 3) rings to (..., K - 1, n, 4, 3) quads; outward if rings turn right-handed."""
    following = np.roll(rings, -1, axis=-2)
    corners = (
        rings[..., :-1, :, :],
        following[..., :-1, :, :],
        following[..., 1:, :, :],
        rings[..., 1:, :, :],
    )
    return np.stack(corners, axis=-2)


def loft(centers: Floats, u: Floats, v: Floats, sides: int, power: float = 1.0) -> Floats:
    """Quads (K - 1, sides, 4, 3) over K elliptic rings of half axes u, v (K, 3); power < 1 squares them."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    cos, sin = _squared(np.cos(angle), power), _squared(np.sin(angle), power)
    rings = centers[:, None] + cos[:, None] * u[:, None] + sin[:, None] * v[:, None]
    middle = len(centers) // 2
    axis = centers[-1] - centers[0]
    outward = np.dot(np.cross(u[middle], v[middle]), axis) > 0
    return quads_of_rings(rings if outward else rings[::-1])


def _squared(x: Floats, power: float) -> Floats:
    squared: Floats = np.sign(x) * np.abs(x) ** power
    return squared


def perpendicular(axis: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors (T, 3) that make a right-handed frame with each unit axis (T, 3)."""
    helper = np.where(np.abs(axis[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 0, 1.0]])
    u = unit(np.cross(helper, axis))
    return u, np.cross(axis, u)


def capsules(start: Floats, end: Floats, r0: Floats, r1: Floats, sides: int, rows: int, caps: int) -> Floats:
    """Tapered capsules from start to end (T, 3) with radii (T,): quads (T, rows + 2 caps, sides, 4, 3)."""
    length = np.linalg.norm(end - start, axis=1)
    axis = unit(end - start)
    u, v = perpendicular(axis)
    bend = np.linspace(0, np.pi / 2, caps + 1)[:-1]
    t = np.concatenate([np.zeros(caps), np.linspace(0, 1, rows + 1), np.ones(caps)])
    bulge = np.concatenate([-np.cos(bend), np.zeros(rows + 1), np.sin(np.pi / 2 - bend[::-1])])
    width = np.concatenate([np.sin(bend), np.ones(rows + 1), np.cos(np.pi / 2 - bend[::-1])])
    radius = r0[:, None] * (1 - t) + r1[:, None] * t  # (T, K)
    along = length[:, None] * t + radius * bulge
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.cos(angle)[:, None] * u[:, None] + np.sin(angle)[:, None] * v[:, None]  # (T, n, 3)
    centers = start[:, None] + along[..., None] * axis[:, None]  # (T, K, 3)
    rings = centers[:, :, None] + (radius * width)[:, :, None, None] * ring[:, None]
    return quads_of_rings(rings)


def ellipsoid(center: Floats, axes: Floats, rows: int, sides: int) -> Floats:
    """Quads of an ellipsoid; axes (3, 3) holds the half axes as rows, the second one from pole to pole."""
    polar = np.linspace(0, np.pi, rows + 1)
    centers = center + np.cos(polar)[:, None] * -axes[1]
    ring = np.sin(polar)[:, None]
    return loft(centers, ring * axes[0], ring * axes[2], sides)


_BOX_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def box(center: Floats, axes: Floats) -> Floats:
    """Six outward quads of a box whose half axes are the rows of axes (3, 3)."""
    signs = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)]) * 2.0 - 1
    quads = (center + signs @ axes)[_BOX_FACES]
    return face_towards(quads, quads.mean(axis=1) - center)


def quad_normals(quads: Floats) -> Floats:
    """Normals (F, 3) of quads (F, 4, 3), of any length; spelt out, for `np.cross` takes twice the time."""
    (ax, ay, az), (bx, by, bz) = (quads[:, 2] - quads[:, 0]).T, (quads[:, 3] - quads[:, 1]).T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def face_towards(quads: Floats, direction: Floats) -> Floats:
    """The same quads, wound so that their normals point along the direction: (3,) or one each (F, 3)."""
    away = (quad_normals(quads) * direction).sum(axis=1) < 0
    return np.where(away[:, None, None], quads[:, ::-1], quads)
