"""The rounds of one scene: in each of them every contender does one block of the same frames, in turn.

Only one process works at a time, and hands over when its threads have come to rest, so that a machine that
slows down slows all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.energy import Meter
from wholebody.benchmarks.interleave import ratio_of_medians
from wholebody.benchmarks.latency.contenders import Contender
from wholebody.benchmarks.latency.scenes import Scene
from wholebody.runtime.errors import WholebodyError

__all__ = ["Asked", "Timed", "take_turns"]

Milliseconds = NDArray[np.float64]

FRAMES, ROUNDS, LEAST_ROUNDS = 200, 40, 5
PRECISE = 0.03  # reach of a ratio's interval to each side
BLOCK = FRAMES // ROUNDS


class Asked(Protocol):
    """A worker process, or a stand-in."""

    def ask(self, name: str, /, *arguments: object) -> Any: ...


@dataclass(eq=False)
class Timed:
    """What one contender did.

    warm    frames until it was stable, and whether it became so
    rounds  milliseconds (frames, stages) of each round, in the order of `stages`
    joules  of all blocks, and seconds and frames that they took; None without a meter
    """

    warm: tuple[int, bool]
    stages: list[str] = field(default_factory=list)
    rounds: list[Milliseconds] = field(default_factory=list)
    joules: float | None = None
    seconds: float = 0.0
    frames: int = 0
    device_peak_mb: float | None = None

    def of(self, stage: str) -> Milliseconds:
        """(rounds, frames) of a stage."""
        return np.stack([times[:, self.stages.index(stage)] for times in self.rounds])


def take_turns(
    workers: Mapping[Contender, Asked],
    scene: Scene,
    seconds: float,
    *,
    meters: Mapping[Contender, Meter],
    device_memory: Callable[[Contender], float | None],
    tell: Callable[[str], None],
) -> dict[Contender, Timed]:
    """Let everyone get warm, then go round until it is known how they compare.

    That is with 200 frames each and ratios to the first one within 3 %, or when each had so many seconds.
    Five rounds at least, of one frame or more. Whoever fails is told of and left out.
    """
    timed: dict[Contender, Timed] = {}
    slowest = 1e3 / scene.pace_hz if scene.pace_hz else 0.0
    for contender, worker in workers.items():
        try:
            frames, stable, typical = worker.ask("prepare", scene, seconds)
        except WholebodyError as error:
            tell(f"{scene.title}: {error}; left out")
            continue
        timed[contender] = Timed((frames, stable))
        slowest = max(slowest, typical)
    block = int(np.clip(seconds * 1e3 / ROUNDS / max(slowest, 1e-3) - 1, 1, BLOCK))
    began, done = time.perf_counter(), 0
    while timed and not _enough(list(timed.values()), time.perf_counter() - began, seconds * len(timed)):
        for contender in list(timed):
            try:
                _block(timed[contender], workers[contender], done * block, block, meters.get(contender))
            except WholebodyError as error:
                tell(f"{scene.title}: {error}; left out")
                del timed[contender]
                continue
            used = device_memory(contender)
            if used is not None:
                timed[contender].device_peak_mb = max(used, timed[contender].device_peak_mb or 0.0)
        done += 1
    return timed


def _enough(timed: Sequence[Timed], elapsed: float, seconds: float) -> bool:
    first, *others = timed
    if len(first.rounds) < LEAST_ROUNDS:
        return False
    if elapsed >= seconds:
        return True
    return len(first.rounds) * len(first.rounds[0]) >= FRAMES and all(
        _precise(first, other) for other in others
    )


def _precise(one: Timed, other: Timed) -> bool:
    slow, fast = one.of("total"), other.of("total")
    if min(slow.min(), fast.min()) <= 0:
        return True
    ratio = ratio_of_medians(slow, fast)
    return ratio.high - ratio.low <= 2 * PRECISE * ratio.value


def _block(timed: Timed, worker: Asked, first: int, count: int, meter: Meter | None) -> None:
    before, began = (meter.joules() if meter else 0.0), time.perf_counter()
    timed.stages, times = worker.ask("block", first, count)
    if meter is not None:
        timed.joules = (timed.joules or 0.0) + meter.joules() - before
    timed.seconds += time.perf_counter() - began
    timed.frames += count + 1
    timed.rounds.append(times)
