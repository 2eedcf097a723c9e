"""Whether the harness can be believed: `python -m wholebody.benchmarks.latency.self_check STUDENT`.

The student runs beside itself, in two processes: the ratio's 95 % interval must hold 1. Then beside itself
with 10 % added to each of its frames: the interval must lie above 1. Both as often as told, for on a machine
that others use too no single run proves anything. At last, what the harness itself costs a frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from wholebody.benchmarks.interleave import Ratio, ratio_of_medians
from wholebody.benchmarks.latency.contenders import Contender, read_network
from wholebody.benchmarks.latency.crew import Crew
from wholebody.benchmarks.latency.scenes import Scene, crowd
from wholebody.benchmarks.latency.turns import take_turns
from wholebody.benchmarks.latency.worker import Worker
from wholebody.benchmarks.machine import Machine
from wholebody.runtime.cpu import cores

__all__ = ["Check", "check", "cost"]

SLOWED = 0.1
COUNTED = 20_000  # frames that do nothing
SHORTEST_MS = 5.0  # the frame of which the harness may cost a hundredth


@dataclass(frozen=True)
class Check:
    """Ratios of a student to itself, and of one that is slowed to itself."""

    alike: Sequence[Ratio]
    slowed: Sequence[Ratio]

    @property
    def held(self) -> int:
        """Intervals of `alike` that hold 1."""
        return sum(ratio.low <= 1 <= ratio.high for ratio in self.alike)

    @property
    def seen(self) -> int:
        """Intervals of `slowed` that lie above 1."""
        return sum(ratio.low > 1 for ratio in self.slowed)

    def __str__(self) -> str:
        return (
            f"alike: {self.held} of {len(self.alike)} intervals hold 1 ({_all(self.alike)})\n"
            f"slowed by {SLOWED:.0%}: {self.seen} of {len(self.slowed)} intervals lie above 1 "
            f"({_all(self.slowed)})"
        )


def _all(ratios: Sequence[Ratio]) -> str:
    return ", ".join(f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]" for ratio in ratios)


def check(student: Path, *, repeats: int, seconds: float, threads: int) -> Check:
    """Measure so often, for so many seconds each and contender at most. Raises WholebodyError."""
    scene = crowd(1)
    plain, same, slowed = (Contender(read_network(student, [], _unknown), "auto", s) for s in (0, 0, SLOWED))
    with Crew(None, threads, print) as crew:
        crew.members([plain, same, slowed], scene)
        alike, slower = [], []
        for _ in range(repeats):
            alike.append(_ratio(crew, scene, same, plain, seconds))
            slower.append(_ratio(crew, scene, slowed, plain, seconds))
    return Check(alike, slower)


def _ratio(crew: Crew, scene: Scene, slow: Contender, fast: Contender, seconds: float) -> Ratio:
    timed = take_turns(
        crew.members([fast, slow], scene), scene, seconds,
        meters={}, device_memory=crew.device_memory, tell=print,
    )  # fmt: skip
    return ratio_of_medians(timed[slow].of("total"), timed[fast].of("total"))


def cost() -> float:
    """Milliseconds that the harness adds to a frame: those of frames that take no time."""
    worker, nothing = Worker(), {"network": 0.0, "total": 0.0}
    worker.watch(lambda index: nothing, None)
    began = time.perf_counter()
    worker.block(0, COUNTED)
    return (time.perf_counter() - began) * 1e3 / COUNTED


def _unknown(path: Path) -> NoReturn:
    raise SystemExit(f"{path}: give a student as ONNX or an engine")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m wholebody.benchmarks.latency.self_check", description=__doc__
    )
    parser.add_argument("student", type=Path, help="an exported student")
    parser.add_argument("--repeats", type=int, default=10, help="of each (default: 10)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for each contender at most (default: 10)"
    )
    parser.add_argument("--threads", type=int, default=cores(), help="of each (default: the physical cores)")
    options = parser.parse_args()
    print(Machine.here())
    took = float(np.median([cost() for _ in range(5)]))
    print(f"harness: {took * 1e3:.2f} µs a frame, {took / SHORTEST_MS:.3%} of {SHORTEST_MS:g} ms")
    print(check(options.student, repeats=options.repeats, seconds=options.seconds, threads=options.threads))


if __name__ == "__main__":
    main()
