"""Files of runs, read as values.

Every figure of a line may be null, and whatever a machine could not tell may be missing: it becomes None.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wholebody.benchmarks.recorded import Accuracy, Estimate, Figure, Latency, Model, Rounds, Settings, Worst
from wholebody.benchmarks.runs import read_runs
from wholebody.runtime.errors import SourceError

__all__ = ["load_runs"]

ASKED = ("people", "batch", "proposals", "pace_hz", "boxes", "flip_test")


def load_runs(paths: Iterable[Path]) -> list[Latency | Accuracy]:
    """All files' runs, oldest first; of one that was measured again on the same machine, the last.

    Raises SourceError for a file that is not there, is no file of runs or is of another format.
    """
    kept: dict[tuple[str, ...], Latency | Accuracy] = {}
    for path in paths:
        for run in _read(path):
            key = run.id, str(run.machine.get("host")), str(run.machine.get("cpu"))
            kept.pop(key, None)
            kept[key] = run
    return list(kept.values())


def _read(path: Path) -> list[Latency | Accuracy]:
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
        "command": command if isinstance(command, str) else shlex.join(map(str, command)),
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
