"""Perspective drawing of quads: painter's algorithm on an index picture of twice the size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.shapes import Floats, Mesh, quad_normals, unit

_SAMPLES = 2
_SUBPIXEL = 4  # bits
_NEAR = 0.12  # metres


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole: focal lengths and centre in pixels; `rotation` turns world points about `position`."""

    fx: float
    fy: float
    cx: float
    cy: float
    rotation: Floats
    position: Floats

    def view(self, points: Floats) -> Floats:
        """World points (..., 3) in the camera's frame: x right, y down, z away."""
        seen: Floats = (points - self.position) @ self.rotation.T
        return seen

    def project(self, points: Floats) -> Floats:
        """Camera points (..., 3) to pixels (..., 2)."""
        focal, center = np.array([self.fx, self.fy]), np.array([self.cx, self.cy])
        pixels: Floats = points[..., :2] / points[..., 2:] * focal + center
        return pixels


@dataclass(frozen=True, eq=False)
class Light:
    """Unit direction towards the light in the camera's frame, ambient and diffuse BGR strengths."""

    direction: Floats
    ambient: Floats
    diffuse: Floats


@dataclass(frozen=True, eq=False)
class Drawing:
    """Index picture of the frontmost quad (0: none, else 1 + its place), and the facts of each quad."""

    index: NDArray[np.int32]
    normals: Floats
    corners: Floats
    owners: NDArray[np.int64]
    colors: NDArray[np.uint32]


def draw(
    meshes: list[Mesh], owners: list[int], camera: Camera, light: Light, size: tuple[int, int]
) -> Drawing:
    """Draw meshes in camera coordinates; `owners` names each mesh's person."""
    mesh, owner = Mesh.join(meshes), np.repeat(owners, [len(m.quads) for m in meshes])
    quads, normals = mesh.quads, quad_normals(mesh.quads)
    centers = (quads[:, 0] + quads[:, 1] + quads[:, 2] + quads[:, 3]) / 4
    order = np.flatnonzero(np.einsum("ij,ij->i", normals, centers) < 0)
    order = order[_in_view(quads[order], camera, size)]
    order = order[np.argsort(mesh.lift[order] - centers[order, 2], kind="stable")]
    normals = unit(normals[order] * 1e6)  # facets are as small as a square millimetre
    shades = _shade(mesh.colors[order], normals, light)
    index = _paint(camera.project(quads[order]), size)
    return Drawing(index, normals, centers[order], owner[order], shades)


def _in_view(quads: Floats, camera: Camera, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which quads (F, 4, 3) lie before the camera and may touch the picture."""
    depth = quads[..., 2].T
    before = np.minimum(np.minimum(depth[0], depth[1]), np.minimum(depth[2], depth[3])) > _NEAR
    x, y = camera.project(np.where(before[:, None, None], quads, 1.0)).transpose(2, 1, 0)
    touching = (
        (x > -1).any(axis=0) & (y > -1).any(axis=0) & (x < size[1]).any(axis=0) & (y < size[0]).any(axis=0)
    )
    inside: NDArray[np.bool_] = before & touching
    return inside


def _paint(pixels: Floats, size: tuple[int, int]) -> NDArray[np.int32]:
    """Fill the quads, far to near, with their places."""
    index = np.zeros((size[0] * _SAMPLES, size[1] * _SAMPLES), np.int32)
    fine = (pixels * _SAMPLES + (_SAMPLES - 1) / 2) * (1 << _SUBPIXEL)
    corners = np.rint(np.clip(fine, -(2**20), 2**20)).astype(np.int32)
    for place, polygon in enumerate(corners, start=1):
        cv2.fillConvexPoly(index, polygon, place, cv2.LINE_8, _SUBPIXEL)
    return index


def _shade(colors: Floats, normals: Floats, light: Light) -> NDArray[np.uint32]:
    """Lit colours packed as BGRA; place 0 is transparent."""
    facing = np.clip(normals @ light.direction, -1, 1)
    wrapped = np.clip(0.75 * facing + 0.25, 0, 1)[:, None]
    lit = np.clip(colors * (light.ambient + light.diffuse * wrapped), 0, 255).astype(np.uint8)
    packed = np.full((len(colors) + 1, 4), 255, np.uint8)
    packed[0] = 0
    packed[1:, :3] = lit
    return packed.view(np.uint32)[:, 0]


def composite(drawing: Drawing, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The drawing over a background of its size, edges smoothed over the samples of a pixel."""
    picture = background.copy()
    rows, columns = np.flatnonzero(drawing.index.any(axis=1)), np.flatnonzero(drawing.index.any(axis=0))
    if not len(rows):
        return picture
    y0, y1 = rows[0] // _SAMPLES, rows[-1] // _SAMPLES + 1
    x0, x1 = columns[0] // _SAMPLES, columns[-1] // _SAMPLES + 1
    part = drawing.index[y0 * _SAMPLES : y1 * _SAMPLES, x0 * _SAMPLES : x1 * _SAMPLES]
    fine = drawing.colors.take(part).view(np.uint8).reshape(*part.shape, 4)
    mixed = cv2.resize(fine, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_AREA)
    alpha = cv2.cvtColor(255 - mixed[..., 3], cv2.COLOR_GRAY2BGR)
    below = cv2.multiply(picture[y0:y1, x0:x1], alpha, scale=1 / 255)
    picture[y0:y1, x0:x1] = cv2.add(below, np.ascontiguousarray(mixed[..., :3]))
    return picture


def hidden(drawing: Drawing, camera: Camera, points: Floats, owner: int, own: Floats) -> NDArray[np.bool_]:
    """Which camera points (K, 3) are behind something; the owner's surface hides beyond `own` (K,) metres.

    Points outside the picture are not judged and count as not hidden.
    """
    answer = np.zeros(len(points), np.bool_)
    pixels = camera.project(points) * _SAMPLES + (_SAMPLES - 1) / 2
    height, width = drawing.index.shape
    x, y = (np.rint(np.clip(pixels[:, k], -9, 1e6)).astype(int) for k in (0, 1))
    inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < width) & (y < height) & (points[:, 2] > _NEAR))
    place = drawing.index[y[inside], x[inside]] - 1
    inside, place = inside[place >= 0], place[place >= 0]
    depth = _depth(drawing, place, points[inside])
    slack = np.where(drawing.owners[place] == owner, own[inside], 0.01)
    answer[inside] = depth < points[inside, 2] - slack
    return answer


def _depth(drawing: Drawing, place: NDArray[np.int32], points: Floats) -> Floats:
    """Depth of the quads' planes along the rays to the points; a grazing quad answers with its centre's."""
    normal, center = drawing.normals[place], drawing.corners[place]
    ray = points / points[:, 2:]
    slope = (normal * ray).sum(axis=1)
    plane = (normal * center).sum(axis=1) / np.where(np.abs(slope) < 0.05, np.inf, slope)
    depth: Floats = np.where(np.abs(slope) < 0.05, center[:, 2], plane)
    return depth
