"""Recorded runs as values; docs/runs.md says what their fields are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Accuracy", "Estimate", "Figure", "Latency", "Model", "Rounds", "Run", "Settings", "Worst", "negligible",
]  # fmt: skip

Rounds = tuple[NDArray[np.float64], ...]  # milliseconds of the frames of each round


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval, which is None where there was none to tell."""

    value: float
    interval: tuple[float, float] | None = None

    def times(self, factor: float) -> Estimate:
        """The same in another unit."""
        bounds = self.interval
        return Estimate(self.value * factor, bounds and (bounds[0] * factor, bounds[1] * factor))


@dataclass(frozen=True)
class Model:
    """A network's file; `verified` is None where it has no certificate."""

    name: str
    precision: str
    family: str | None = None
    file: str | None = None
    sha256: str | None = None
    verified: bool | None = None
    megabytes: float | None = None


@dataclass(frozen=True)
class Settings:
    """What was asked of the model: pictures (their digest), size (height, width), and what may be swept.

    boxes  where a top-down student's came from: "true" or "detected"
    """

    pictures: str | None = None
    size: tuple[int, int] | None = None
    people: int | None = None
    batch: int | None = None
    proposals: int | None = None
    pace_hz: float | None = None
    boxes: str | None = None
    flip_test: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What every measurement has."""

    id: str
    group: str
    when: str
    command: str
    git: str | None
    machine: Mapping[str, Any]
    model: Model
    detector: Model | None
    backend: str
    threads: int | None
    settings: Settings
    folder: Path  # that the file of runs lay in

    @property
    def runtime(self) -> str:
        """The backend without its version, as "onnxruntime:CPUExecutionProvider" or "tensorrt"."""
        return re.sub(r"[: ]v?\d[\w.+]*$", "", self.backend)

    @property
    def is_reference(self) -> bool:
        """Whether it is PyTorch as it comes, which all others are held to."""
        return "torch" in self.backend and "compile" not in self.backend and "tensorrt" not in self.backend


@dataclass(frozen=True, kw_only=True, eq=False)
class Latency(Run):
    """Milliseconds: `ms` by stage and figure ("p50", ..., "max"); samples is None where it was not told.

    base, over_base  the id of whom it took turns with and is held to, and how many times its own that one's
                     median is
    """

    samples: int | None
    ms: Mapping[str, Mapping[str, Estimate]]
    times: Rounds
    network_times: Rounds
    memory: Mapping[str, float]
    energy: Mapping[str, Any]
    cold_start: Mapping[str, float]
    base: str | None
    over_base: Estimate | None

    def figure(self, name: str, stage: str = "total") -> Estimate | None:
        """A figure of a stage, or None."""
        return self.ms.get(stage, {}).get(name)


@dataclass(frozen=True)
class Figure:
    """A metric of a data set: its value, and its paired difference from the reference."""

    title: str
    unit: str
    better: str  # "higher" or "lower"
    value: Estimate | None
    reference: float | None
    difference: Estimate | None

    @property
    def moved(self) -> bool:
        """Whether it differs from the reference by more than nothing."""
        return self.difference is not None and abs(self.difference.value) >= negligible(self.unit)


def negligible(unit: str) -> float:
    """The difference that is none: of a hundredth of a point, millimetre or pixel not even half."""
    return {"share": 5e-5, "mm": 5e-3, "px": 5e-3}.get(unit, 5e-5)


@dataclass(frozen=True)
class Worst:
    """A picture that came out badly, and where it is drawn: a name below the folder of the runs, or None."""

    picture: str
    figure: float | None
    reference: float | None
    file: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Accuracy(Run):
    """Figures by name, as "body/pck"."""

    dataset: str
    title: str
    notes: str
    pictures: int | None
    dataset_sha256: str | None
    figures: Mapping[str, Figure]
    reference: str | None  # its backend, and what tells it from others
    ranked_by: str | None  # the figure that the worst are worst by
    worst: tuple[Worst, ...]
