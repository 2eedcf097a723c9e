"""Who runs when: workers that write down what they are asked, and a clock that they move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from wholebody.benchmarks.energy import Meter
from wholebody.benchmarks.latency import turns
from wholebody.benchmarks.latency.contenders import Contender, Network
from wholebody.benchmarks.latency.scenes import Scene
from wholebody.benchmarks.latency.self_check import SHORTEST_MS, cost
from wholebody.benchmarks.latency.turns import BLOCK, FRAMES, LEAST_ROUNDS, take_turns
from wholebody.benchmarks.latency.worker import quiet, warm_up
from wholebody.runtime.errors import BackendError


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "time", made)
    return made


class FakeWorker:
    """Takes so many milliseconds a frame; fails at its block number `fails_at`."""

    def __init__(
        self, name: str, diary: list[tuple[Any, ...]], clock: Clock, ms: float, fails_at: int | None = None
    ) -> None:
        self.name, self.diary, self.clock, self.ms, self.fails_at = name, diary, clock, ms, fails_at
        self.blocks = 0

    def ask(self, name: str, /, *arguments: Any) -> Any:
        if name == "prepare":
            if self.fails_at == -1:
                raise BackendError(f"{self.name} cannot")
            return 12, True, self.ms
        first, count = arguments
        if self.blocks == self.fails_at:
            raise BackendError(f"{self.name} fell over")
        self.blocks += 1
        self.diary.append((self.name, first, count))
        self.clock.now += (count + 1) * self.ms / 1e3
        return ["network", "total"], np.tile([self.ms - 1, self.ms], (count, 1))


def contender(name: str) -> Contender:
    return Contender(Network(Path(f"{name}.onnx"), "onnx", cast("Any", None), name), "auto")


def scene(pace_hz: float | None = None) -> Scene:
    return Scene("pictures", (np.zeros((4, 4, 3), np.uint8),), None, pace_hz=pace_hz)


def run(
    workers: list[FakeWorker], seconds: float = 10.0, pace_hz: float | None = None, **options: Any
) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    named = {contender(worker.name): worker for worker in workers}
    meters: dict[Contender, Any] = dict.fromkeys(named, options["meter"]) if "meter" in options else {}
    timed = take_turns(
        named, scene(pace_hz), seconds, meters=meters, device_memory=options.get("memory", lambda c: None),
        tell=told.append,
    )  # fmt: skip
    return {c.network.path.stem: t for c, t in timed.items()}, told


def test_turns_are_blocks_of_the_same_frames(clock: Clock) -> None:
    diary: list[tuple[Any, ...]] = []
    timed, told = run([FakeWorker("a", diary, clock, 5), FakeWorker("b", diary, clock, 10)])
    assert diary[:4] == [("a", 0, BLOCK), ("b", 0, BLOCK), ("a", BLOCK, BLOCK), ("b", BLOCK, BLOCK)]
    assert timed["a"].of("total").shape == timed["b"].of("total").shape == (FRAMES // BLOCK, BLOCK)
    assert (timed["a"].of("network") == 4).all()
    assert timed["b"].warm == (12, True)
    assert told == []


def test_slow_ones_get_short_blocks_and_five_rounds(clock: Clock) -> None:
    timed, _ = run([FakeWorker("a", [], clock, 4000), FakeWorker("b", [], clock, 5)], seconds=2)
    assert timed["a"].of("total").shape == (LEAST_ROUNDS, 1)


def test_time_ends_it_before_200_frames(clock: Clock) -> None:
    timed, _ = run([FakeWorker("a", [], clock, 100)], seconds=3)
    assert LEAST_ROUNDS < len(timed["a"].rounds) < FRAMES
    assert 3 <= clock.now < 3.5


def test_paced_frames_take_as_long_as_they_are_apart(clock: Clock) -> None:
    timed, _ = run([FakeWorker("a", [], clock, 1)], seconds=10, pace_hz=1)
    assert timed["a"].of("total").shape[1] == 1


def test_whoever_falls_over_is_told_of_and_the_others_go_on(clock: Clock) -> None:
    workers = [
        FakeWorker("a", [], clock, 5),
        FakeWorker("b", [], clock, 5, 3),
        FakeWorker("c", [], clock, 5, -1),
    ]
    timed, told = run(workers)
    assert list(timed) == ["a"]
    assert len(timed["a"].rounds) == FRAMES // BLOCK
    assert told == ["pictures: c cannot; left out", "pictures: b fell over; left out"]


def test_nobody_is_left(clock: Clock) -> None:
    timed, told = run([FakeWorker("a", [], clock, 5, 0)])
    assert (timed, len(told)) == ({}, 1)


def test_energy_and_memory_are_of_the_blocks(clock: Clock) -> None:
    """Two watts, whoever works."""
    meter = cast("Meter", SimpleNamespace(source="a meter", joules=lambda: 2 * clock.now))
    used: Iterator[float] = iter([10.0, 30.0, 20.0] + [0.0] * 1000)
    timed, _ = run([FakeWorker("a", [], clock, 5)], meter=meter, memory=lambda c: next(used))
    assert timed["a"].joules == pytest.approx(2 * timed["a"].seconds)
    assert timed["a"].joules / timed["a"].frames == pytest.approx(0.01)
    assert timed["a"].device_peak_mb == 30


# --- warm-up ------------------------------------------------------------------------------------------------


def test_warm_when_two_windows_agree() -> None:
    times = [900.0, 90, 50, 30, 20, *[10] * 30]
    assert warm_up(lambda i: times[i], 3, 10) == (13, True, 10)


def test_every_picture_is_shown_before() -> None:
    assert warm_up(lambda i: 10.0, 23, 10) == (23, True, 10)


def test_what_never_settles_is_given_up() -> None:
    frames, stable, _ = warm_up(lambda i: 100.0 * 1.2**i, 1, 2)
    assert not stable
    assert frames == 21


def test_waiting_for_a_compiler_is_no_reason_to_give_up() -> None:
    frames, stable, typical = warm_up(lambda i: 60_000.0 if i < 2 else 10.0, 5, 1)
    assert (frames, stable, typical) == (10, True, 10.0)


def test_the_harness_costs_less_than_a_hundredth_of_a_short_frame() -> None:
    assert min(cost() for _ in range(3)) < SHORTEST_MS / 100


def test_a_process_at_rest_is_quiet_at_once() -> None:
    import time

    began = time.perf_counter()
    quiet()
    assert time.perf_counter() - began < 1
