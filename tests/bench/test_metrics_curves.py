"""Areas under curves of right shares, against loops over thresholds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wholebody.benchmarks.metrics.curves import area_under_curve, area_under_pck, mean_pck

ERRORS = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 80) | st.just(np.inf))


def test_no_errors() -> None:
    nothing = np.zeros((0, 21))
    assert area_under_pck(nothing, np.linspace(0, 50, 20)).shape == (0, 21)
    assert mean_pck(nothing, np.arange(20)).shape == (0, 21)
    assert area_under_curve(nothing, 0.08).shape == (0, 21)


def test_the_ends() -> None:
    thresholds = np.linspace(0, 50, 100)
    assert area_under_pck(np.array([0.0, 50, 50.1, np.inf]), thresholds) == pytest.approx([1, 0.5 / 99, 0, 0])
    assert area_under_curve(np.array([0, 0.02, 0.08, np.inf]), 0.08) == pytest.approx([1, 0.75, 0, 0])


@given(ERRORS, st.sampled_from([(0, 20), (0, 100), (20, 13)]))
def test_hand3d_and_freihand(errors: np.ndarray, asked: tuple[int, int]) -> None:
    """The curve of all errors by the trapezoidal rule, over that of a curve that is 1 everywhere."""
    low, steps = asked
    thresholds = np.linspace(low, 50, steps)
    curve = [np.mean([error <= threshold for error in errors]) for threshold in thresholds]
    strips = zip(pairwise(curve), pairwise(thresholds), strict=True)
    area = sum((a + b) / 2 * (t - s) for (a, b), (s, t) in strips)
    assert area_under_pck(errors, thresholds).mean() == pytest.approx(area / (50 - low))


@given(ERRORS)
def test_mmpose(errors: np.ndarray) -> None:
    """The mean of 20 PCK, errors over 30 pixels strictly under 0, 1/20 … 19/20."""
    pcks = [np.mean(errors / 30 < i / 20) for i in range(20)]
    at_a_threshold = np.isclose(errors[:, None], 1.5 * np.arange(20), atol=1e-9).any()
    if not at_a_threshold:
        assert mean_pck(errors, np.arange(20) * 30 / 20).mean() == pytest.approx(np.mean(pcks))


def test_mmpose_is_strict() -> None:
    assert mean_pck(np.array([1.5, 1.4999, 0.0]), np.arange(20) * 1.5).tolist() == [0.9, 0.95, 0.95]


@given(ERRORS)
def test_a_fine_curve_is_the_exact_area(errors: np.ndarray) -> None:
    fine = area_under_pck(errors, np.linspace(0, 50, 5001))
    assert area_under_curve(errors, 50.0) == pytest.approx(fine, abs=2e-4)
