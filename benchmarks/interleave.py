"""Times of pipelines that take turns in one process, and the ratio of two of them.

The turns are blocks of a few frames, so that a machine that slows down slows all alike. After its work each
library's threads wait for more: PyTorch's OpenMP threads spin for some milliseconds before they sleep, which
would take the cores from whoever comes next, whose data has left the caches, too. So the first frame of every
block is run but not counted. (ONNX Runtime's threads are told to stop spinning when a run ends.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.media import Image

__all__ = ["STAGES", "Answer", "Pipeline", "Ratio", "interleave", "ratio_of_medians"]

Milliseconds = NDArray[np.float64]
STAGES = ("preprocess", "network", "postprocess", "total")
WARM_UP = 3  # frames
BLOCK = 5  # frames counted in a block; fewer where ROUNDS rounds would take too long
ROUNDS = 10
LEAST_ROUNDS = 3
BATCHES = 10
BETWEEN_PROCESSES = 0.015  # 95 %; one process against another has a deviation of 0.4 % times the root of two
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5 %, by degrees of freedom


class Answer(Protocol):
    """Whose metadata's "times_ms" has the milliseconds of each of STAGES but the total."""

    @property
    def metadata(self) -> Mapping[str, Any]: ...


class Pipeline(Protocol):
    """What is timed: `DopePose`, or anything else that times its stages."""

    def __call__(self, image_bgr: Image, /) -> Answer: ...


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} (95 %: {self.low:.2f} to {self.high:.2f})"


def interleave(
    poses: Mapping[str, Pipeline], pictures: Sequence[Image], seconds: float, *, pause: float = 0.0
) -> dict[str, Milliseconds]:
    """By pipeline, milliseconds (rounds, frames, stages), in the order of STAGES.

    In each round every pipeline does one block of the same frames. As many rounds as fit into `seconds`,
    which do not include the warm-up, and three in any case. `pause`, in seconds, comes before every block,
    where threads that still spin after the one before would take the cores for longer than a frame.
    """
    frame = sum(_warm_up(pose, pictures) for pose in poses.values())
    block = int(np.clip(seconds * 1e3 / ROUNDS / frame - 1, 1, BLOCK))
    rounds: dict[str, list[list[tuple[float, ...]]]] = {name: [] for name in poses}
    stream, began, done = cycle(pictures), time.perf_counter(), 0
    while done < LEAST_ROUNDS or time.perf_counter() - began < seconds:
        shown = list(islice(stream, block))
        for name, pose in poses.items():
            time.sleep(pause)
            pose(shown[0])
            rounds[name].append([_timed(pose, picture) for picture in shown])
        done += 1
    return {name: np.array(times) for name, times in rounds.items()}


def _warm_up(pose: Pipeline, pictures: Sequence[Image]) -> float:
    """Milliseconds of the fastest frame."""
    return min(_timed(pose, picture)[-1] for picture in islice(cycle(pictures), WARM_UP))


def _timed(pose: Pipeline, picture: Image) -> tuple[float, ...]:
    began = time.perf_counter()
    people = pose(picture)
    total = (time.perf_counter() - began) * 1e3
    return *(people.metadata["times_ms"][stage] for stage in STAGES[:-1]), total


def ratio_of_medians(slow: Milliseconds, fast: Milliseconds) -> Ratio:
    """How many times those of `fast` the milliseconds of `slow` are, (rounds, frames) of the same rounds.

    A round's ratio is that of its two medians: what the machine did meanwhile met both. Rounds next to each
    other are not independent, though, as a scheduler favours one process for seconds: a bootstrap over rounds
    would be too sure of itself. So they are put into ten batches of successive rounds, and the interval is
    Student's of the batches' medians (the method of batch means), on a logarithmic scale. It reaches 1.5 % to
    each side at least: a process may be faster than another of the very same program, by where its memory
    happens to lie, which no number of rounds can tell. Raises ValueError for a single round.
    """
    if len(slow) < 2:
        raise ValueError(f"{len(slow)} rounds; an interval needs two or more")
    rounds = np.log(np.median(slow, axis=1)) - np.log(np.median(fast, axis=1))
    batches = [np.median(batch) for batch in np.array_split(rounds, min(BATCHES, len(rounds)))]
    middle = np.mean(batches)
    within = STUDENT[len(batches) - 2] * np.std(batches, ddof=1) / math.sqrt(len(batches))
    reach = math.hypot(within, BETWEEN_PROCESSES)
    return Ratio(*map(math.exp, (middle, middle - reach, middle + reach)))
