"""Plausible poses: limbs reach their targets by two-bone inverse kinematics, so joints bend one way only.

Frames are rotations whose columns are x (to the person's left), y (along the limb or down) and z (to the
back). The person's own frame stands on the floor (y = 0) and looks along -z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wholebody.benchmarks.synthetic.anatomy import Proportions
from wholebody.benchmarks.synthetic.hand import HandPose, sample_hand, wrist_turn
from wholebody.benchmarks.synthetic.shapes import Floats, rotate_x, rotate_y, rotate_z, unit

STANCES = ("stand", "walk", "sit", "crouch", "lean")
_STANCE_ODDS = (0.42, 0.2, 0.18, 0.1, 0.1)
ARMS = ("hang", "hip", "forward", "raised", "side", "wave", "face", "chest", "anywhere")
_ARM_ODDS = (0.24, 0.08, 0.12, 0.1, 0.08, 0.13, 0.11, 0.08, 0.06)
_CLOSE_ARM_ODDS = (0.1, 0.04, 0.14, 0.08, 0.03, 0.26, 0.22, 0.1, 0.03)


@dataclass(frozen=True, eq=False)
class Limb:
    """Root, middle and end joint (3, 3) and the frames (3, 3) of upper and lower bone."""

    joints: Floats
    upper: Floats
    lower: Floats


@dataclass(frozen=True, eq=False)
class Pose:
    """One posed person in its own frame; pairs are (right, left)."""

    stance: str
    pelvis: Floats
    pelvis_frame: Floats
    waist: Floats
    chest_frame: Floats
    neck: Floats
    head: Floats
    head_frame: Floats
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    feet: tuple[Floats, Floats]
    hand_frames: tuple[Floats, Floats]
    hands: tuple[HandPose, HandPose]


def bend_limb(root: Floats, target: Floats, pole: Floats, upper: float, lower: float) -> Limb:
    """Two-bone inverse kinematics; the middle joint goes to the pole's side and never bends the other way."""
    reach = target - root
    distance = np.clip(
        np.linalg.norm(reach), abs(upper - lower) + 0.12 * (upper + lower), 0.992 * (upper + lower)
    )
    direction = unit(reach)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    side = pole - direction * (pole @ direction)
    if np.linalg.norm(side) < 1e-3:
        side = np.cross(direction, [1.0, 0, 0])
    side = unit(side)
    middle = root + along * direction + np.sqrt(max(upper**2 - along**2, 0.0)) * side
    end = root + distance * direction
    # The hinge opens away from the pole: z looks to the arm's back but to the leg's front.
    upper_frame, lower_frame = _bone_frame(middle - root, side), _bone_frame(end - middle, side)
    return Limb(np.stack([root, middle, end]), upper_frame, lower_frame)


def _bone_frame(along: Floats, back: Floats) -> Floats:
    """Frame with y along the bone and z as near to `back` as can be."""
    y = unit(along)
    z = unit(back - y * (back @ y))
    return np.stack([np.cross(y, z), y, z], axis=1)


def sample_pose(rng: np.random.Generator, body: Proportions, *, close: bool) -> Pose:
    """A random pose; `close` favours hands near the face and the arms in view."""
    stance = str(rng.choice(STANCES, p=_STANCE_ODDS))
    height, lean = _stance(rng, stance)
    pelvis = np.array([0.0, -height * body.hip_height, 0.0])
    pelvis_frame = rotate_y(rng.normal(0, 0.1)) @ rotate_z(rng.normal(0, 0.05)) @ rotate_x(0.5 * lean)
    spine = (
        rotate_y(rng.normal(0, 0.18))
        @ rotate_z(rng.normal(0, 0.1))
        @ rotate_x(0.5 * lean + rng.normal(0, 0.06))
    )
    chest_frame = pelvis_frame @ spine
    waist = pelvis + pelvis_frame @ [0, -body.lower_spine, 0]
    neck = waist + chest_frame @ [0, -body.upper_spine, 0]
    look = np.clip(rng.normal(0, [0.3, 0.16, 0.12]), [-1.1, -0.45, -0.35], [1.1, 0.45, 0.35])
    head_frame = chest_frame @ rotate_y(look[0]) @ rotate_x(look[1] - 0.6 * lean) @ rotate_z(look[2])
    skull_base = neck + chest_frame @ [0, -body.neck, -0.05 * body.head]
    head = skull_base + head_frame @ [0, -0.38 * body.head, -0.06 * body.head]
    legs, feet = _legs(rng, body, stance, pelvis, pelvis_frame)
    arms, frames, hands = _arms(rng, body, neck, chest_frame, head, head_frame, close=close)
    spine_joints = (pelvis, pelvis_frame, waist, chest_frame, neck, head, head_frame)
    return Pose(stance, *spine_joints, arms, legs, feet, frames, hands)


def _stance(rng: np.random.Generator, stance: str) -> tuple[float, float]:
    """Height of the pelvis as a share of the standing one, and forward lean in radians."""
    low, high, lean_low, lean_high = {
        "stand": (0.97, 0.995, -0.05, 0.1), "walk": (0.92, 0.965, 0.0, 0.2), "sit": (0.45, 0.62, -0.15, 0.3),
        "crouch": (0.3, 0.6, 0.3, 0.8), "lean": (0.9, 0.98, 0.4, 1.1),
    }[stance]  # fmt: skip
    return float(rng.uniform(low, high)), float(rng.uniform(lean_low, lean_high))


def _legs(
    rng: np.random.Generator, body: Proportions, stance: str, pelvis: Floats, frame: Floats
) -> tuple[tuple[Limb, Limb], tuple[Floats, Floats]]:
    limbs, feet = [], []
    stride = rng.uniform(-0.32, 0.32) * (stance == "walk")
    seat = rng.uniform(0.6, 1.0)
    for s in (-1.0, 1.0):
        hip = pelvis + frame @ [s * body.hip, 0, 0]
        forward = {"sit": -seat * body.thigh, "crouch": rng.uniform(-0.15, 0.05)}.get(
            stance, rng.normal(0, 0.04)
        )
        ankle = np.array(
            [hip[0] + s * rng.uniform(-0.02, 0.13), -body.ankle, forward + s * stride * body.hip_height]
        )
        lift = np.clip(ankle[2], 0, 0.3) * 0.5 if stance == "walk" else 0.0
        ankle[1] -= lift
        turn = rotate_y(s * rng.uniform(-0.05, 0.45))
        limb = bend_limb(hip, ankle, turn @ np.array([s * 0.1, -0.1, -1.0]), body.thigh, body.shank)
        # A knee's pole is its front, while the frame's z looks back.
        turned = np.diag([-1.0, 1.0, -1.0])
        limbs.append(Limb(limb.joints, limb.upper @ turned, limb.lower @ turned))
        feet.append(turn @ rotate_x(2.0 * lift))
    return (limbs[0], limbs[1]), (feet[0], feet[1])


def _arms(
    rng: np.random.Generator, body: Proportions, neck: Floats, chest: Floats, head: Floats,
    head_frame: Floats, *, close: bool,
) -> tuple[tuple[Limb, Limb], tuple[Floats, Floats], tuple[HandPose, HandPose]]:  # fmt: skip
    limbs, frames, hands = [], [], []
    both = rng.random() < 0.35
    kind = str(rng.choice(ARMS, p=_CLOSE_ARM_ODDS if close else _ARM_ODDS))
    for s in (-1.0, 1.0):
        if s > 0 and not both:
            kind = str(rng.choice(ARMS, p=_CLOSE_ARM_ODDS if close else _ARM_ODDS))
        shrug = rng.uniform(-0.01, 0.03) + (0.05 if kind == "raised" else 0.0)
        shoulder = neck + chest @ [s * body.shoulder, (0.03 - shrug) * body.body, 0.01]
        target, pole = _arm_target(rng, kind, s)
        goal = shoulder + chest @ (target * body.arm)
        if kind == "face":
            spot = [s * rng.uniform(-0.1, 0.5), rng.uniform(-0.1, 0.6), -rng.uniform(0.6, 0.85)]
            goal = head + head_frame @ (np.array(spot) * body.head) + chest @ [s * 0.03, 0.75 * body.hand, 0]
        limb = bend_limb(shoulder, goal, chest @ pole, body.upper_arm, body.forearm)
        limbs.append(limb)
        frames.append(_hand_frame(rng, kind, limb, chest, left=s > 0))
        hands.append(sample_hand(rng, ("open", "open", "point", "victory", "relaxed")) if kind == "wave"
                     else sample_hand(rng))  # fmt: skip
    return (limbs[0], limbs[1]), (frames[0], frames[1]), (hands[0], hands[1])


def _arm_target(rng: np.random.Generator, kind: str, s: float) -> tuple[Floats, Floats]:
    """Wrist relative to the shoulder in arm lengths, and the elbow's pole, both in the chest's frame."""
    x_low, x_high, y_low, y_high, z_low, z_high = {
        "hang": (0.05, 0.35, 0.88, 0.97, -0.25, 0.12), "hip": (0.12, 0.25, 0.58, 0.72, -0.2, 0.02),
        "forward": (-0.35, 0.25, -0.15, 0.5, -0.95, -0.5), "raised": (-0.1, 0.5, -0.95, -0.6, -0.45, -0.05),
        "side": (0.75, 0.97, -0.3, 0.35, -0.3, 0.1), "wave": (0.05, 0.6, -0.45, 0.1, -0.5, -0.2),
        "face": (0, 0, 0, 0, 0, 0), "chest": (-0.6, -0.1, 0.25, 0.6, -0.55, -0.4),
        "anywhere": (-0.4, 0.9, -0.8, 0.9, -0.9, 0.1),
    }[kind]  # fmt: skip
    low, high = [x_low, y_low, z_low], [x_high, y_high, z_high]
    target = rng.uniform(low, high) * [s, 1, 1]
    pole = np.array([s * rng.uniform(0.2, 0.9), 0.7, 0.7])
    if kind == "hip":
        pole = np.array([s, 0.0, 0.5])
    if kind == "wave":
        pole = np.array([s * 0.6, 1.0, 0.2])
    return target, pole


def _hand_frame(rng: np.random.Generator, kind: str, limb: Limb, chest: Floats, *, left: bool) -> Floats:
    """The hand's frame: free pronation, or the palm turned forwards when waving."""
    flexion, deviation = np.clip(rng.normal(0, [0.3, 0.15]), [-1.0, -0.35], [1.0, 0.35])
    turns = np.radians(rng.uniform(-5, 170, 1))
    if kind == "hang":
        turns = np.radians(rng.uniform(50, 120, 1))
    elif kind in ("wave", "raised") and rng.random() < 0.7:
        turns = np.radians(np.linspace(0, 170, 9))
    frames = [limb.lower @ wrist_turn(t, flexion, deviation, left=left) for t in turns]
    return max(frames, key=lambda frame: float(frame[:, 2] @ chest[:, 2]))
