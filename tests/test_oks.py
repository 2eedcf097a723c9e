"""Object keypoint similarity and the suppression of doubled people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.top_down_stages import plain_oks, plain_oks_nms
from wholebody.runtime.kernels.oks import oks, oks_nms
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133

K = 5
SIGMAS = (0.026, 0.05, 0.079, 0.1, 0.107)
ALL = np.ones((1, K), np.bool_)


def crowd(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints about three places, some unseen; scores; people's score with ties; areas, zero included."""
    place = rng.integers(0, 3, people)
    keypoints = place[:, None, None] * 40 + rng.normal(0, rng.choice([0.5, 5]), (people, K, 2)) + 300
    scores = rng.random((people, K)) * (rng.random((people, K)) < 0.7)
    keypoints[scores == 0] = np.nan
    score = rng.integers(0, 4, people) / 4
    areas = rng.choice([0, 400, 900], people)
    return (
        keypoints.astype(np.float32),
        scores.astype(np.float32),
        score.astype(np.float32),
        areas.astype(np.float32),
    )


def test_nobody() -> None:
    none, one = np.zeros((0, K, 2)), np.zeros((1, K, 2))
    assert oks(none, one, np.ones(1), SIGMAS, ALL).shape == (0, 1)
    assert oks(one, none, np.ones(0), SIGMAS, ALL[:0]).shape == (1, 0)
    kept = oks_nms(none, np.zeros((0, K)), np.zeros(0), np.zeros(0), SIGMAS)
    assert (kept.shape, kept.dtype) == ((0,), np.intp)


def test_by_hand() -> None:
    a, b = np.zeros((1, K, 2)), np.full((1, K, 2), 3.0)
    expected = np.exp(-18 / (2 * 100 * (2 * np.array(SIGMAS)) ** 2)).mean()
    np.testing.assert_allclose(oks(a, b, np.array([100]), SIGMAS, ALL), [[expected]], rtol=1e-5)
    assert oks(a, a, np.array([0]), SIGMAS, ALL) == 1
    assert oks(a, b, np.array([0]), SIGMAS, ALL) == 0


def test_invisible_keypoints_do_not_count_and_missing_ones_add_nothing() -> None:
    truth = np.zeros((1, K, 2))
    got = truth.copy()
    got[0, 0], got[0, 1] = 1e4, np.nan
    visible = np.array([[False, True, True, True, False]])
    np.testing.assert_allclose(oks(got, truth, np.array([100]), SIGMAS, visible), [[2 / 3]])
    assert oks(got, truth, np.array([100]), SIGMAS, ~ALL) == 0


@given(seed=st.integers(0, 10_000), n=st.integers(0, 6), m=st.integers(0, 6), pairs=st.booleans())
def test_matrix(seed: int, n: int, m: int, pairs: bool) -> None:
    """With areas and visibility of the second poses, or of every pair."""
    rng = np.random.default_rng(seed)
    (a, seen_a, _, area_a), (b, seen_b, _, area_b) = crowd(rng, n), crowd(rng, m)
    visible = (seen_a > 0)[:, None] & (seen_b > 0) if pairs else seen_b > 0
    areas = (area_a[:, None] + area_b) / 2 if pairs else area_b
    got = oks(a, b, areas, SIGMAS, visible)
    every = np.broadcast_to(visible, (n, m, K))
    area = np.broadcast_to(areas, (n, m))
    expected = [
        [plain_oks(a[i], b[j], float(area[i, j]), SIGMAS, every[i, j]) for j in range(m)] for i in range(n)
    ]
    np.testing.assert_allclose(got, np.reshape(expected, (n, m)), atol=1e-4)
    assert got.dtype == np.float32


# --- suppression ---


@given(
    seed=st.integers(0, 10_000), people=st.integers(0, 12), threshold=st.sampled_from([0.05, 0.31, 0.9, 1.0])
)
def test_the_plain_implementation_keeps_the_same(seed: int, people: int, threshold: float) -> None:
    keypoints, scores, score, areas = crowd(np.random.default_rng(seed), people)
    got = oks_nms(keypoints, scores, score, areas, SIGMAS, threshold)
    assert got.tolist() == plain_oks_nms(keypoints, scores, score, areas, SIGMAS, threshold)


def test_the_better_of_two_is_kept_and_the_best_comes_first() -> None:
    poses = np.zeros((4, 17, 2)) + np.array([0, 500, 0.5, 500.5])[:, None, None]
    score = np.array([0.4, 0.6, 0.5, 0.2])
    kept = oks_nms(poses, np.ones((4, 17)), score, np.full(4, 1e4), COCO17.sigmas)
    assert kept.tolist() == [1, 2]


def test_alike_by_the_threshold_itself_is_not_more_than_it() -> None:
    poses, everything = np.zeros((2, 17, 2)), np.ones((2, 17))
    for threshold, people in ((1.0, 2), (0.999, 1)):
        kept = oks_nms(poses, everything, np.array([2, 1]), np.ones(2), COCO17.sigmas, threshold)
        assert len(kept) == people


def test_only_what_both_have_seen_is_compared() -> None:
    """Legs that one box cut off do not hide that the arms are the same."""
    poses, scores = np.zeros((2, 133, 2)), np.ones((2, 133))
    poses[1, 11:] = np.nan
    scores[1, 11:] = 0
    kept = oks_nms(poses, scores, np.array([0.9, 0.8]), np.full(2, 1e4), WHOLEBODY133.sigmas)
    assert kept.tolist() == [0]


def test_people_without_a_keypoint_in_common_are_both_kept() -> None:
    scores = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert oks_nms(np.zeros((2, K, 2)), scores, np.ones(2), np.ones(2), SIGMAS).tolist() == [0, 1]


@pytest.mark.parametrize(("shift", "people"), [(0.0, 1), (3.0, 1), (30.0, 2), (500.0, 2)])
def test_the_mean_of_the_areas_says_how_near_is_near(shift: float, people: int) -> None:
    poses = np.stack([np.zeros((17, 2)), np.full((17, 2), shift)])
    kept = oks_nms(poses, np.ones((2, 17)), np.array([2, 1]), np.array([0, 8e4]), COCO17.sigmas)
    assert len(kept) == people
