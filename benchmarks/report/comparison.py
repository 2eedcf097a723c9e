"""A comparison of two files as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wholebody.benchmarks.compare import Change, Comparison
from wholebody.benchmarks.recorded import Accuracy, Estimate, Latency
from wholebody.benchmarks.report.accuracy import heading
from wholebody.benchmarks.report.document import Cell
from wholebody.benchmarks.report.markdown import markdown_table
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.wording import NOTHING, in_unit, number, plural, setting, signed

__all__ = ["markdown"]

COLUMNS = ("Run", "Figure", "old", "new", "new ÷ old, or new − old", "")
SHOWN = 8  # of what only one file has


def markdown(comparison: Comparison) -> str:
    """A table of all figures, those that changed first; then what they rest on."""
    names = Names(each.pair.new for each in (*comparison.changes, *comparison.references))
    order = {"worse": 0, "better": 1, "no evidence": 2}
    changes = sorted(comparison.changes, key=lambda each: order[each.verdict])
    lines = markdown_table(COLUMNS, [_row(each, names) for each in changes], words=2) if changes else []
    return "\n".join(
        [*lines, "", *(line for note in _notes(comparison, names) for line in (note, ""))]
    ).strip()


def _row(each: Change, names: Names) -> list[Cell]:
    run = each.pair.new
    figure = heading(each.name, run.figures[each.name]) if isinstance(run, Accuracy) else each.name
    verdict = each.verdict if each.verdict == "no evidence" else f"**{each.verdict}**"
    return [
        Cell(_called(run, names)), Cell(figure), _value(each, each.old), _value(each, each.new),
        _change(each), Cell(verdict),
    ]  # fmt: skip


def _called(run: Latency | Accuracy, names: Names) -> str:
    return f"{names.label(run)}, {run.dataset if isinstance(run, Accuracy) else setting(run.settings)}"


def _value(each: Change, of: Estimate | None) -> Cell:
    if of is None:
        return NOTHING
    if each.unit == "ms":
        return Cell(f"{number(of.value)} ms")
    scale, places, unit = in_unit(each.unit)
    return Cell(number(of.value * scale, places) + unit)


def _change(each: Change) -> Cell:
    if each.change is None:
        return NOTHING
    if each.unit == "ms":
        return _told(each.change, lambda size: number(size, 3), "×")
    scale, places, unit = in_unit(each.unit)
    unit = " points" if each.unit == "share" else unit
    return _told(each.change.times(scale), lambda size: signed(size, places + 1), unit)


def _told(of: Estimate, show: Callable[[float], str], unit: str) -> Cell:
    note = "no interval" if of.interval is None else f"{show(of.interval[0])} to {show(of.interval[1])}"
    return Cell(show(of.value) + unit, note)


def _notes(comparison: Comparison, names: Names) -> Iterator[str]:
    counts = {verdict: comparison.count(verdict) for verdict in ("worse", "better", "no evidence")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    yield (
        f"{plural(len(comparison.changes), 'figure')}: {told}. The intervals hold for all of them at once "
        f"(95 %)."
    )
    for each in (each for each in comparison.references if each.name == "network p50" and each.change):
        yield f"PyTorch itself, {_called(each.pair.new, names)}: {_change(each).text} ({_change(each).note})."
    anchored = sum(each.anchored and each.unit == "ms" for each in comparison.changes)
    timed = sum(each.unit == "ms" for each in comparison.changes)
    if anchored:
        yield (
            f"{anchored} of {plural(timed, 'time')} are told in units of PyTorch's network, which took turns "
            f"with both."
        )
    if anchored < timed:
        yield (
            f"{plural(timed - anchored, 'time')} rest on no reference: what the machine did between the two "
            "measurements counts as a difference. Measure both against PyTorch (--against) to divide it out."
        )
    for pair in {id(each.pair): each.pair for each in comparison.changes}.values():
        yield from (f"Not the same: {line}." for line in pair.differs)
    yield from _lone("old", comparison.only_old)
    yield from _lone("new", comparison.only_new)


def _lone(which: str, runs: Sequence[Latency | Accuracy]) -> Iterator[str]:
    if runs:
        names = Names(runs)
        called = list(dict.fromkeys(_called(run, names) for run in runs))
        more = f"; and {len(called) - SHOWN} more" if len(called) > SHOWN else ""
        yield f"Only in the {which} file: {'; '.join(called[:SHOWN])}{more}."
