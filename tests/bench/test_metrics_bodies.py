"""Errors in space: alignment, bones, shares and areas, and who is matched with whom."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import spatial

from wholebody.benchmarks.metrics.bones import with_true_bones
from wholebody.benchmarks.metrics.joint_errors import area_under_curve, joint_errors, known, within
from wholebody.benchmarks.metrics.procrustes import procrustes
from wholebody.benchmarks.metrics.same_person import match_as_mupots, match_by_joints, true_order
from wholebody.benchmarks.metrics.space import aligned
from wholebody.benchmarks.metrics.tallies import tallied

Doubles = NDArray[np.float64]
NAN = float("nan")


def poses(seed: int, people: int = 3, joints: int = 13, noise: float = 0.1) -> tuple[Doubles, Doubles]:
    """(N, J, 3) poses and the same turned, scaled, moved and with noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(people, joints, 3))
    turn = np.linalg.qr(rng.normal(size=(people, 3, 3)))[0]
    turn[np.linalg.det(turn) < 0, :, 0] *= -1
    scale, shift = rng.uniform(0.5, 2, (people, 1, 1)), rng.normal(size=(people, 1, 3))
    return scale * (truth @ turn) + shift + noise * rng.normal(size=truth.shape), truth


@given(seed=st.integers(0, 10**6))
def test_procrustes_is_umeyama_of_opencv(seed: int) -> None:
    predicted, truth = poses(seed)
    placed = procrustes(predicted, truth)
    for ours, source, target in zip(placed, predicted, truth, strict=True):
        transform, scale = cv2.estimateAffine3D(source, target, force_rotation=True)
        turn = np.asarray(transform)[:, :3]
        mean = source.mean(axis=0)
        theirs = target.mean(axis=0) + scale * (source - mean) @ turn.T
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_procrustes_leaves_what_scipy_leaves() -> None:
    predicted, truth = poses(0, noise=0.05)
    placed = procrustes(predicted, truth)
    for ours, source, target in zip(placed, predicted, truth, strict=True):
        _, _, disparity = spatial.procrustes(target, source)
        left = ((ours - target) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum()
        assert left == pytest.approx(disparity)


def test_procrustes_does_not_mirror() -> None:
    truth = np.random.default_rng(0).normal(size=(1, 13, 3))
    mirrored = truth * [-1, 1, 1]
    assert joint_errors(procrustes(mirrored, truth), truth).mean() > 100
    _, _, disparity = spatial.procrustes(truth[0], mirrored[0])
    assert disparity == pytest.approx(0, abs=1e-12)  # scipy does


def test_procrustes_without_a_joint_is_that_of_the_others() -> None:
    predicted, truth = poses(1)
    some = [0, 1, 2, 5, 6, 7, 8]
    expected = procrustes(predicted[:, some], truth[:, some])
    for gaps in ({"predicted"}, {"truth"}, {"predicted", "truth"}):
        ours, theirs = predicted.copy(), truth.copy()
        others = [joint for joint in range(13) if joint not in some]
        for array, name in ((ours, "predicted"), (theirs, "truth")):
            if name in gaps:
                array[:, others] = NAN
        placed = procrustes(ours, theirs)
        np.testing.assert_allclose(placed[:, some], expected)
        assert known(placed)[:, others].all() == ("predicted" not in gaps)


def test_procrustes_of_nobody_and_of_nothing() -> None:
    assert procrustes(np.zeros((0, 13, 3)), np.zeros((0, 13, 3))).shape == (0, 13, 3)
    predicted, truth = poses(2, people=2)
    predicted[0] = NAN
    placed = procrustes(predicted, truth)
    assert np.isnan(placed[0]).all()
    np.testing.assert_allclose(placed[1:], procrustes(predicted[1:], truth[1:]))
    point = procrustes(np.ones((1, 13, 3)), truth[:1])
    np.testing.assert_allclose(point, np.broadcast_to(truth[:1].mean(axis=1, keepdims=True), point.shape))


def test_procrustes_without_gaps_is_the_other_alignment() -> None:
    predicted, truth = poses(3)
    np.testing.assert_allclose(procrustes(predicted, truth), aligned(predicted, truth))


def test_errors_by_hand() -> None:
    truth = np.zeros((1, 4, 3))
    predicted = np.array([[[0.3, 0.4, 0], [0, 0, 0.149], [0, 0.15, 0], [NAN, 0, 0]]])
    errors = joint_errors(predicted, truth)
    np.testing.assert_allclose(errors, [[500, 149, 150, NAN]])
    labelled = np.array([[True, True, True, True]])
    np.testing.assert_array_equal(within(errors, labelled), [[0, 1, 0, 0]])  # 150 mm is not under 150 mm
    np.testing.assert_array_equal(within(errors, ~labelled), [[NAN] * 4])
    assert np.isnan(joint_errors(truth * NAN, truth)).all()


@given(st.lists(st.floats(0, 300), min_size=1, max_size=30))
def test_area_is_the_mean_of_the_curve(errors: list[float]) -> None:
    values = np.array([errors])
    curve = [np.mean([error < limit for error in errors]) for limit in range(0, 151, 5)]
    assert area_under_curve(values, values >= 0).mean() == pytest.approx(np.mean(curve))


def test_area_by_hand() -> None:
    errors = np.array([[0.0, 5.0, 149.9, 150.0, NAN]])
    # Of 31 limits: all but 0; 10 and more; 150; none; none.
    np.testing.assert_allclose(area_under_curve(errors, errors == errors)[0, :4] * 31, [30, 29, 1, 0])
    np.testing.assert_array_equal(area_under_curve(errors, np.ones((1, 5), bool))[0, 4], 0)


def bones_in_loops(predicted: Doubles, truth: Doubles, parents: list[int], order: list[int]) -> Doubles:
    """As the publishers of MuPoTS-3D: joint by joint from the root outwards."""
    placed = predicted.copy()
    for joint in order:
        parent = parents[joint]
        length = np.linalg.norm(truth[joint] - truth[parent])
        bone = predicted[joint] - predicted[parent]
        placed[joint] = placed[parent] + bone * length / np.linalg.norm(bone)
    return placed


@given(seed=st.integers(0, 10**6))
def test_bones_are_those_of_loops(seed: int) -> None:
    predicted, truth = poses(seed, joints=6)
    parents, order = [1, 5, 1, 2, 5, 5], [1, 0, 2, 3, 4]
    expected = [bones_in_loops(p, t, parents, order) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(with_true_bones(predicted, truth, parents), expected)


def test_bones_of_nobody_of_no_length_and_of_a_gap() -> None:
    parents = [0, 0, 1, 0]
    assert with_true_bones(np.zeros((0, 4, 3)), np.zeros((0, 4, 3)), parents).shape == (0, 4, 3)
    predicted, truth = poses(0, people=1, joints=4)
    predicted[0, 1] = predicted[0, 0]  # a bone of no direction keeps its end
    placed = with_true_bones(predicted, truth, parents)
    np.testing.assert_allclose(placed[0, 1], predicted[0, 0])
    predicted[0, 1] = NAN
    placed = with_true_bones(predicted, truth, parents)
    assert known(placed).tolist() == [[True, False, False, True]]


def test_matching_as_mupots() -> None:
    truth = np.zeros((2, 3, 2))
    truth[1] += 30
    predicted = np.zeros((3, 3, 2))
    predicted[0] += 1000  # of nobody
    predicted[1, :2] += 39.9  # two joints near the first, three near the second
    predicted[2] += [[20, 20], [20, 20], [40, 0]]  # two near the first: the tie goes to prediction 1
    assert match_as_mupots(predicted, truth).tolist() == [1, 2]
    predicted[1, 2] = NAN
    assert match_as_mupots(predicted, truth).tolist() == [1, 2]
    assert match_as_mupots(predicted[:1], truth).tolist() == [-1, -1]
    assert match_as_mupots(np.zeros((0, 3, 2)), truth).tolist() == [-1, -1]
    assert match_as_mupots(predicted, np.zeros((0, 3, 2))).tolist() == []
    assert match_as_mupots(predicted * NAN, truth).tolist() == [-1, -1]


def test_matching_by_joints() -> None:
    truth = np.zeros((1, 4, 2))
    truth[0, 3] = NAN
    boxes = np.array([[-50.0, -10, 50, 10]])  # near is 20 pixels
    predicted = np.array([[[0, 20], [20, 0], [99, 0], [0, 0]], [[0, 0], [0, 21], [NAN, 0], [0, 0]]])
    score = np.array([0.1, 0.9])
    assert match_by_joints(predicted, score, truth, boxes).tolist() == [0]  # 2 of 3, though less sure
    assert match_by_joints(predicted[1:], score[1:], truth, boxes).tolist() == [-1]  # 1 of 3
    assert match_by_joints(predicted[:0], score[:0], truth, boxes).tolist() == [-1]
    assert match_by_joints(predicted, score, truth[:0], boxes[:0]).tolist() == []
    assert match_by_joints(predicted, score, truth * NAN, boxes).tolist() == [-1]


def test_order_of_truths() -> None:
    assert true_order(np.array([2, -1, 0]), 4).tolist() == [2, -1, 0, -1]
    assert true_order(np.array([], np.intp), 2).tolist() == [-1, -1]


def test_tallies() -> None:
    sums, counts = tallied(np.array([[1.0, NAN], [2.0, 4.0]]), 1, 3)
    assert sums.tolist() == [0, 7, 0]
    assert counts.tolist() == [0, 3, 0]
    assert [array.tolist() for array in tallied(np.zeros((0, 4)))] == [[0], [0]]
