"""Ratios and percentiles of rounds: whether their intervals keep what they promise, on made-up machines."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.interleave import ratio_of_medians
from wholebody.benchmarks.latency.figures import FIGURES, figures

Times = NDArray[np.float64]
TRIALS = 60


def test_percentiles_by_hand() -> None:
    found = figures(np.arange(1, 101, dtype=float).reshape(10, 10))
    assert list(found) == list(FIGURES)
    assert [found[name][0] for name in FIGURES] == pytest.approx([50.5, 90.1, 95.05, 99.01, 100])
    for value, low, high in found.values():
        assert low is not None
        assert high is not None
        assert low <= value <= high  # type: ignore[operator]


def test_two_rounds_have_no_interval() -> None:
    assert figures(np.ones((2, 5)))["p50"] == [1.0, None, None]


def test_rounds_that_are_alike_leave_no_doubt() -> None:
    assert figures(np.full((8, 3), 7.0))["p99"] == [7.0, 7.0, 7.0]


def test_the_ratio_by_hand() -> None:
    fast = np.array([[1.0, 2, 3], [2, 2, 100]])
    ratio = ratio_of_medians(3 * fast, fast)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    assert str(ratio) == "3.00 (95 %: 3.00 to 3.00)"


def machine(seed: int, *, rounds: int = 40, frames: int = 5) -> tuple[Times, Times]:
    """The same student twice, in turns, on a machine that others use: slow hours, and blocks that are hit."""
    rng = np.random.default_rng(seed)
    weather = np.zeros(2 * rounds)
    for i in range(1, len(weather)):
        weather[i] = 0.9 * weather[i - 1] + rng.normal(0, 0.05)
    times = 10 * np.exp(weather[:, None] + rng.normal(0, 0.03, (2 * rounds, frames)))
    hit = rng.random(2 * rounds) < 0.15
    times[hit] *= rng.uniform(1.2, 2, (int(hit.sum()), frames))
    return times[0::2], times[1::2]


def test_the_same_thing_twice_is_alike() -> None:
    held = 0
    for seed in range(TRIALS):
        ratio = ratio_of_medians(*machine(seed))
        held += ratio.low <= 1 <= ratio.high
    assert held / TRIALS >= 0.9


def test_ten_percent_are_seen() -> None:
    seen = 0
    for seed in range(TRIALS):
        slow, fast = machine(seed)
        seen += ratio_of_medians(1.1 * slow, fast).low > 1
    assert seen / TRIALS >= 0.9


def test_a_machine_that_slows_down_slows_both() -> None:
    """What turns are for: one after the other, the second would seem twice as slow."""
    rng = np.random.default_rng(0)
    drift = np.linspace(1, 2, 80)[:, None]
    times = 10 * drift * rng.lognormal(0, 0.02, (80, 5))
    ratio = ratio_of_medians(times[0::2], times[1::2])
    assert ratio.value == pytest.approx(1, abs=0.03)
