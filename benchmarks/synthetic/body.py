"""A dressed person: keypoints and mesh in the person's own frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wholebody.benchmarks.synthetic.anatomy import Proportions, sample_proportions
from wholebody.benchmarks.synthetic.face import landmarks
from wholebody.benchmarks.synthetic.hand import hand_joints, hand_mesh
from wholebody.benchmarks.synthetic.head import head_mesh
from wholebody.benchmarks.synthetic.looks import Clothes, FaceLook, sample_clothes, sample_look
from wholebody.benchmarks.synthetic.pose import Pose, sample_pose
from wholebody.benchmarks.synthetic.shapes import Floats, Mesh, box, capsules, ellipsoid, loft, unit


@dataclass(frozen=True, eq=False)
class Person:
    """Proportions, pose and looks; `face_normals` (84, 3) belong to the landmarks, in the person's frame."""

    body: Proportions
    pose: Pose
    look: FaceLook
    clothes: Clothes
    keypoints: Floats
    face_points: Floats
    face_normals: Floats


def sample_person(rng: np.random.Generator, *, close: bool) -> Person:
    """Somebody with a pose; `close` favours hands in view."""
    body = sample_proportions(rng)
    pose = sample_pose(rng, body, close=close)
    look = sample_look(rng)
    points, normals = landmarks(look)
    return Person(
        body,
        pose,
        look,
        sample_clothes(rng),
        _keypoints(body, pose, points),
        points,
        normals @ pose.head_frame.T,
    )


def _keypoints(body: Proportions, pose: Pose, face: Floats) -> Floats:
    """All 139 keypoints (139, 3) in DOPE's order."""
    joints = np.zeros((139, 3))
    for side in (0, 1):
        joints[[4 + side, 2 + side, 0 + side]] = pose.legs[side].joints
        joints[[10 + side, 8 + side, 6 + side]] = pose.arms[side].joints
    joints[12] = pose.head + pose.head_frame @ [0, -0.5 * body.head, 0.02 * body.head]
    joints[13:97] = pose.head + face * body.head @ pose.head_frame.T
    for side, start in ((1, 97), (0, 118)):
        local = hand_joints(pose.hands[side], body.hand, left=side == 1)
        joints[start : start + 21] = pose.arms[side].joints[2] + local @ pose.hand_frames[side].T
    return joints


def person_mesh(person: Person, pixels: float) -> Mesh:
    """All quads; `pixels` is how many pixels a metre of this person takes, and sets the detail."""
    body_detail = int(np.digitize(pixels, [60, 160, 420]))
    fine = int(np.digitize(pixels, [130, 330, 800]))
    meshes = [_torso(person, body_detail), _limbs(person, body_detail), _feet(person, body_detail)]
    if person.clothes.skirt > 0:
        meshes.append(_skirt(person, body_detail))
    if person.pose.stance == "sit":
        meshes.append(_stool(person))
    head = head_mesh(person.look, person.face_points, fine)
    size, pose = person.body.head, person.pose
    placed = pose.head + size * head.quads @ pose.head_frame.T
    meshes.append(Mesh(placed, head.colors, head.lift * size * 1.2))
    for side, start in ((1, 97), (0, 118)):
        joints = person.keypoints[start : start + 21]
        skin = np.array(person.look.skin)
        meshes.append(hand_mesh(joints, person.body.hand, -pose.hand_frames[side][:, 2], skin, fine))
    return Mesh.join(meshes)


def _torso(person: Person, detail: int) -> Mesh:
    """From crotch to neck: shirt above the hips, trousers or skirt below."""
    body, pose, clothes = person.body, person.pose, person.clothes
    rows, sides = ((9, 12), (12, 16), (22, 26), (30, 36))[detail]
    b, g = body.body, body.girth
    stations = np.array([-0.06, -0.03, 0.0, 0.04, 0.11, 0.17, 0.24, 0.285, 0.315, 0.33, 0.345])
    top = (body.lower_spine + body.upper_spine) / b
    stations[6:] += top - 0.33
    wide = np.array([0.05, 0.095, 0.106, 0.107, 0.095, 0.1, 0.112, 0.112, 0.09, 0.06, 0.042])
    deep = np.array([0.045, 0.07, 0.078, 0.076, 0.066, 0.068, 0.072, 0.066, 0.055, 0.045, 0.04])
    wide[2:4] *= (body.hip / (0.06 * b)) ** 0.5
    wide[6:9] *= (body.shoulder / (0.125 * b)) ** 0.7
    at = np.linspace(stations[0], stations[-1], rows + 1)
    lower = np.array([body.lower_spine / b])
    share = np.clip((at - lower * 0.6) / (lower * 0.8), 0, 1)[:, None]
    below = pose.pelvis - (at[:, None] * b) * pose.pelvis_frame[:, 1]
    above = pose.waist - ((at[:, None] - lower) * b) * pose.chest_frame[:, 1]
    centers = (1 - share) * below + share * above
    x, z = ((1 - share) * pose.pelvis_frame[:, k] + share * pose.chest_frame[:, k] for k in (0, 2))
    belly = 1 + (g - 1) * np.interp(at, [0.0, 0.1, top], [1, 1.3, 0.4])
    u = (np.interp(at, stations, wide) * b * belly)[:, None] * unit(x)
    v = (np.interp(at, stations, deep) * b * belly)[:, None] * unit(z)
    quads = loft(centers, u, v, sides, 0.88)
    shirt = _pattern(clothes, rows, sides, body.body * 0.4 / rows)
    height = (at[:-1] + at[1:]) / 2
    bottom = np.broadcast_to(np.array(clothes.bottom), (rows, sides, 3))
    colors = np.where((height < 0.015)[:, None, None], bottom, shirt)
    colors = np.where((height > top + 0.004)[:, None, None], np.array(person.look.skin), colors)
    neck = capsules(
        pose.neck[None], (pose.head + pose.head_frame @ [0, 0.3 * body.head, 0.06 * body.head])[None],
        np.array([0.042 * b]), np.array([0.25 * body.head]), sides, 4, 1,
    )  # fmt: skip
    return Mesh.join(
        [Mesh.of(quads, colors.reshape(-1, 3)), Mesh.of(neck, np.array(person.look.skin) * 0.92)]
    )


def _pattern(clothes: Clothes, rows: int, sides: int, step: float) -> Floats:
    """Shirt colours (rows, sides, 3)."""
    row, column = np.mgrid[:rows, :sides]
    band = (row * step * clothes.stripes * 1.5).astype(int) % 2
    post = (column * clothes.stripes / sides).astype(int) % 2
    mask = {"plain": 0 * band, "stripes": band, "checks": band ^ post, "columns": post}[clothes.pattern]
    painted: Floats = np.where(mask[..., None] > 0, np.array(clothes.shirt_second), np.array(clothes.shirt))
    return painted


def _limbs(person: Person, detail: int) -> Mesh:
    """Arms, legs and collar bones as tapered capsules, coloured by sleeve and trouser length."""
    body, pose, clothes = person.body, person.pose, person.clothes
    sides, rows, caps = ((6, 3, 1), (8, 5, 2), (12, 10, 3), (16, 14, 4))[detail]
    b = body.body * body.girth**0.6
    limbs = [*pose.arms, *pose.legs]
    collar = [pose.neck + 0.035 * body.body * pose.chest_frame[:, 1]] * 2
    start = np.concatenate([*(limb.joints[:2] for limb in limbs), collar])
    end = np.concatenate([*(limb.joints[1:] for limb in limbs), [arm.joints[0] for arm in pose.arms]])
    arm, leg = [(0.036, 0.028), (0.028, 0.0185)], [(0.058, 0.037), (0.037, 0.025)]
    radii = np.array([*arm, *arm, *leg, *leg, (0.04, 0.039), (0.04, 0.039)]) * b
    lengths = np.array([clothes.sleeve] * 4 + [clothes.trouser] * 4)
    covered = np.append(np.clip(lengths * 2 - np.tile([0.0, 1.0], 4), 0, 1), [1.0, 1.0])
    radii[:4] *= np.where(covered[:4, None] > 0.5, 1.14, 1.0)
    radii[4:8] *= np.where(covered[4:8, None] > 0.5, 1.12, 1.0)
    quads = capsules(start, end, radii[:, 0], radii[:, 1], sides, rows, caps)
    t = np.clip((np.arange(quads.shape[1]) - caps + 0.5) / rows, 0, 1)
    dressed = (t[None] <= covered[:, None]) & (covered[:, None] > 0)  # (10, K)
    cloth = np.array([clothes.shirt] * 4 + [clothes.bottom] * 4 + [clothes.shirt] * 2)
    colors = np.where(dressed[..., None], cloth[:, None], np.array(person.look.skin))
    if clothes.pattern == "stripes":
        band = (
            (np.arange(len(t)) % 2 == 1)[None, :, None]
            & dressed[..., None]
            & (np.arange(10) < 4)[:, None, None]
        )
        colors = np.where(band, np.array(clothes.shirt_second), colors)
    return Mesh.of(quads, np.broadcast_to(colors[:, :, None], (*quads.shape[:3], 3)).reshape(-1, 3))


def _feet(person: Person, detail: int) -> Mesh:
    rows, sides = ((4, 6), (5, 8), (8, 12), (10, 14))[detail]
    meshes = []
    for side in (0, 1):
        center, axes = foot_shape(person, side)
        meshes.append(Mesh.of(ellipsoid(center, axes, rows, sides), person.clothes.shoes))
    return Mesh.join(meshes)


def foot_shape(person: Person, side: int) -> tuple[Floats, Floats]:
    """Centre (3,) and half axes (3, 3) of a foot (0 right, 1 left): to the left, to the toes, to the sole."""
    ankle, frame, foot = person.pose.legs[side].joints[2], person.pose.feet[side], person.body.foot
    heel = ankle + frame @ [0, person.body.ankle * 0.45, 0.22 * foot]
    toe = ankle + frame @ [0, person.body.ankle * 0.7, -0.72 * foot]
    axes = np.stack([frame[:, 0] * 0.2 * foot, (toe - heel) / 2, frame[:, 1] * 0.2 * foot])
    return (heel + toe) / 2, axes


def _skirt(person: Person, detail: int) -> Mesh:
    """A cone around both thighs."""
    rows, sides = ((4, 10), (5, 12), (8, 20), (10, 28))[detail]
    (right, left), length = person.pose.legs, person.clothes.skirt
    t = np.linspace(0, length, rows + 1)[:, None]
    r, k = right.joints, left.joints
    hips, knees = (r[0] + k[0]) / 2, (r[1] + k[1]) / 2
    centers = hips + t * (knees - hips) - 0.03 * person.pose.pelvis_frame[:, 1]
    across = k[0] - r[0] + t * (k[1] - r[1] - k[0] + r[0])
    spread = np.linalg.norm(across, axis=1, keepdims=True)
    thick = person.body.body * (0.075 + 0.03 * t)
    x = unit(across)
    z = unit(np.asarray(np.cross(x, knees - hips), float))
    return Mesh.of(loft(centers, (spread / 2 + thick) * x, thick * z, sides), person.clothes.bottom)


def _stool(person: Person) -> Mesh:
    """What a sitting person sits on."""
    seat = person.pose.pelvis[1] + 0.075 * person.body.body
    center = np.array([0.0, seat / 2, 0.08])
    axes = np.diag([0.2, -seat / 2, 0.2]) * 0.98
    return Mesh.of(box(center, axes), np.array(person.clothes.shoes) * 0.6 + 40, -0.15)
