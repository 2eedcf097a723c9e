"""The latency part of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from wholebody.benchmarks.recorded import Latency
from wholebody.benchmarks.report.charts.canvas import chart, look
from wholebody.benchmarks.report.charts.distribution import draw_distributions
from wholebody.benchmarks.report.charts.stages import OTHER, STAGES, draw_stages
from wholebody.benchmarks.report.document import Block, Cell, Fold, Section, Table, Text
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.sweeps import pace_blocks, sweep_blocks
from wholebody.benchmarks.report.wording import NOTHING, number, plain, ratio_cell, setting
from wholebody.benchmarks.rounds import baselines, ratio

__all__ = ["latency_sections"]

FIGURES = ("p50", "p90", "p95", "p99", "max")
ROWS = 14  # of a chart; more would not be read


def latency_sections(runs: Sequence[Latency], names: Names) -> list[Section]:
    """Whole frames, sweeps, and what else running costs; nothing where there are no runs."""
    if not runs:
        return []
    found = [Section("Latency", [_reading(), *_folds(runs, names)])]
    if swept := [*sweep_blocks(runs, names), *pace_blocks(runs, names)]:
        found.append(Section("Latency against people and other loads", swept))
    if cost := _cost_rows(runs, names):
        found.append(Section("Memory, energy and cold start", [_cost_table(cost)]))
    return found


def _reading() -> Text:
    return Text(
        "Milliseconds of a whole frame, from the picture to the people; below each figure its 95 % interval "
        "by bootstrap over rounds. What took turns with PyTorch has its ratio: PyTorch's time over its "
        "own, round by round (▲ faster, ▼ slower, as far as the interval leaves out 1). Ratios of runs that "
        "did not take turns are not formed.",
        aside=True,
    )


def _settings(runs: Sequence[Latency], names: Names) -> dict[str, list[Latency]]:
    """By student and what was asked of it the runs that may stand in one table; free-running ones first."""
    several = len({str(run.machine.get("cpu")) for run in runs}) > 1
    found: dict[str, list[Latency]] = defaultdict(list)
    for run in sorted(
        runs, key=lambda run: (names.marker(run), bool(run.settings.pace_hz), not run.is_reference)
    ):
        machine = f" · {run.machine.get('cpu')}" if several else ""
        found[f"{names.student(run)} · {setting(run.settings)}{machine}"].append(run)
    return found


def _folds(runs: Sequence[Latency], names: Names) -> Iterator[Block]:
    """The first setting of each student is open."""
    against, opened = baselines(runs), set[str]()
    for place, (title, found) in enumerate(_settings(runs, names).items()):
        student = names.student(found[0])
        yield Fold(title, list(_setting(place, title, found, names, against)), open=student not in opened)
        opened.add(student)


def _setting(
    place: int, title: str, runs: Sequence[Latency], names: Names, against: dict[int, Latency]
) -> Iterator[Block]:
    """A table, and charts where there is something to set side by side."""
    yield _table(runs, names, against)
    if len(runs) == 1 and place:
        return
    spread = [(names.way(r), look(names.hue(r))[0], np.concatenate(r.times)) for r in runs if r.times]
    if spread:
        yield chart(
            f"distribution-{place}", lambda width: draw_distributions(spread[:ROWS], width),
            caption="How frame times spread: the line is the median, the short marks are the 95th and 99th "
            f"percentile.{_left_out(len(spread))}",
            alt=f"Distribution of frame times, {title}: " + "; ".join(
                f"{name} median {number(float(np.median(times)))} ms" for name, _, times in spread[:ROWS]
            ),
        )  # fmt: skip
    bars = [(names.way(run), stages) for run in runs if len(stages := _stages(run)) > 1]
    if bars:
        yield chart(
            f"stages-{place}", lambda width: draw_stages(bars[:ROWS], width),
            caption="Where a frame's time goes: medians of its stages, which need not add up to that of the "
            f"whole. Decoding a picture comes before the frame and is in no total.{_left_out(len(bars))}",
            alt=f"Stages of a frame, {title}: " + "; ".join(
                f"{name} " + ", ".join(f"{stage} {number(ms)}" for stage, ms in stages.items())
                for name, stages in bars[:ROWS]
            ),
        )  # fmt: skip


def _left_out(rows: int) -> str:
    return f" The first {ROWS} of {rows} are shown; the table has all." if rows > ROWS else ""


def _table(runs: Sequence[Latency], names: Names, against: dict[int, Latency]) -> Table:
    bases = {id(base): base for run in runs if (base := against.get(id(run)))}
    rows = [
        [
            Cell(names.way(run)), *(plain(run.figure(name)) for name in FIGURES), _rate(run),
            *[_ratio(run, against.get(id(run)))] * bool(bases), _counted(run),
        ]
        for run in runs
    ]  # fmt: skip
    ratios = [f"{_base_name(list(bases.values()), names)} ÷ this"] * bool(bases)
    return Table("Milliseconds a frame", ["", *FIGURES, "frames/s", *ratios, "counted"], rows)


def _base_name(bases: Sequence[Latency], names: Names) -> str:
    ways = list(dict.fromkeys(names.way(base) for base in bases))
    return "PyTorch" if all(base.is_reference for base in bases) else ways[0] if len(ways) == 1 else "base"


def _rate(run: Latency) -> Cell:
    median = run.figure("p50")
    alone = run.settings.batch in (None, 1) and not run.settings.pace_hz
    return Cell(number(1e3 / median.value)) if alone and median and median.value > 0 else NOTHING


def _ratio(run: Latency, reference: Latency | None) -> Cell:
    if reference is None:
        return NOTHING
    if reference is run:
        return Cell("1", tone="muted")
    return ratio_cell(run.over_base or ratio(reference.times, run.times))


def _counted(run: Latency) -> Cell:
    if run.samples is None:
        return NOTHING
    return Cell(f"{run.samples:,} frames", f"{len(run.times)} rounds" if run.times else "")


def _stages(run: Latency) -> dict[str, float]:
    medians = {stage: run.figure("p50", stage) for stage in STAGES}
    stages = {stage: median.value for stage, median in medians.items() if median}
    total = run.figure("p50")
    rest = total.value - sum(stages.values()) + stages.get("decode", 0.0) if total else 0.0
    return stages | ({OTHER: rest} if stages and total and rest > 0.01 * total.value else {})


def _cost_rows(runs: Sequence[Latency], names: Names) -> list[list[Cell]]:
    """A row for each student and way, as it was first measured."""
    first: dict[str, Latency] = {}
    for run in (run for found in _settings(runs, names).values() for run in found):
        if run.memory or run.energy or run.cold_start:
            first.setdefault(names.label(run), run)
    return [[Cell(names.student(run), names.way(run)), *_costs(run)] for run in first.values()]


def _costs(run: Latency) -> Iterator[Cell]:
    for name in ("host_peak_mb", "device_peak_mb"):
        yield _plain(run.memory.get(name), 0)
    yield _plain(run.energy.get("joules_per_frame"))
    yield _plain(run.energy.get("watts"))
    for name in ("import", "load", "first"):
        yield _plain(run.cold_start.get(name), 2)


def _plain(size: float | None, places: int | None = None) -> Cell:
    return NOTHING if size is None else Cell(number(size, places))


def _cost_table(rows: list[list[Cell]]) -> Table:
    return Table(
        "Peaks of a process of its own, and seconds from an empty process to the first people: imports, "
        "loading, first frame. A dash is what could not be read here.",
        [
            "Student", "host, MB", "device, MB", "J/frame", "W", "import, s",
            "load, s", "first frame, s",
        ],
        rows,
    )  # fmt: skip
