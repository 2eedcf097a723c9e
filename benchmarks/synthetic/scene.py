"""Whole pictures of synthetic people with exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.background import sample_background
from wholebody.benchmarks.synthetic.body import Person, person_mesh, sample_person
from wholebody.benchmarks.synthetic.lens import develop
from wholebody.benchmarks.synthetic.raster import Camera, Drawing, Light, composite, draw, hidden
from wholebody.benchmarks.synthetic.shapes import (
    Floats,
    Mesh,
    box,
    capsules,
    ellipsoid,
    rotate_x,
    rotate_y,
    rotate_z,
    unit,
)
from wholebody.benchmarks.synthetic.wholebody import (
    WHOLEBODY_ORDER,
    extra_joints,
    extra_normals,
    extra_slack,
)

_NOBODY = -1
_NEAREST = 0.28  # metres from the camera to anybody's nearest keypoint
# How far a person's own surface may lie before a joint and not hide it, in body lengths.
_BODY_SLACK = np.array([0.04, 0.04, 0.05, 0.05, 0.1, 0.1, 0.03, 0.03, 0.04, 0.04, 0.06, 0.06, 0.06])
# Framing: share of the person's height that is shown, where its middle is, and how many people there may be.
_FRAMINGS = {
    "portrait": (0.32, 0.88, 2),
    "upper": (0.6, 0.75, 3),
    "full": (1.2, 0.5, 4),
    "group": (2.0, 0.5, 6),
}
_FRAMING_ODDS = (0.22, 0.28, 0.3, 0.2)


@dataclass(frozen=True, eq=False)
class SyntheticPerson:
    """The truth about one person, in the orders of `DOPE` and `WHOLEBODY133` in `runtime.skeletons`.

    keypoints, keypoints133      (139, 2), (133, 2) float32 pixels, also outside the picture; (0, 0) is the
                                 centre of the top-left pixel
    keypoints3d, keypoints3d133  (139, 3), (133, 3) float32 metres in the camera's frame: x right, y down,
                                 z away, camera at the origin
    visible, visible133          (139,), (133,) bool: inside the picture and not hidden by anything nearer;
                                 the surface around a joint does not hide it
    """

    keypoints: NDArray[np.float32]
    keypoints3d: NDArray[np.float32]
    visible: NDArray[np.bool_]
    keypoints133: NDArray[np.float32]
    keypoints3d133: NDArray[np.float32]
    visible133: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (H, W, 3) uint8 BGR, its people, the pinhole (fx, fy, cx, cy) in pixels, and its seed."""

    image: NDArray[np.uint8]
    people: tuple[SyntheticPerson, ...]
    camera: tuple[float, float, float, float]
    seed: int


@dataclass(frozen=True, eq=False)
class _Placed:
    """A person in the camera's frame; `extra` are the joints that COCO-WholeBody adds to DOPE's."""

    person: Person
    keypoints: Floats
    extra: Floats
    face_normals: Floats
    mesh: Mesh


def render_scene(seed: int, size: tuple[int, int] = (384, 384)) -> Scene:
    """One to six people before a procedural background; the same seed and size give the same bytes.

    size is (height, width) in pixels. Raises ValueError where a side is shorter than 32 pixels.
    """
    if min(size) < 32:
        raise ValueError(f"render_scene: size is {size}; both sides must be at least 32 pixels")
    rng = np.random.Generator(np.random.PCG64(seed))
    framing = str(rng.choice(list(_FRAMINGS), p=_FRAMING_ODDS))
    main = sample_person(rng, close=framing in ("portrait", "upper"))
    heading = _sample_heading(rng)
    camera, distance = _sample_camera(rng, main, heading, framing, size)
    spots = _sample_spots(rng, _FRAMINGS[framing][2], distance, camera, size)
    placed = [_place(main, np.zeros(3), heading, camera)]
    for spot in spots[1:]:
        other = _place(sample_person(rng, close=False), spot, _sample_heading(rng), camera)
        if other.keypoints[:, 2].min() > _NEAREST:
            placed.append(other)
    objects = _sample_objects(rng, distance, camera, size)
    owners = [*range(len(placed)), *[_NOBODY] * len(objects)]
    drawing = draw([p.mesh for p in placed] + objects, owners, camera, _sample_light(rng), size)
    horizon = camera.cy + camera.fy * np.tan(np.arcsin(np.clip(camera.rotation[1, 2], -0.9, 0.9)))
    image = develop(rng, composite(drawing, sample_background(rng, size, float(horizon))))
    truths = [_truth(p, k, drawing, camera, size) for k, p in enumerate(placed)]
    people = [t for k, t in enumerate(truths) if k == 0 or t.visible.sum() >= 4]
    return Scene(image, tuple(people), (camera.fx, camera.fy, camera.cx, camera.cy), seed)


def _sample_camera(
    rng: np.random.Generator, main: Person, heading: Floats, framing: str, size: tuple[int, int]
) -> tuple[Camera, float]:
    """A camera that frames the first person, who stands at the origin of the world; and its distance."""
    height, width = size
    share, middle, _ = _FRAMINGS[framing]
    focal = float(max(size) * rng.uniform(0.85, 1.9))
    tall = -main.keypoints[:, 1].min()
    target = np.array([0.0, -middle * tall, 0.0])
    if framing in ("portrait", "upper"):
        target = main.pose.head.copy()
        target[1] += {"portrait": 0.08, "upper": 0.25}[framing] * main.body.height
    extent = share * main.body.height * rng.uniform(0.75, 1.4)
    distance = max(focal * extent / min(height, width * 1.3), 0.45 + 0.25 * (framing != "portrait"))
    pitch = float(np.clip(rng.normal(0.08, 0.16), -0.35, 0.6))
    roll = float(np.clip(rng.normal(0, 0.05), -0.15, 0.15))
    position = target + distance * np.array([0, -np.sin(pitch), -np.cos(pitch)])
    rotation = rotate_z(roll) @ rotate_x(pitch)
    shift = rng.uniform(-0.22, 0.22, 2) * [width, 0.5 * height] * distance / focal
    position = position - rotation.T @ [*shift, 0]
    nearest = ((_turn(main, main.keypoints, heading) - position) @ rotation[2]).min()
    position = position - rotation[2] * max(_NEAREST - nearest, 0)
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, rotation, position), float(distance)


def _turn(person: Person, points: Floats, heading: Floats) -> Floats:
    """Turn a person's points about the vertical axis through the head."""
    axis = person.pose.head * [1, 0, 1]
    turned: Floats = (points - axis) @ heading.T + axis
    return turned


def _sample_spots(
    rng: np.random.Generator, most: int, distance: float, camera: Camera, size: tuple[int, int]
) -> list[Floats]:
    """Where people stand on the floor: the first at the origin, the others apart from each other."""
    spots = [np.zeros(3)]
    for _ in range(rng.integers(0, 2 * most)):
        deep = rng.uniform(-0.25, 2.2) * min(distance, 4.0) + (0.4 if distance < 1.5 else 0.0)
        wide = 0.45 * size[1] / camera.fx * (distance + deep)
        spot = np.array([camera.position[0] + rng.uniform(-wide, wide), 0.0, deep])
        away = np.linalg.norm(spot - camera.position * [1, 0, 1])
        if len(spots) < most and min(np.linalg.norm(spot - s) for s in spots) > 0.6 and away > 0.9:
            spots.append(spot)
    return spots


def _sample_heading(rng: np.random.Generator) -> Floats:
    """Mostly within 70 degrees of facing the camera, at times any way round."""
    turn = rng.uniform(-1.2, 1.2) if rng.random() < 0.84 else rng.uniform(-np.pi, np.pi)
    return rotate_y(float(turn))


def _place(person: Person, spot: Floats, heading: Floats, camera: Camera) -> _Placed:
    """Turn by the heading, stand on the spot, see from the camera."""

    def view(points: Floats) -> Floats:
        return camera.view(_turn(person, points, heading) + spot)

    keypoints = view(person.keypoints)
    pixels = camera.fx / max(float(np.median(keypoints[:, 2])), 0.3)
    mesh = person_mesh(person, pixels)
    normals = person.face_normals @ (camera.rotation @ heading).T
    placed = Mesh(view(mesh.quads), mesh.colors, mesh.lift)
    return _Placed(person, keypoints, view(extra_joints(person)), normals, placed)


def _sample_light(rng: np.random.Generator) -> Light:
    direction = unit(np.array([rng.normal(0, 0.7), rng.uniform(-1.2, 0.1), rng.uniform(-1.2, -0.2)]))
    ambient = rng.uniform(0.25, 0.7) * (1 + rng.normal(0, 0.04, 3))
    diffuse = (rng.uniform(0.95, 1.3) - ambient.mean()) * (1 + rng.normal(0, 0.05, 3))
    return Light(direction, ambient, diffuse)


def _sample_objects(
    rng: np.random.Generator, distance: float, camera: Camera, size: tuple[int, int]
) -> list[Mesh]:
    """Balls, poles and boxes before, between and behind the people."""
    meshes = []
    for _ in range(rng.choice(5, p=[0.3, 0.3, 0.2, 0.12, 0.08])):
        deep = distance * (rng.uniform(0.45, 0.9) if rng.random() < 0.4 else rng.uniform(1.1, 2.5))
        x, y = (rng.uniform(-0.55, 0.55, 2) * size[::-1]) / camera.fx * deep
        scale = deep * rng.uniform(0.015, 0.12) * min(size) / camera.fx
        center, turn = np.array([x, y, deep]), rotate_y(rng.uniform(0, 3)) @ rotate_z(rng.normal(0, 0.4))
        color = rng.uniform(10, 245, 3)
        kind = rng.integers(3)
        if kind == 0:
            quads = ellipsoid(center, np.eye(3) * scale, 10, 16)
        elif kind == 1:
            reach = turn @ np.array([0.0, scale * rng.uniform(3, 25), 0])
            quads = capsules((center - reach)[None], (center + reach)[None], np.array([scale * 0.3]),
                             np.array([scale * 0.3]), 10, 12, 1)  # fmt: skip
        else:
            quads = box(center, turn * rng.uniform(0.5, 1.5, (3, 1)) * scale)
        meshes.append(Mesh.of(quads, color))
    return meshes


def _truth(
    placed: _Placed, owner: int, drawing: Drawing, camera: Camera, size: tuple[int, int]
) -> SyntheticPerson:
    points = np.concatenate([placed.keypoints, placed.extra])
    pixels = camera.project(points)
    inside = ((pixels > -0.5) & (pixels < np.array(size[::-1]) - 0.5)).all(axis=1)
    body = placed.person.body
    slack = np.concatenate([
        _BODY_SLACK * body.body, np.full(84, 0.11 * body.head), np.full(42, 0.13 * body.hand),
        extra_slack(body),
    ])  # fmt: skip
    visible = inside & ~hidden(drawing, camera, points, owner, slack)
    normals = np.concatenate([
        np.zeros((13, 3)), placed.face_normals, np.zeros((42, 3)), extra_normals(placed.face_normals),
    ])  # fmt: skip
    visible &= (normals * unit(points)).sum(axis=1) < 0.1
    place, space, order = pixels.astype(np.float32), points.astype(np.float32), WHOLEBODY_ORDER
    return SyntheticPerson(
        place[:139], space[:139], visible[:139], place[order], space[order], visible[order]
    )
