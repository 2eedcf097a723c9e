"""Ratios and percentiles of rounds: whether their intervals keep what they promise, on made-up machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.interleave import Ratio, ratio_of_medians
from wholebody.benchmarks.latency import turns
from wholebody.benchmarks.latency.contenders import Contender, Network
from wholebody.benchmarks.latency.figures import FIGURES, figures
from wholebody.benchmarks.latency.scenes import Scene

Times = NDArray[np.float64]
TRIALS = 100


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
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3 / 1.0151, 3 * 1.0151), rel=1e-4)
    assert str(ratio) == "3.00 (95 %: 2.96 to 3.05)"


class SharedMachine:
    """A clock, and how busy others keep the machine: slow hours, and blocks that somebody else hits."""

    def __init__(self, seed: int) -> None:
        self.now, self.weather = 0.0, 0.0
        self.rng = np.random.default_rng(seed)

    def perf_counter(self) -> float:
        return self.now

    def block(self, ms: float, count: int) -> Times:
        """Milliseconds of so many frames, which take `ms` on an idle machine."""
        rng = self.rng
        self.weather = 0.9 * self.weather + rng.normal(0, 0.05)
        times = ms * np.exp(self.weather + rng.normal(0, 0.03, count))
        if rng.random() < 0.2:
            times *= rng.uniform(1.2, 2, count)
        self.now += times.sum() / 1e3
        return np.asarray(times)


class Simulated:
    """A worker on it."""

    def __init__(self, machine: SharedMachine, ms: float) -> None:
        self.machine, self.ms = machine, ms

    def ask(self, name: str, /, *arguments: Any) -> Any:
        if name == "prepare":
            return 10, True, self.ms
        return ["network", "total"], np.tile(self.machine.block(self.ms, arguments[1])[:, None], 2)


def measured(monkeypatch: pytest.MonkeyPatch, seed: int, slower: float) -> Ratio:
    """The ratio that the harness finds between 10 ms and `slower` times as many."""
    machine = SharedMachine(seed)
    monkeypatch.setattr(turns, "time", machine)
    contenders = [Contender(Network(Path(name), "onnx", cast("Any", None), name), "auto") for name in "ab"]
    workers = {c: Simulated(machine, ms) for c, ms in zip(contenders, (10, 10 * slower), strict=True)}
    scene = Scene("", (np.zeros((1, 1, 3), np.uint8),), None)
    timed = turns.take_turns(workers, scene, 10, meters={}, device_memory=lambda c: None, tell=pytest.fail)
    fast, slow = (timed[c].of("total") for c in contenders)
    return ratio_of_medians(slow, fast)


def test_the_same_thing_twice_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = [measured(monkeypatch, seed, 1) for seed in range(TRIALS)]
    assert np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios]) >= 0.93
    assert np.median([ratio.high - ratio.low for ratio in ratios]) < 0.08  # and not by knowing nothing


def test_ten_percent_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = [measured(monkeypatch, seed, 1.1) for seed in range(TRIALS)]
    assert np.mean([ratio.low > 1 for ratio in ratios]) >= 0.95
    assert np.median([ratio.value for ratio in ratios]) == pytest.approx(1.1, abs=0.01)


def test_a_scheduler_that_favours_one_for_a_while_is_no_evidence() -> None:
    """Rounds next to each other resemble each other: a bootstrap over rounds would be sure of nothing."""
    held = 0
    for seed in range(TRIALS):
        rng, favour = np.random.default_rng(seed), np.zeros(80)
        for i in range(1, len(favour)):
            favour[i] = 0.6 * favour[i - 1] + rng.normal(0, 0.2)
        fast = rng.lognormal(np.log(10), 0.05, (80, 5))
        ratio = ratio_of_medians(fast * np.exp(favour)[:, None], fast)
        held += ratio.low <= 1 <= ratio.high
    assert held / TRIALS >= 0.9


def test_one_round_has_no_interval() -> None:
    with pytest.raises(ValueError, match="1 rounds"):
        ratio_of_medians(np.ones((1, 5)), np.ones((1, 5)))


def test_a_machine_that_slows_down_slows_both() -> None:
    """What turns are for: one after the other, the second would seem twice as slow."""
    rng = np.random.default_rng(0)
    drift = np.linspace(1, 2, 80)[:, None]
    times = 10 * drift * rng.lognormal(0, 0.02, (80, 5))
    ratio = ratio_of_medians(times[0::2], times[1::2])
    assert ratio.value == pytest.approx(1, abs=0.03)
