"""What is to be found in a picture: boxes, centred poses, sides and what is not judged."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.truth import BOX_MARGIN, MIN_SIDE, PartTruth, part_truths
from wholebody.runtime.skeletons import DOPE

HEIGHT, WIDTH = 200, 300
JOINTS = {"body": 13, "hand": 21, "face": 84}
BODY, FACE = DOPE.parts["body"], DOPE.parts["face"]
RIGHT, LEFT = DOPE.parts["right_hand"], DOPE.parts["left_hand"]
ANKLES_AND_KNEES = [0, 1, 2, 3]

Keypoints = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def people(seed: int, count: int = 1, low: float = 20, high: float = 180) -> Keypoints:
    """Keypoints anywhere from `low` to `high` pixels, all visible, and joints in space."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(low, high, (count, 139, 2)).astype(np.float32)
    metres = rng.normal([0, 0, 3], 0.4, (count, 139, 3)).astype(np.float32)
    return pixels, metres, np.ones((count, 139), bool)


def truths(keypoints: Keypoints) -> dict[str, PartTruth]:
    return part_truths(*keypoints, HEIGHT, WIDTH)


def test_nobody() -> None:
    for part, truth in truths(people(0, count=0)).items():
        assert truth.boxes.shape == (0, 4)
        assert truth.pose2d.shape == (0, JOINTS[part], 2)
        assert truth.pose3d.shape == (0, JOINTS[part], 3)
        assert truth.visible.shape == (0, JOINTS[part])
        assert truth.group.shape == truth.ignore.shape == (0,)
        assert (truth.boxes.dtype, truth.group.dtype, truth.ignore.dtype) == (np.float32, np.int64, bool)


def test_everybody_has_a_body_a_face_and_two_hands_right_ones_first() -> None:
    pixels, _, _ = keypoints = people(0, count=3)
    found = truths(keypoints)
    np.testing.assert_array_equal(found["body"].pose2d, pixels[:, BODY])
    np.testing.assert_array_equal(found["face"].pose2d, pixels[:, FACE])
    np.testing.assert_array_equal(found["hand"].pose2d[:3], pixels[:, RIGHT])
    np.testing.assert_array_equal(found["hand"].pose2d[3:], pixels[:, LEFT])
    np.testing.assert_array_equal(found["hand"].group, [0, 0, 0, 1, 1, 1])
    assert not any(truth.ignore.any() for truth in found.values())


# --- poses in space ---------------------------------------------------------------------------------


def test_a_body_is_centred_between_shoulders_and_hips_x_to_the_left_and_y_up() -> None:
    keypoints = people(1)
    metres = keypoints[1]
    metres[0, [4, 5, 10, 11]] = [[-1, 1, 5], [1, 1, 5], [-1, -1, 5], [1, -1, 5]]  # around (0, 0, 5)
    metres[0, 12] = (0.25, -2, 6)  # right of the camera's axis, above it, and a metre behind the body
    np.testing.assert_allclose(truths(keypoints)["body"].pose3d[0, 12], (-0.25, 2, 1))


def test_hands_and_faces_are_centred_at_their_mean_in_the_cameras_axes() -> None:
    keypoints = people(1)
    found = truths(keypoints)
    for part, row, where in (("face", 0, FACE), ("hand", 0, RIGHT), ("hand", 1, LEFT)):
        pose = found[part].pose3d[row]
        np.testing.assert_allclose(pose.mean(axis=0), 0, atol=1e-6)
        own = keypoints[1][0, where]
        np.testing.assert_allclose(pose[1:] - pose[0], own[1:] - own[0], atol=1e-5)


@given(st.integers(0, 50))
def test_a_mirrored_picture_has_mirrored_truth_and_its_hands_trade_sides(seed: int) -> None:
    pixels, metres, visible = people(seed)
    visible[:] = np.random.default_rng(seed).random(visible.shape) < 0.6
    flip = list(DOPE.flip_index)
    mirrored = (
        pixels[:, flip] * np.array([-1, 1], np.float32) + np.array([WIDTH - 1, 0], np.float32),
        metres[:, flip] * np.array([-1, 1, 1], np.float32),
        visible[:, flip],
    )
    before, after = truths((pixels, metres, visible)), truths(mirrored)
    for part, order in (("body", [0]), ("face", [0]), ("hand", [1, 0])):
        np.testing.assert_array_equal(after[part].ignore, before[part].ignore[order])
        x0, y0, x1, y1 = before[part].boxes[order].T
        boxes = np.stack([WIDTH - 1 - x1, y0, WIDTH - 1 - x0, y1], axis=1)
        np.testing.assert_allclose(after[part].boxes, boxes, atol=1e-3)
    np.testing.assert_array_equal(after["hand"].group, [0, 1])
    np.testing.assert_allclose(
        after["hand"].pose3d, before["hand"].pose3d[[1, 0]] * np.array([-1, 1, 1]), atol=1e-6
    )
    flip_body = list(DOPE.flip_index[BODY])
    np.testing.assert_allclose(
        after["body"].pose3d, before["body"].pose3d[:, flip_body] * np.array([-1, 1, 1]), atol=1e-6
    )


# --- boxes ------------------------------------------------------------------------------------------


def test_a_box_is_the_pose_with_a_margin_cut_at_the_picture() -> None:
    keypoints = people(2)
    corners = np.array([[50, 40], [150, 140]], np.float32)
    keypoints[0][0, RIGHT] = corners[[0] * 20 + [1]]
    keypoints[0][0, LEFT] = corners[[0] * 20 + [1]] + np.array([145, 55], np.float32)
    assert BOX_MARGIN == 0.1
    np.testing.assert_allclose(
        truths(keypoints)["hand"].boxes, [[40, 30, 160, 150], [185, 85, WIDTH, HEIGHT]], atol=1e-4
    )


@given(st.integers(0, 50), st.floats(-400, 100), st.floats(110, 700))
def test_boxes_lie_in_the_picture_and_hold_every_joint_in_it(seed: int, low: float, high: float) -> None:
    for truth in truths(people(seed, 2, low, high)).values():
        assert np.all(truth.boxes >= 0)
        assert np.all(truth.boxes <= (WIDTH, HEIGHT, WIDTH, HEIGHT))
        inside = np.all((truth.pose2d >= 0) & (truth.pose2d <= (WIDTH, HEIGHT)), axis=2)
        low2d, high2d = truth.boxes[:, None, :2], truth.boxes[:, None, 2:]
        held = np.all((truth.pose2d >= low2d) & (truth.pose2d <= high2d), axis=2)
        assert np.all(held[inside])


def test_who_is_outside_the_picture_has_no_area_and_is_not_judged() -> None:
    pixels, metres, visible = people(0, low=400, high=600)
    for truth in truths((pixels, metres, np.zeros_like(visible))).values():
        assert not (truth.boxes[:, 2:] - truth.boxes[:, :2]).any()
        assert truth.ignore.all()


# --- what is not judged, and groups -----------------------------------------------------------------


@pytest.mark.parametrize(("part", "where"), [("body", BODY), ("hand", LEFT), ("face", FACE)])
def test_too_small_to_be_judged(part: str, where: slice) -> None:
    least = MIN_SIDE[part]
    for longer, ignored in ((least - 0.5, True), (least + 0.5, False)):
        keypoints = people(0)
        own = keypoints[0][0, where]
        own[:] = 50
        own[-1, 0] += longer / (1 + 2 * BOX_MARGIN)  # the longer side decides, the other is nothing
        assert truths(keypoints)[part].ignore[-1] == ignored


@pytest.mark.parametrize(
    ("part", "where", "least"), [("body", BODY, 3), ("hand", LEFT, 8), ("face", FACE, 26)]
)
def test_too_hidden_to_be_judged(part: str, where: slice, least: int) -> None:
    """Less than 20 % of a body's joints, 35 % of a hand's or 30 % of a face's."""
    for seen, ignored in ((least - 1, True), (least, False)):
        keypoints = people(0)
        keypoints[2][0, where] = np.arange(JOINTS[part]) < seen
        found = truths(keypoints)[part]
        assert found.ignore[-1] == ignored
        assert found.visible[-1].sum() == seen


@pytest.mark.parametrize(
    ("outside", "group"), [(ANKLES_AND_KNEES, 1), ([0, 1, 2], 0), ([0, 1, 2, 3, 4, 5], 1)]
)
def test_a_body_is_an_upper_body_where_both_legs_are_outside(outside: list[int], group: int) -> None:
    keypoints = people(3, count=2)
    keypoints[0][1, outside, 1] = HEIGHT + 40  # the second of the group
    np.testing.assert_array_equal(truths(keypoints)["body"].group, [0, group])


def test_legs_that_are_hidden_inside_the_picture_make_no_upper_body() -> None:
    keypoints = people(3)
    keypoints[2][0, ANKLES_AND_KNEES] = False
    assert truths(keypoints)["body"].group == 0


def test_every_field_has_a_row_per_instance() -> None:
    for part, truth in truths(people(0, count=4)).items():
        rows = {len(getattr(truth, field.name)) for field in fields(truth)}
        assert rows == {8 if part == "hand" else 4}
