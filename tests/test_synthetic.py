"""Synthetic people: pictures are repeatable, and the truth obeys geometry and anatomy."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest

from wholebody.benchmarks.synthetic import Scene, render_scene
from wholebody.benchmarks.synthetic.anatomy import sample_proportions
from wholebody.benchmarks.synthetic.body import sample_person
from wholebody.benchmarks.synthetic.face import landmarks
from wholebody.benchmarks.synthetic.hand import FLEXION_LIMITS, hand_joints, sample_hand
from wholebody.benchmarks.synthetic.looks import sample_look
from wholebody.benchmarks.synthetic.pose import bend_limb, sample_pose
from wholebody.benchmarks.synthetic.raster import Camera, Light, draw, hidden
from wholebody.benchmarks.synthetic.shapes import Mesh, box
from wholebody.runtime.skeletons import DOPE, DOPE_FACE

SEEDS = range(24)


@functools.cache
def scene(seed: int) -> Scene:
    return render_scene(seed, (192, 192))


@functools.cache
def small_scene(seed: int) -> Scene:
    return render_scene(seed, (64, 64))


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_same_seed_same_bytes() -> None:
    first, second = render_scene(7), render_scene(7)
    assert first.image.tobytes() == second.image.tobytes()
    assert all(
        a.keypoints3d.tobytes() == b.keypoints3d.tobytes() and a.visible.tobytes() == b.visible.tobytes()
        for a, b in zip(first.people, second.people, strict=True)
    )
    assert render_scene(8).image.tobytes() != first.image.tobytes()


def test_pictures_differ_from_seed_to_seed() -> None:
    assert len({hashlib.sha256(scene(s).image.tobytes()).digest() for s in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("size", [(384, 384), (240, 320), (320, 180), (33, 64)])
def test_size_is_height_and_width(size: tuple[int, int]) -> None:
    rendered = render_scene(3, size)
    assert rendered.image.shape == (*size, 3)
    assert rendered.image.dtype == np.uint8
    assert rendered.image.flags.c_contiguous


def test_a_tiny_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        render_scene(0, (16, 384))


def test_one_to_six_people_and_all_counts_occur() -> None:
    counts = {len(small_scene(s).people) for s in range(90)}
    assert counts == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_and_projection(seed: int) -> None:
    fx, fy, cx, cy = scene(seed).camera
    for person in scene(seed).people:
        assert person.keypoints.shape == (len(DOPE), 2)
        assert person.keypoints3d.shape == (len(DOPE), 3)
        assert person.keypoints.dtype == person.keypoints3d.dtype == np.float32
        x, y, z = person.keypoints3d.astype(float).T
        assert z.min() > 0.2
        projected = np.column_stack([fx * x / z + cx, fy * y / z + cy])
        np.testing.assert_allclose(projected, person.keypoints, atol=1e-2)


@pytest.mark.parametrize("seed", SEEDS)
def test_visible_keypoints_are_inside_the_picture(seed: int) -> None:
    height, width = scene(seed).image.shape[:2]
    for person in scene(seed).people:
        x, y = person.keypoints[person.visible].T
        assert np.all((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


def test_most_pictures_show_somebody_and_something_is_hidden() -> None:
    seen = np.array([p.visible.mean() for s in SEEDS for p in scene(s).people[:1]])
    assert np.mean(seen > 0.1) > 0.9
    assert 0.2 < seen.mean() < 0.95


def test_a_face_is_visible_only_when_it_looks_at_the_camera() -> None:
    """Nose and mouth vanish beyond the profile, the face's sides (contour, brows) when seen from behind."""
    away = looking = 0
    for s in range(90):
        for person in small_scene(s).people:
            face, visible = person.keypoints3d[13:97], person.visible[13:97]
            ears, chin, brow = face[[0, 32]], face[16], face[[37, 38]].mean(axis=0)
            back = np.cross(ears[1] - ears[0], chin - brow)
            facing = np.dot(back, face[46]) / np.linalg.norm(back) / np.linalg.norm(face[46])
            assert facing > -0.3 or not visible[[44, 45, 46, 49, 67, 73]].any()
            assert facing > -0.85 or not visible.any()
            away += facing < -0.85
            looking += facing > 0.5 and visible.any()
    assert away >= 3
    assert looking > 50


BONES = [
    (DOPE.joints.index(a), DOPE.joints.index(b))
    for side in ("right", "left")
    for a, b in ((f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle"),
                 (f"{side}_shoulder", f"{side}_elbow"), (f"{side}_elbow", f"{side}_wrist"))
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_bones_keep_their_length_in_every_pose(seed: int) -> None:
    body = sample_proportions(rng(seed))
    expected = [body.thigh, body.shank, body.upper_arm, body.forearm]
    for k in range(8):
        pose = sample_pose(rng(100 * seed + k), body, close=k % 2 == 0)
        for leg, arm in zip(pose.legs, pose.arms, strict=True):
            bones = np.diff(np.stack([leg.joints, arm.joints]), axis=1).reshape(4, 3)
            lengths = np.linalg.norm(bones, axis=1)
            np.testing.assert_allclose(lengths, expected, rtol=1e-9)


def test_left_and_right_bones_are_alike_in_the_truth() -> None:
    half = len(BONES) // 2
    for s in SEEDS:
        for person in scene(s).people:
            lengths = [float(np.linalg.norm(person.keypoints3d[a] - person.keypoints3d[b])) for a, b in BONES]
            np.testing.assert_allclose(lengths[:half], lengths[half:], rtol=1e-4)


@pytest.mark.parametrize("seed", range(40))
def test_knees_and_elbows_bend_one_way(seed: int) -> None:
    """Shanks fold to the back of the thigh, forearms to the front of the upper arm."""
    body = sample_proportions(rng(seed))
    pose = sample_pose(rng(seed), body, close=False)
    for limb, sign in ((pose.legs[0], 1), (pose.legs[1], 1), (pose.arms[0], -1), (pose.arms[1], -1)):
        lower = limb.joints[2] - limb.joints[1]
        assert sign * np.dot(lower, limb.upper[:, 2]) > 0
        np.testing.assert_allclose(limb.upper.T @ limb.upper, np.eye(3), atol=1e-9)
        assert np.linalg.det(limb.upper) == pytest.approx(1)
    for leg in pose.legs:  # the thigh's front looks the way the pelvis does, or up when sitting or crouching
        assert np.dot(-leg.upper[:, 2], -pose.pelvis_frame[:, 2] - pose.pelvis_frame[:, 1]) > 0


def test_a_limb_reaches_its_target_or_stretches_towards_it() -> None:
    near, far = np.array([0.1, 0.3, -0.2]), np.array([0.0, 3.0, 0.0])
    pole = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(bend_limb(np.zeros(3), near, pole, 0.3, 0.25).joints[2], near, atol=1e-12)
    stretched = bend_limb(np.zeros(3), far, pole, 0.3, 0.25).joints
    assert 0.5 < stretched[2, 1] < 0.55
    assert stretched[1, 2] > 0


@pytest.mark.parametrize("seed", range(12))
def test_left_hand_mirrors_right_hand(seed: int) -> None:
    pose = sample_hand(rng(seed))
    right, left = hand_joints(pose, 0.19, left=False), hand_joints(pose, 0.19, left=True)
    np.testing.assert_allclose(left, right * [-1, 1, 1])
    assert right[1, 0] < 0 < left[1, 0]


@pytest.mark.parametrize("seed", range(24))
def test_fingers_keep_their_limits_and_lengths(seed: int) -> None:
    pose = sample_hand(rng(seed))
    assert np.all((pose.flexion >= FLEXION_LIMITS[:, 0]) & (pose.flexion <= FLEXION_LIMITS[:, 1]))
    joints, flat = (hand_joints(p, 1.0, left=False) for p in (pose, sample_hand(rng(seed + 1), ("open",))))
    chains = np.array([[0, n + 1, 3 * n + 6, 3 * n + 7, 3 * n + 8] for n in range(5)])
    lengths, others = (np.linalg.norm(np.diff(j[chains], axis=1), axis=2) for j in (joints, flat))
    np.testing.assert_allclose(lengths, others, rtol=1e-9)


def test_a_curled_finger_bends_into_the_palm() -> None:
    fist = hand_joints(sample_hand(rng(0), ("fist",)), 0.19, left=False)
    assert np.all(fist[[9, 12, 15, 18], 2] < -0.01)


def test_right_thumb_lies_to_the_right_of_its_own_palm_in_the_truth() -> None:
    """Index, little finger and palm normal have opposite handedness left and right, whatever the view."""
    person = sample_person(rng(5), close=True)
    signs = []
    for start, side in ((97, 1), (118, 0)):
        hand = person.keypoints[start : start + 21]
        palm = -person.pose.hand_frames[side][:, 2]
        signs.append(np.sign(np.dot(np.cross(hand[2] - hand[0], hand[5] - hand[0]), palm)))
    assert signs[0] == -signs[1]


def test_neutral_face_is_symmetric_and_right_is_the_pictures_left() -> None:
    points, normals = landmarks(sample_look(rng(1)))
    mirrored = points[list(DOPE_FACE.flip_index)] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, points, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert points[0, 0] < 0 < points[32, 0]
    assert points[16, 1] == points[:, 1].max()
    assert points[52, 0] < points[55, 0] < 0
    assert points[64, 0] < 0 < points[70, 0]


def test_only_what_lies_behind_is_hidden() -> None:
    camera = Camera(100, 100, 49.5, 49.5, np.eye(3), np.zeros(3))
    light = Light(np.array([0.0, 0, -1]), np.ones(3) * 0.5, np.ones(3) * 0.5)
    wall = Mesh.of(box(np.array([0.0, 0, 2]), np.eye(3) * 0.2), (200.0, 100.0, 50.0))
    drawing = draw([wall], [1], camera, light, (100, 100))
    points = np.array([[0, 0, 3.0], [0, 0, 1.0], [1.0, 0, 3.0], [0, 0, 1.85], [0, 0, 9.0]])
    slack = np.full(5, 0.1)
    np.testing.assert_array_equal(hidden(drawing, camera, points, 0, slack), [True, False, False, True, True])
    np.testing.assert_array_equal(
        hidden(drawing, camera, points, 1, slack), [True, False, False, False, True]
    )
