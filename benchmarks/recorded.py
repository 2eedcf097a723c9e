"""Recorded runs as values: what `benchmarks.runs` keeps as JSON lines (docs/runs.md names the fields).

Every figure of a line may be null, and whatever a machine could not tell may be missing: it is None here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.runs import read_runs
from wholebody.runtime.errors import SourceError

__all__ = [
    "Accuracy", "Estimate", "Figure", "Latency", "Model", "Rounds", "Run", "Settings", "Worst", "load_runs",
    "negligible", "read_recorded",
]  # fmt: skip

Rounds = tuple[NDArray[np.float64], ...]  # milliseconds of the frames of each round
ASKED = ("people", "batch", "proposals", "pace_hz", "boxes", "flip_test")


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


def load_runs(paths: Iterable[Path]) -> list[Latency | Accuracy]:
    """All files' runs, oldest first; of one that was measured again on the same machine, the last.

    Raises SourceError for a file that is not there, is no file of runs or is of another format.
    """
    kept: dict[tuple[str, ...], Latency | Accuracy] = {}
    for path in paths:
        for run in read_recorded(path):
            key = run.id, str(run.machine.get("host")), str(run.machine.get("cpu"))
            kept.pop(key, None)
            kept[key] = run
    return list(kept.values())


def read_recorded(path: Path) -> list[Latency | Accuracy]:
    """A file's runs in their order. Raises SourceError as `load_runs`."""
    if not path.exists():
        raise SourceError(
            f"there is no {path}: write one with `wholebody bench latency` or `bench accuracy --runs FILE`"
        )
    return [_parsed(path, run) for run in read_runs(path)]


def _parsed(path: Path, run: Mapping[str, Any]) -> Latency | Accuracy:
    parse = PARSE.get(str(run.get("kind")))
    if parse is None:
        raise SourceError(
            f"a run of {path} is of kind {run.get('kind')!r}; latency and accuracy are known: was it written "
            "by a newer version?"
        )
    try:
        return parse(run, path.parent)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise SourceError(
            f"the {run['kind']} run {run.get('id')} of {path} is not as docs/runs.md says: {error!r}"
        ) from error


def _latency(run: Mapping[str, Any], folder: Path) -> Latency:
    over = run.get("over") or {}
    stages = {stage: _estimates(figures or {}) for stage, figures in (run.get("ms") or {}).items()}
    return Latency(
        **_common(run, folder),
        samples=run.get("samples"),
        ms={stage: figures for stage, figures in stages.items() if figures},
        times=_rounds(run.get("times")),
        network_times=_rounds(run.get("network_times")),
        memory=_numbers(run.get("memory")),
        energy=dict(run.get("energy") or {}),
        cold_start=_numbers(run.get("cold_start")),
        base=over.get("id"),
        over_base=_estimate(over.get("total")),
    )


def _accuracy(run: Mapping[str, Any], folder: Path) -> Accuracy:
    dataset, reference = run.get("dataset") or {}, run.get("reference")
    return Accuracy(
        **_common(run, folder),
        dataset=str(dataset.get("name") or "unnamed"),
        title=str(dataset.get("title") or dataset.get("name") or "unnamed"),
        notes=str(dataset.get("notes") or ""),
        pictures=dataset.get("pictures"),
        dataset_sha256=dataset.get("sha256"),
        figures={name: _figure(name, figure) for name, figure in (run.get("metrics") or {}).items()},
        reference=None if reference is None else _told(reference),
        ranked_by=run.get("ranked_by"),
        worst=tuple(_worst(each) for each in run.get("worst") or ()),
    )


def _common(run: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    asked = run.get("settings") or {}
    size = asked.get("size")
    command = run.get("command") or ""
    return {
        "id": str(run.get("id")),
        "group": str(run.get("group") or run.get("id")),
        "when": str(run.get("when") or ""),
        "command": command if isinstance(command, str) else _joined(command),
        "git": run.get("git"),
        "machine": dict(run.get("machine") or {}),
        "model": _model(run.get("model") or {}),
        "detector": _model(run["detector"]) if run.get("detector") else None,
        "backend": str(run.get("backend") or "unknown"),
        "threads": run.get("threads"),
        "settings": Settings(
            pictures=asked.get("pictures"),
            size=None if size is None else (int(size[0]), int(size[1])),
            **{name: asked.get(name) for name in ASKED},
        ),
        "folder": folder,
    }


def _joined(arguments: Sequence[Any]) -> str:
    import shlex

    return shlex.join(map(str, arguments))


def _model(model: Mapping[str, Any]) -> Model:
    told = {name: model.get(name) for name in ("family", "file", "sha256", "verified", "megabytes")}
    return Model(
        name=str(model.get("name") or "unnamed"), precision=str(model.get("precision") or "–"), **told
    )


def _estimates(figures: Mapping[str, Any]) -> dict[str, Estimate]:
    found = {name: _estimate(figure) for name, figure in figures.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _estimate(figure: Sequence[float | None] | None) -> Estimate | None:
    """[value, low, high] without what is null."""
    value, low, high = (_finite(each) for each in (*(figure or ()), None, None, None)[:3])
    if value is None:
        return None
    return Estimate(value, None if low is None or high is None else (low, high))


def _finite(figure: float | None) -> float | None:
    return None if figure is None or not math.isfinite(figure) else float(figure)


def _figure(name: str, figure: Mapping[str, Any]) -> Figure:
    return Figure(
        title=str(figure.get("title") or name),
        unit=str(figure.get("unit") or ""),
        better=str(figure.get("better") or "higher"),
        value=_estimate(figure.get("value")),
        reference=_finite(figure.get("reference")),
        difference=_estimate(figure.get("difference")),
    )


def _rounds(rounds: Sequence[Sequence[float | None]] | None) -> Rounds:
    whole = (np.array([t for t in times if t is not None], np.float64) for times in rounds or () if times)
    finite = (times[np.isfinite(times)] for times in whole)
    return tuple(times for times in finite if times.size)


def _numbers(figures: Mapping[str, float | None] | None) -> dict[str, float]:
    known = {name: _finite(figure) for name, figure in (figures or {}).items()}
    return {name: figure for name, figure in known.items() if figure is not None}


def _worst(each: Mapping[str, Any]) -> Worst:
    file = each.get("file")
    if file is not None and (PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts):
        file = None  # only what lies beside the runs is shown
    return Worst(str(each.get("picture")), each.get("figure"), each.get("reference"), file)


def _told(reference: Any) -> str:
    if isinstance(reference, Mapping):
        return " ".join(str(reference[key]) for key in ("backend", "sha256") if reference.get(key))
    return str(reference)


PARSE: Mapping[str, Callable[[Mapping[str, Any], Path], Latency | Accuracy]] = {
    "latency": _latency,
    "accuracy": _accuracy,
}
