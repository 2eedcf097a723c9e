"""Hands brought onto the true ones, against SciPy and cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from wholebody.benchmarks.metrics.hand_pose import from_joint, scaled_to, superposed, with_palm


def hands(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 21, 3)) * 0.05


def freihand(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """FreiHAND's alignment of one hand: both to unit size, SciPy's Procrustes, back to the truth's."""
    centre, size = truth.mean(axis=0), np.linalg.norm(truth - truth.mean(axis=0))
    ours = predicted - predicted.mean(axis=0)
    ours /= np.linalg.norm(ours)
    turn, scale = orthogonal_procrustes(ours, (truth - centre) / size)
    return ours @ turn * scale * size + centre


def test_no_hands() -> None:
    nobody = np.zeros((0, 21, 3))
    for moved in (
        with_palm(nobody), from_joint(nobody), scaled_to(nobody, nobody), superposed(nobody, nobody),
    ):  # fmt: skip
        assert moved.shape == (0, 21, 3)


def test_superposed_as_scipy() -> None:
    truth, predicted = hands(50), hands(50, seed=1)
    predicted[::2] = truth[::2] + 0.1 * predicted[::2]
    expected = [freihand(t, p) for t, p in zip(truth, predicted, strict=True)]
    assert superposed(predicted, truth) == pytest.approx(np.array(expected), abs=1e-12)


def test_superposed_takes_back_a_similarity_and_a_mirror() -> None:
    truth = hands(4)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    for mirror in ([1, 1, 1], [-1, 1, 1]):
        assert superposed(3 * (truth * mirror) @ turn + 7, truth) == pytest.approx(truth, abs=1e-9)


def test_a_joint_that_was_not_found_stays_so() -> None:
    truth = hands(2)
    predicted = 2 * truth
    predicted[0, 5], predicted[1] = np.nan, np.nan
    placed = superposed(predicted, truth)
    assert np.isnan(placed[0, 5]).all()
    assert np.delete(placed[0], 5, axis=0) == pytest.approx(np.delete(truth[0], 5, axis=0), abs=1e-9)
    assert np.isnan(placed[1]).all()


def test_scale_is_that_of_the_middle_fingers_first_bone() -> None:
    truth = hands(2)
    assert scaled_to(3.5 * truth, truth) == pytest.approx(truth)
    bent = truth.copy()
    bent[:, 20] += 1  # no joint of that bone
    assert scaled_to(2 * bent, truth) == pytest.approx(bent)


def test_a_bone_without_length_has_no_scale() -> None:
    assert not np.isfinite(scaled_to(np.zeros((1, 21, 3)), hands(1))).any()


def test_palm_and_root() -> None:
    hand = np.arange(63.0).reshape(1, 21, 3)
    palm = with_palm(hand)
    assert palm[0, 0].tolist() == [13.5, 14.5, 15.5]  # half-way between joints 0 and 9
    assert palm[:, 1:].tolist() == hand[:, 1:].tolist()
    assert hand[0, 0].tolist() == [0, 1, 2]
    assert from_joint(palm)[0, 0].tolist() == [0, 0, 0]
    assert from_joint(hand)[0, 20].tolist() == [60, 60, 60]
