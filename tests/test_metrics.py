"""Every metric against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.benchmarks.metrics.average_precision import average_precision
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.pixels import landmark_size, mean_distance, nme, pck
from wholebody.benchmarks.metrics.space import aligned, centred, mpjpe, pa_mpjpe, pck3d
from wholebody.runtime.skeletons import DOPE_BODY


def poses(n: int, joints: int = 3, dimensions: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (n, joints, dimensions)).astype(np.float32)


def seen(n: int, joints: int = 3) -> np.ndarray:
    return np.ones((n, joints), np.bool_)


# --- nobody -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "g"), [(0, 0), (2, 0), (0, 2)])
def test_nobody_is_like_nobody(p: int, g: int) -> None:
    assert oks(poses(p), poses(g), seen(g), np.ones(g), (0.1,) * 3).shape == (p, g)
    assert mean_distance(poses(p), poses(g), seen(g)).shape == (p, g)
    assert match(np.zeros((p, g)), np.ones(p), -1).tolist() == [UNMATCHED] * p


def test_nobody_to_measure() -> None:
    none2d, none3d = poses(0), poses(0, dimensions=3)
    assert math.isnan(pck(none2d, none2d, seen(0), np.zeros(0), 0.1))
    assert math.isnan(nme(none2d, none2d))
    assert math.isnan(average_precision(np.zeros(0), np.zeros(0, np.bool_), 0))
    assert centred(none3d).shape == aligned(none3d, none3d).shape == (0, 3, 3)
    assert all(math.isnan(metric(none3d, none3d)) for metric in (mpjpe, pa_mpjpe, pck3d))


# --- OKS ----------------------------------------------------------------------------------------------------


def test_oks_by_hand() -> None:
    # 2 · area · (2σ)²: 2 · 50 · 1 = 100 for the first joint, 2 · 50 · 4 = 400 for the second
    truth = np.zeros((1, 2, 2))
    predicted = np.array([[[10, 0], [12, 16]]])
    similarity = oks(predicted, truth, seen(1, 2), np.array([50]), (0.5, 1.0))
    assert similarity[0, 0] == pytest.approx((math.exp(-1) + math.exp(-1)) / 2)
    assert oks(truth, truth, seen(1, 2), np.array([50]), (0.5, 1.0))[0, 0] == 1


def test_oks_is_over_visible_joints() -> None:
    predicted = np.array([[[10.0, 0], [999, 999]]])
    visible = np.array([[True, False]])
    assert oks(predicted, np.zeros((1, 2, 2)), visible, np.array([50]), (0.5, 1.0)) == pytest.approx(
        math.exp(-1)
    )
    assert oks(predicted, np.zeros((1, 2, 2)), ~seen(1, 2), np.array([50]), (0.5, 1.0)) == 0


def test_a_joint_not_predicted_adds_nothing() -> None:
    predicted = np.array([[[0.0, 0], [np.nan, np.nan]]])
    assert oks(predicted, np.zeros((1, 2, 2)), seen(1, 2), np.array([50]), (0.5, 1.0)) == 0.5


# --- matching and average precision -------------------------------------------------------------------------


def test_the_best_score_chooses_first() -> None:
    similarity = np.array([[0.9, 0.6], [0.95, 0.2], [0.1, 0.7]])
    assert match(similarity, np.array([0.9, 0.8, 0.7]), 0.5).tolist() == [0, UNMATCHED, 1]
    assert match(similarity, np.array([0.7, 0.8, 0.6]), 0.5).tolist() == [1, 0, UNMATCHED]


def test_the_threshold_itself_matches() -> None:
    assert match(np.array([[0.5]]), np.ones(1), 0.5).tolist() == [0]
    assert match(np.array([[0.49]]), np.ones(1), 0.5).tolist() == [UNMATCHED]


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1000))
def test_matching_is_one_to_one(p: int, g: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(0, 1, (p, g))
    matched = match(similarity, rng.uniform(0, 1, p), 0.4)
    taken = matched[matched != UNMATCHED]
    assert len(set(taken)) == len(taken)
    free = np.setdiff1d(np.arange(g), taken)
    assert (similarity[np.flatnonzero(matched == UNMATCHED)][:, free] < 0.4).all()


def test_average_precision_by_hand() -> None:
    score, correct = np.array([0.7, 0.9, 0.8]), np.array([True, True, False])
    # precision 1 up to recall 0.5 (51 of the 101 recalls), then 2/3
    assert average_precision(score, correct, 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    # of four truths two are never found: recalls above 0.5 have precision 0
    assert average_precision(score, correct, 4) == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert average_precision(score, ~correct, 1) == pytest.approx(0.5)
    assert average_precision(np.zeros(0), np.zeros(0, np.bool_), 3) == 0


def test_average_precision_is_that_of_pycocotools() -> None:
    """The expected numbers are pycocotools 2.0.11's for these people, at OKS 0.5, 0.75 and on the whole."""
    rng, joints = np.random.default_rng(3), 13
    levels = np.arange(0.5, 1, 0.05).round(2)
    scores: list[np.ndarray] = []
    correct: list[list[np.ndarray]] = [[] for _ in levels]
    total = 0
    for _ in range(59):
        g, p = rng.integers(0, 4), rng.integers(0, 5)
        truth = rng.uniform(50, 350, (g, 1, 2)) + rng.normal(0, 40, (g, joints, 2))
        visible = rng.random((g, joints)) < 0.7
        visible[:, 0] = True
        area = rng.uniform(2000, 30000, g)
        if g:
            chosen = truth[rng.integers(g, size=p)]
            predicted = chosen + rng.normal(0, 1, (p, joints, 2)) * rng.uniform(0, 25, (p, 1, 1))
        else:
            predicted = rng.uniform(0, 400, (p, joints, 2))
        score = rng.random(p).round(2) + rng.random(p) * 1e-6
        similarity = oks(predicted, truth, visible, area, DOPE_BODY.sigmas)
        scores.append(score)
        for level, found in zip(levels, correct, strict=True):
            found.append(match(similarity, score, level) != UNMATCHED)
        total += int(g)
    ours = [average_precision(np.concatenate(scores), np.concatenate(c), total) for c in correct]
    assert [np.mean(ours), ours[0], ours[5]] == pytest.approx([0.15763263, 0.24633323, 0.15302012], abs=1e-8)


# --- in the picture -----------------------------------------------------------------------------------------


def test_mean_distance_by_hand() -> None:
    truth = np.zeros((2, 2, 2))
    predicted = np.array([[[3.0, 4], [0, 1]]])
    visible = np.array([[True, True], [True, False]])
    assert mean_distance(predicted, truth, visible).tolist() == [[3.0, 5.0]]


def test_mean_distance_is_infinite_where_nothing_can_be_compared() -> None:
    predicted = np.array([[[3.0, 4], [np.nan, np.nan]]])
    visible = np.array([[True, True], [True, False], [False, False]])
    assert mean_distance(predicted, np.zeros((3, 2, 2)), visible).tolist() == [[math.inf, 5.0, math.inf]]


def test_pck_by_hand() -> None:
    truth = np.zeros((2, 3, 2))
    predicted = np.array([[[10, 0], [10.1, 0], [99, 0]], [[5, 0], [0, 5], [0, 5.1]]])
    visible = np.array([[True, True, False], [True, True, True]])
    assert pck(predicted, truth, visible, np.array([100, 50]), 0.1) == pytest.approx(3 / 5)


def test_nme_by_hand() -> None:
    square, strip = [[0, 0], [8, 0], [0, 8]], [[0, 0], [2, 0], [0, 8]]  # √(w·h) is 8 and 4
    truth = np.array([square, strip], np.float64)
    predicted = truth + np.array([[[2, 0]], [[0, 3]]])
    assert landmark_size(truth).tolist() == [8, 4]
    assert nme(predicted, truth) == pytest.approx((2 / 8 + 3 / 4) / 2)


# --- in space -----------------------------------------------------------------------------------------------

TETRAHEDRON = np.array([[[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]]], np.float64)


def test_errors_in_space_by_hand() -> None:
    moved = TETRAHEDRON.copy()
    moved[0, 1, 0] += 0.1
    assert mpjpe(moved, TETRAHEDRON) == pytest.approx(25)  # 100 mm in one joint of four
    far = TETRAHEDRON + np.array([0.3, 0, 0.4])
    assert mpjpe(far, TETRAHEDRON) == pytest.approx(500)
    assert mpjpe(centred(far), centred(TETRAHEDRON)) == pytest.approx(0, abs=1e-9)


def test_pck3d_counts_joints_nearer_than_the_limit() -> None:
    moved = np.zeros((1, 4, 3))
    moved[0, :, 2] = 0, 0.125, 0.149, 0.5
    assert pck3d(moved, np.zeros((1, 4, 3))) == 0.75
    assert pck3d(moved, np.zeros((1, 4, 3)), 125) == 0.25  # the limit itself is too far


def test_the_root_may_be_some_joints() -> None:
    root = centred(TETRAHEDRON, (0, 1))
    assert root[0, :2].mean(axis=0).tolist() == [0, 0, 0]
    np.testing.assert_allclose(root - root[:, :1], TETRAHEDRON)
    assert centred(TETRAHEDRON).mean(axis=1) == pytest.approx(np.zeros((1, 3)))


def turn(angles: tuple[float, float, float]) -> np.ndarray:
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = math.cos(angle)
        step[i, j], step[j, i] = -math.sin(angle), math.sin(angle)
        rotation = rotation @ step
    return rotation


ANGLE = st.floats(-math.pi, math.pi)


@settings(max_examples=50)
@given(st.tuples(ANGLE, ANGLE, ANGLE), st.floats(0.1, 10), st.integers(0, 1000))
def test_alignment_undoes_every_similarity(
    angles: tuple[float, float, float], scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(2, 13, 3))
    predicted = scale * truth @ turn(angles) + rng.normal(size=3)
    assert pa_mpjpe(predicted, truth) == pytest.approx(0, abs=1e-6)


def test_alignment_does_not_mirror() -> None:
    assert pa_mpjpe(TETRAHEDRON * [-1, 1, 1], TETRAHEDRON) > 100
    # a flat pose can be turned over
    flat = TETRAHEDRON[:, :3]
    assert pa_mpjpe(flat * [-1, 1, 1], flat) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 1000))
def test_alignment_never_makes_it_worse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.normal(size=(2, 1, 5, 3))
    squared = ((aligned(predicted, truth) - truth) ** 2).sum()
    assert squared <= ((centred(predicted) - centred(truth)) ** 2).sum() + 1e-9


def test_a_pose_shrunk_to_a_point_is_put_at_the_middle() -> None:
    point = np.full((1, 4, 3), 7.0)
    np.testing.assert_allclose(aligned(point, TETRAHEDRON), np.tile(TETRAHEDRON.mean(axis=1), (1, 4, 1)))
