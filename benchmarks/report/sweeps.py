"""Latency against what was swept: people, batch, proposals, and the pace at which frames come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wholebody.benchmarks.recorded import Estimate, Latency
from wholebody.benchmarks.report.charts.canvas import chart
from wholebody.benchmarks.report.charts.sweep import draw_sweep
from wholebody.benchmarks.report.document import Block, Cell, Table
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.wording import NOTHING, number, plain, setting

__all__ = ["pace_blocks", "sweep_blocks"]

AXES = {"people": "people in the picture", "batch": "pictures in a batch", "proposals": "proposals"}
PACED = ("p50", "p99")
By = dict[str, dict[float, Latency]]  # by way, by step


def sweep_blocks(runs: Sequence[Latency], names: Names) -> Iterator[Block]:
    """A chart and a table for every student and axis that was measured at two steps or more."""
    for axis, words in AXES.items():
        for place, (title, lines) in enumerate(_swept(runs, names, axis).items()):
            yield from _sweep(f"{axis}-{place}", title, words, lines, names)


def pace_blocks(runs: Sequence[Latency], names: Names) -> Iterator[Block]:
    """How frames that come at a pace compare with frames one upon the other."""
    lines = {
        (title, way): steps
        for title, ways in _swept(runs, names, "pace_hz").items()
        for way, steps in ways.items()
    }
    paces = sorted({pace for steps in lines.values() for pace in steps})
    if not lines:
        return
    yield Table(
        "Free-running and paced: median and 99th percentile, ms. Between paced frames cores sleep, clocks "
        "fall and caches are lost to others; a camera sees the paced figures.",
        ["Student", *(f"{_pace(pace)}, {name}" for pace in paces for name in PACED)],
        [
            [Cell(title, way), *(_figure(steps.get(pace), name) for pace in paces for name in PACED)]
            for (title, way), steps in lines.items()
        ],
    )


def _swept(runs: Sequence[Latency], names: Names, axis: str) -> dict[str, By]:
    """By student and what else was asked: ways that were measured at two steps of the axis or more.

    Every step may have pictures of its own.
    """
    found: dict[str, By] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        step = getattr(run.settings, axis)
        if step is None and axis != "pace_hz":
            continue
        asked = replace(run.settings, pictures=None)
        title = f"{names.student(run)}, {setting(asked, without=axis)}".rstrip(", ")
        found[title][names.way(run)][float(step or 0)] = run
    several = {title: {way: s for way, s in ways.items() if len(s) > 1} for title, ways in found.items()}
    return {title: ways for title, ways in several.items() if ways}


def _sweep(name: str, title: str, words: str, lines: By, names: Names) -> Iterator[Block]:
    medians = {way: _medians(steps) for way, steps in lines.items()}
    drawn = [
        (way, names.hue(next(iter(lines[way].values()))), steps) for way, steps in medians.items() if steps
    ]
    if not drawn:
        return
    told = "; ".join(
        f"{way} {', '.join(f'{number(of.value)} at {step:g}' for step, of in sorted(steps.items()))}"
        for way, _, steps in drawn
    )
    yield chart(
        f"{name}", lambda width: draw_sweep(drawn, words, width),
        caption=f"{title}: median milliseconds against {words}, bands are 95 % intervals.",
        alt=f"{title}: median milliseconds against {words}: {told}",
    )  # fmt: skip
    steps = sorted({step for points in medians.values() for step in points})
    yield Table(
        f"The same in figures, by {words}",
        ["Precision and runtime", *(f"{step:g}" for step in steps)],
        [
            [Cell(way), *(plain(points[step]) if step in points else NOTHING for step in steps)]
            for way, points in medians.items()
        ],
    )


def _medians(steps: Mapping[float, Latency]) -> dict[float, Estimate]:
    medians = {step: run.figure("p50") for step, run in steps.items()}
    return {step: median for step, median in medians.items() if median is not None}


def _pace(hz: float) -> str:
    return f"{hz:g} Hz" if hz else "free"


def _figure(run: Latency | None, name: str) -> Cell:
    return NOTHING if run is None else plain(run.figure(name))
