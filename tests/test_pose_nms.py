"""Suppression of poses by their boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.boxes import box_iou, clip_boxes, grow_boxes, pose_extent, suppress
from wholebody.runtime.kernels.pose_nms import pose_nms
from wholebody.runtime.kernels.proposals import PARTS, Candidates, Part


def candidates_at(corners: np.ndarray, score: list[float], label: list[int] | None = None) -> Candidates:
    """Poses of 3 joints that fill a box of 100 x 100 from each (x, y)."""
    m = len(score)
    pose2d = np.asarray(corners, np.float32).reshape(m, 1, 2) + np.array([[0, 0], [100, 50], [50, 100]], "f4")
    return Candidates(
        np.array(score, np.float32),
        np.array(label if label is not None else [0] * m, np.int64),
        np.zeros((m, 4), np.float32),  # proposals' boxes play no part
        pose2d,
        np.arange(m * 9, dtype=np.float32).reshape(m, 3, 3),
    )


@pytest.mark.parametrize("part", PARTS)
def test_nobody(part: Part) -> None:
    got = pose_nms(candidates_at(np.zeros((0, 2)), []), part, K=1)
    assert (len(got), got.pose2d.shape, got.box.shape) == (0, (0, 3, 2), (0, 4))


def test_one() -> None:
    got = pose_nms(candidates_at(np.array([[10, 20]]), [0.5]), "body", K=1)
    np.testing.assert_array_equal(got.box, [[10, 20, 110, 120]])
    assert got.is_right is None


def test_the_best_of_each_place_best_first() -> None:
    corners = np.array([[0, 0], [500, 0], [10, 0], [510, 0]])
    got = pose_nms(candidates_at(corners, [0.6, 0.4, 0.7, 0.9], [3, 1, 0, 2]), "hand", K=2)
    np.testing.assert_allclose(got.score, [0.9, 0.7])
    assert got.label.tolist() == [2, 0]
    assert got.is_right is not None
    assert got.is_right.tolist() == [False, True]
    np.testing.assert_array_equal(got.pose3d[:, 0, 0], [27, 18])


def test_boxes_are_grown_by_a_tenth() -> None:
    """Boxes of 120 overlap by IoU 0.1 where they share 21.8 pixels of width; ungrown ones would share 1.8."""
    for gap, expected in ((97.0, 1), (99.5, 2)):
        got = pose_nms(candidates_at(np.array([[0, 0], [gap, 0]]), [0.5, 0.4]), "face", K=1)
        assert len(got) == expected


@given(seed=st.integers(0, 10_000), n=st.integers(0, 40), threshold=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_suppression_keeps_the_greedy_set(seed: int, n: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 30, (n, 2))], axis=1).astype(np.float32)
    score = rng.integers(0, 5, n).astype(np.float32)
    kept = suppress(boxes, score, threshold)
    expected: list[int] = []
    for i in sorted(range(n), key=lambda i: -score[i]):
        if all(box_iou(boxes[[i]], boxes[[j]])[0, 0] <= threshold for j in expected):
            expected.append(i)
    assert kept.tolist() == expected


# --- boxes ---


def test_iou() -> None:
    a, b = (
        np.array([[0, 0, 10, 10], [5, 5, 5, 5]]),
        np.array([[5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]]),
    )
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(box_iou(a, b, pixel=1)[0], [66 / 176, 0, 1 / 121], rtol=1e-6)
    np.testing.assert_allclose(box_iou(a, b, pixel=1)[1], [1 / 121, 0, 1], rtol=1e-6)
    assert box_iou(a[:0], b).shape == (0, 3)


def test_growing_clipping_and_extent() -> None:
    np.testing.assert_allclose(grow_boxes(np.array([[0, 0, 10, 20]]), 0.1), [[-1, -2, 11, 22]])
    np.testing.assert_allclose(clip_boxes(np.array([[-5, 3, 700, 500]]), (480, 640)), [[0, 3, 639, 479]])
    np.testing.assert_allclose(pose_extent(np.array([[[1, 5], [3, 2]]])), [[1, 2, 3, 5]])
    assert pose_extent(np.zeros((0, 13, 2))).shape == (0, 4)
