"""The one table that says most: every student in every way, how fast and how right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wholebody.benchmarks.recorded import Accuracy, Figure, Latency
from wholebody.benchmarks.report.accuracy import called, heading
from wholebody.benchmarks.report.document import Cell, Table
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.wording import (
    NOTHING,
    difference,
    in_unit,
    number,
    plain,
    ratio_cell,
    setting,
    value,
)
from wholebody.benchmarks.rounds import baselines, ratio

__all__ = ["overview", "same_pipeline"]

Judged = tuple[str, Figure] | None  # what by, and what came out
COLUMNS = ("Student", "median, ms a frame", "p99", "PyTorch ÷ this", "accuracy", "against PyTorch", "MB")


def overview(latency: Sequence[Latency], accuracy: Sequence[Accuracy], names: Names) -> Table:
    """A row a student and way: latency in the student's first setting, the first metric it is judged by."""
    against = baselines(latency)
    timed = _first_settings(latency, names)
    alone: dict[str, Accuracy] = {}
    for run in accuracy:
        if not any(same_pipeline(run, other) for other in timed):
            alone.setdefault(names.label(run), run)
    judged = [(run, _judged(run, accuracy)) for run in timed] + [(run, _own(run)) for run in alone.values()]
    asked = {names.student(run): setting(run.settings) for run in timed}
    by = {names.student(run): found[0] for run, found in judged if found}
    told = [
        f"{student}: {', '.join(filter(None, (asked.get(student), by.get(student))))}"
        for student in asked | by
    ]
    return Table(
        "; ".join(told), COLUMNS, [_row(run, found, against.get(id(run)), names) for run, found in judged]
    )


def same_pipeline(one: Latency | Accuracy, other: Latency | Accuracy) -> bool:
    """Whether both ran the same files by the same runtime: true boxes are not those of a detector."""
    return (one.model, one.detector, one.runtime) == (other.model, other.detector, other.runtime)


def _first_settings(latency: Sequence[Latency], names: Names) -> list[Latency]:
    """Of each student and way the free-running frames that were measured first, students together.

    Sweeps measure the same setting once more; of one machine the first time is shown.
    """
    free = [run for run in latency if not run.settings.pace_hz] or list(latency)
    first: dict[str, Latency] = {}
    for run in free:
        first.setdefault(names.student(run), run)
    chosen: dict[tuple[str, str], Latency] = {}
    for run in free:
        if run.settings == first[names.student(run)].settings:
            chosen.setdefault((names.label(run), str(run.machine.get("host"))), run)
    students = list(first)
    return sorted(chosen.values(), key=lambda run: (students.index(names.student(run)), not run.is_reference))


def _judged(run: Latency, accuracy: Sequence[Accuracy]) -> Judged:
    """What it was judged by, or as the reference of its student what that one's figure was."""
    own = next((each for each in accuracy if same_pipeline(run, each)), None)
    if own is not None:
        return _own(own)
    if not run.is_reference:
        return None
    student = next((each for each in accuracy if each.model.name == run.model.name and each.reference), None)
    found = student and _own(student)
    if not found or found[1].reference is None:
        return None
    return found[0], replace(found[1], value=None, difference=None)


def _own(run: Accuracy) -> Judged:
    name = next((name for name, figure in run.figures.items() if figure.value), None)
    return None if name is None else (f"{heading(name, run.figures[name])}, {called(run)}", run.figures[name])


def _row(run: Latency | Accuracy, judged: Judged, base: Latency | None, names: Names) -> list[Cell]:
    timed = run if isinstance(run, Latency) else None
    return [
        Cell(names.student(run), names.way(run)),
        plain(timed.figure("p50") if timed else None),
        replace(plain(timed.figure("p99") if timed else None), note=""),
        _ratio(timed, base),
        _accuracy(judged[1]) if judged else NOTHING,
        difference(judged[1]) if judged else NOTHING,
        Cell(number(run.model.megabytes)) if run.model.megabytes is not None else NOTHING,
    ]


def _ratio(run: Latency | None, base: Latency | None) -> Cell:
    if run is None or base is None or not base.is_reference:
        return NOTHING
    return (
        Cell("1", tone="muted") if base is run else ratio_cell(run.over_base or ratio(base.times, run.times))
    )


def _accuracy(figure: Figure) -> Cell:
    if figure.value is not None:
        return value(figure)
    scale, places, unit = in_unit(figure.unit)
    return Cell(number((figure.reference or 0.0) * scale, places) + unit)
