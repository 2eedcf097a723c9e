"""The 133 keypoints of synthetic people: on the surfaces that are drawn, and consistent with DOPE's 139."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from wholebody.benchmarks.synthetic import Scene, SyntheticPerson, render_scene
from wholebody.benchmarks.synthetic.body import Person, foot_shape, sample_person
from wholebody.benchmarks.synthetic.head import ear_shape
from wholebody.benchmarks.synthetic.wholebody import WHOLEBODY_ORDER, extra_joints, extra_normals
from wholebody.runtime.skeletons import DOPE, DOPE_TO_WHOLEBODY, WHOLEBODY133

SEEDS = range(24)
NAMES = WHOLEBODY133.joints
EYES_AND_NOSE = [0, 1, 2]


@functools.cache
def scene(seed: int) -> Scene:
    return render_scene(seed, (192, 192))


def everybody() -> list[SyntheticPerson]:
    return [person for seed in SEEDS for person in scene(seed).people]


def somebody(seed: int) -> tuple[Person, dict[str, np.ndarray]]:
    """A person in the frame that looks along -z, and the keypoints by name."""
    person = sample_person(np.random.Generator(np.random.PCG64(seed)), close=False)
    points = np.concatenate([person.keypoints, extra_joints(person)])[WHOLEBODY_ORDER]
    return person, dict(zip(NAMES, points, strict=True))


def test_every_joint_has_a_place_of_its_own() -> None:
    assert WHOLEBODY_ORDER.shape == (133,)
    assert len(set(WHOLEBODY_ORDER)) == 132  # the tip of the nose is a joint of body and face
    assert (NAMES[0], NAMES[53]) == ("nose", "face_nose_bridge_3")
    assert WHOLEBODY_ORDER[0] == WHOLEBODY_ORDER[53] == DOPE.joints.index("face_nose_bridge_3")


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_and_projection(seed: int) -> None:
    fx, fy, cx, cy = scene(seed).camera
    for person in scene(seed).people:
        assert person.keypoints133.shape == (133, 2)
        assert person.keypoints3d133.shape == (133, 3)
        assert person.visible133.shape == (133,)
        assert person.keypoints133.dtype == person.keypoints3d133.dtype == np.float32
        assert person.visible133.dtype == bool
        x, y, z = person.keypoints3d133.astype(float).T
        projected = np.column_stack([fx * x / z + cx, fy * y / z + cy])
        np.testing.assert_allclose(projected, person.keypoints133, rtol=1e-5, atol=1e-2)
        seen = person.keypoints133[person.visible133]
        assert np.all((seen >= -0.5) & (seen <= 191.5))


def test_what_both_name_is_the_same_point() -> None:
    dope, coco = (list(side) for side in zip(*DOPE_TO_WHOLEBODY, strict=True))
    for person in everybody():
        np.testing.assert_array_equal(person.keypoints133[coco], person.keypoints[dope])
        np.testing.assert_array_equal(person.keypoints3d133[coco], person.keypoints3d[dope])
        np.testing.assert_array_equal(person.visible133[coco], person.visible[dope])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("side", "name"), [(0, "right"), (1, "left")])
def test_toes_and_heel_lie_on_the_foot_that_is_drawn(seed: int, side: int, name: str) -> None:
    person, points = somebody(seed)
    center, axes = foot_shape(person, side)
    local = {
        joint: np.linalg.solve(axes.T, points[f"{name}_{joint}"] - center)
        for joint in ("big_toe", "small_toe", "heel", "ankle")
    }
    inward = 1 - 2 * side  # a right foot's big toe is on its left
    assert local["big_toe"][0] * inward > 0.3 > -0.3 > local["small_toe"][0] * inward
    assert local["big_toe"][1] > local["small_toe"][1] > 0.4
    assert local["heel"][1] < local["ankle"][1] < 0
    for joint in ("big_toe", "small_toe", "heel"):
        assert np.linalg.norm(local[joint]) == pytest.approx(1)
        assert points[f"{name}_{joint}"][1] > points[f"{name}_ankle"][1] - 0.5 * person.body.foot


def test_feet_that_stand_point_forwards() -> None:
    for seed in SEEDS:
        person, points = somebody(seed)
        if person.pose.stance == "stand":
            for name, inward in (("right", 1), ("left", -1)):
                big, small, heel = (points[f"{name}_{joint}"] for joint in ("big_toe", "small_toe", "heel"))
                assert big[2] < small[2] < heel[2]
                assert (big[0] - small[0]) * inward > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_ears_and_eyes_are_where_they_are_drawn(seed: int) -> None:
    person, points = somebody(seed)
    head = {
        name: (points[name] - person.pose.head) @ person.pose.head_frame / person.body.head
        for name in NAMES
        if name in NAMES[:5] or name.startswith("face")
    }
    for name, sign in (("left", 1), ("right", -1)):
        center, axes = ear_shape(person.look, sign)
        local = np.linalg.solve(axes.T, head[f"{name}_ear"] - center)
        np.testing.assert_allclose(local, [sign, 0, 0], atol=1e-9)
        lids = np.array([head[f"face_{name}_eye_{i}"] for i in range(6)])
        np.testing.assert_allclose(head[f"{name}_eye"], lids.mean(axis=0), atol=1e-9)
    assert head["left_ear"][0] > head["left_eye"][0] > head["nose"][0] > head["right_eye"][0]
    assert head["nose"][2] < head["left_eye"][2] < head["left_ear"][2]


def test_eyes_and_nose_are_not_seen_from_behind_but_both_ears_are() -> None:
    away = looking = ears = 0
    for seed in range(100):
        for person in render_scene(seed, (64, 64)).people:
            left, right, nose = person.keypoints3d133[[3, 4, 0]]
            forwards = nose - (left + right) / 2
            facing = -np.dot(forwards, nose) / np.linalg.norm(forwards) / np.linalg.norm(nose)
            if facing < -0.85:
                away += 1
                ears += int(person.visible133[[3, 4]].all())
                assert not person.visible133[EYES_AND_NOSE].any()
            looking += int(facing > 0.7 and person.visible133[EYES_AND_NOSE].all())
    assert away >= 3
    assert ears >= 1  # long hair hides most
    assert looking > 30


def test_eyes_look_where_their_lids_do_and_nothing_else_has_a_normal() -> None:
    lids = np.zeros((84, 3))
    lids[58:64], lids[52:58] = [0.6, 0, -0.8], [-0.6, 0, -0.8]  # left and right eye
    normals = extra_normals(lids)
    np.testing.assert_allclose(normals[:2], [[0.6, 0, -0.8], [-0.6, 0, -0.8]])
    assert not normals[2:].any()


def test_toes_are_seen_and_heels_are_hidden_by_feet_that_point_at_the_camera() -> None:
    seen = []
    for person in everybody():
        inside = np.all((person.keypoints133 > -0.5) & (person.keypoints133 < 191.5), axis=1)
        for ankle, toes_and_heel in ((15, [17, 18, 19]), (16, [20, 21, 22])):
            big, _, heel = person.keypoints3d133[toes_and_heel, 2]
            if person.visible133[ankle] and inside[toes_and_heel].all() and heel - big > 0.1:
                seen.append(person.visible133[toes_and_heel])
    big, small, heel = np.mean(seen, axis=0)
    assert len(seen) > 30
    assert min(big, small) > 0.85
    assert heel < 0.5


def test_the_truth_of_dopes_joints_is_what_networks_were_trained_on() -> None:
    """Sums over a scene's people: 3D coordinates in metres and the number of visible keypoints."""
    known = {0: (285.85, 111), 1: (2172.36, 403), 20_000_003: (5899.57, 424), 30_000_001: (6627.82, 450)}
    for seed, (metres, visible) in known.items():
        people = scene(seed).people
        assert sum(float(p.keypoints3d.sum()) for p in people) == pytest.approx(metres, abs=0.05)
        assert sum(int(p.visible.sum()) for p in people) == pytest.approx(visible, abs=2)
