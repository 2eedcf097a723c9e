"""Hands: joints by forward kinematics within joint limits, and their mesh.

The hand frame is that of the anatomical position: y from wrist to fingers, the palm looks along -z, and the
right thumb lies towards -x. A left hand is the mirror image of a right one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.shapes import (
    MIRROR,
    Floats,
    Mesh,
    capsules,
    face_towards,
    loft,
    rotate_x,
    rotate_y,
    rotate_z,
    unit,
)

# All lengths in hand lengths (wrist to middle finger tip).
_KNUCKLES = np.array([[-0.155, 0.47, 0], [-0.05, 0.495, 0], [0.05, 0.47, 0], [0.14, 0.42, 0]])
_BONES = np.array([[0.235, 0.14, 0.115], [0.265, 0.16, 0.12], [0.245, 0.15, 0.12], [0.19, 0.11, 0.105]])
_RADII = np.array([0.05, 0.051, 0.048, 0.042])
_THUMB_BASE = np.array([-0.14, 0.13, -0.03])
_THUMB_BONES = np.array([0.245, 0.19, 0.15])

# Flexion limits in radians: knuckle, middle joint, end joint.
FLEXION_LIMITS = np.array([[-0.25, 1.6], [0.0, 1.9], [0.0, 1.3]])
_STRAIGHT, _CURLED, _RELAXED = (0.05, 0.08, 0.05), (1.4, 1.7, 1.0), (0.45, 0.55, 0.35)
# Per gesture: thumb (opposition, flexion 1, flexion 2), then three flexions for each finger.
_GESTURES = {
    "open": ((0.2, 0.05, 0.05), _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    "relaxed": ((0.5, 0.2, 0.25), _RELAXED, _RELAXED, _RELAXED, _RELAXED),
    "fist": ((1.1, 0.7, 0.8), _CURLED, _CURLED, _CURLED, _CURLED),
    "point": ((1.0, 0.6, 0.7), _STRAIGHT, _CURLED, _CURLED, _CURLED),
    "pinch": ((1.0, 0.3, 0.5), (0.8, 0.85, 0.5), _RELAXED, _RELAXED, _RELAXED),
    "victory": ((1.1, 0.6, 0.7), _STRAIGHT, _STRAIGHT, _CURLED, _CURLED),
    "thumb": ((0.0, 0.0, 0.0), _CURLED, _CURLED, _CURLED, _CURLED),
    "grip": ((0.9, 0.3, 0.3), (0.8, 0.9, 0.5), (0.8, 0.9, 0.5), (0.8, 0.9, 0.5), (0.8, 0.9, 0.5)),
}


@dataclass(frozen=True, eq=False)
class HandPose:
    """Angles in radians: thumb (opposition, flexion, flexion); fingers (4, 3) flexions; splay 0 to 1."""

    thumb: Floats
    flexion: Floats
    splay: float


def sample_hand(rng: np.random.Generator, gestures: tuple[str, ...] = tuple(_GESTURES)) -> HandPose:
    """A random hand near one of the named gestures, inside the joint limits."""
    thumb, *fingers = (np.array(row) for row in _GESTURES[gestures[rng.integers(len(gestures))]])
    flexion = np.array(fingers) + rng.normal(0, 0.12, (4, 3)) + rng.normal(0, 0.1)
    flexion = np.clip(flexion, FLEXION_LIMITS[:, 0], FLEXION_LIMITS[:, 1])
    thumb = np.clip(thumb + rng.normal(0, 0.12, 3), 0, [1.3, 1.0, 1.2])
    return HandPose(thumb, flexion, float(rng.uniform(0.2, 1.0)))


def hand_joints(pose: HandPose, length: float, *, left: bool) -> Floats:
    """The 21 joints (21, 3) in the hand frame, metres, in DOPE's order."""
    joints = np.zeros((21, 3))
    joints[1], joints[6:9] = _THUMB_BASE, _thumb(pose.thumb)
    joints[2:6] = _KNUCKLES
    for n in range(4):
        joints[9 + 3 * n : 12 + 3 * n] = _finger(n, pose)
    joints *= length
    return joints @ MIRROR if left else joints


def _finger(n: int, pose: HandPose) -> Floats:
    """Middle joint, end joint and tip of finger n (0 is the index): bent about x, splayed about z."""
    spread = (0.16, 0.03, -0.09, -0.22)[n] * pose.splay * np.cos(np.clip(pose.flexion[n, 0], 0, 1.5))
    bend = -np.cumsum(pose.flexion[n])
    local = np.stack([np.zeros(3), np.cos(bend), np.sin(bend)], axis=1) * _BONES[n][:, None]
    chain: Floats = _KNUCKLES[n] + np.cumsum(local, axis=0) @ rotate_z(spread).T
    return chain


def _thumb(angles: Floats) -> Floats:
    """Middle joint, end joint and tip of the thumb: opposition turns it below the palm, flexion inwards."""
    turn = rotate_y(-angles[0])
    direction = turn @ unit(np.array([-0.62, 0.75, -0.2]))
    inward = turn @ np.array([0.8, 0.45, -0.3])
    inward = unit(inward - direction * (inward @ direction))
    bend = np.array([0.0, angles[1], angles[1] + angles[2]])
    bones = np.cos(bend)[:, None] * direction + np.sin(bend)[:, None] * inward
    chain: Floats = _THUMB_BASE + np.cumsum(bones * _THUMB_BONES[:, None], axis=0)
    return chain


def hand_mesh(joints: Floats, length: float, normal: Floats, color: Floats, detail: int) -> Mesh:
    """Fingers as capsules and a flat palm, in the frame of joints (21, 3) and of the palm's normal."""
    first = np.array([1, *range(2, 6)])
    chains = np.stack([first, *(np.arange(5) * 3 + 6 + j for j in range(3))], axis=1)  # (5, 4)
    start, end = joints[chains[:, :-1]].reshape(-1, 3), joints[chains[:, 1:]].reshape(-1, 3)
    base = np.array([0.068, *_RADII]) * length
    r0 = (base[:, None] * [1.0, 0.92, 0.84]).ravel()
    r1 = (base[:, None] * [0.92, 0.84, 0.74]).ravel()
    sides, rows, caps = ((4, 1, 1), (6, 1, 1), (8, 2, 2), (10, 3, 3))[detail]
    fingers = capsules(start, end, r0, r1, sides, rows, caps)
    palm = _palm(joints, length, normal, max(sides, 6), 3 + 2 * detail)
    nails = _nails(joints, chains, length, normal) if detail >= 2 else np.zeros((0, 4, 3))
    pale = np.minimum(color * 1.12 + 12, 255)
    meshes = [Mesh.of(fingers, color), Mesh.of(palm, color * 0.97)]
    return Mesh.join([*meshes, Mesh.of(nails, pale, 0.006)])


def _palm(joints: Floats, length: float, normal: Floats, sides: int, rows: int) -> Floats:
    """A slab from the wrist to the knuckles, wider where the knuckles are."""
    wrist, index, little = joints[0], joints[2], joints[5]
    t = np.linspace(0, 1, rows + 2)
    side = (little - index) / 2
    middle = (joints[3] + joints[4]) / 2 - wrist
    centers = wrist + t[:, None] * 1.06 * middle
    width = np.interp(t, [0, 0.25, 0.7, 0.95, 1], [0.78, 1.1, 1.3, 1.27, 0.9])[:, None]
    thick = np.interp(t, [0, 0.3, 0.9, 1], [0.1, 0.12, 0.085, 0.04])[:, None] * length
    return loft(centers, width * side, thick * normal, max(sides, 8), 0.8)


def _nails(joints: Floats, chains: NDArray[np.int_], length: float, normal: Floats) -> Floats:
    """One small quad on the back of each finger tip."""
    tip, before = joints[chains[1:, 3]], joints[chains[1:, 2]]
    along = unit(tip - before)
    across = unit(np.cross(along, np.broadcast_to(normal, along.shape)))
    sign = np.sign(np.dot(np.cross(across[1], along[1]), -normal)) or 1.0
    back = unit(np.cross(across, along)) * sign
    center = tip + (back * 0.036 - along * 0.012) * length
    u, v = across * 0.025 * length, along * 0.032 * length
    quads = np.stack([center - u - v, center + u - v, center + u + v, center - u + v], axis=1)
    return face_towards(quads, back)


def wrist_turn(pronation: float, flexion: float, deviation: float, *, left: bool) -> Floats:
    """Hand frame in the forearm's: pronation 0 is palm up, 80 degrees thumb up, 170 degrees palm down."""
    right = rotate_y(-pronation) @ rotate_x(-flexion) @ rotate_z(deviation)
    return MIRROR @ right @ MIRROR if left else right
