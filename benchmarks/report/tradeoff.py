"""The accuracy of each student against its latency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wholebody.benchmarks.recorded import Accuracy, Latency, Settings
from wholebody.benchmarks.report.accuracy import by_dataset, heading
from wholebody.benchmarks.report.charts.canvas import chart
from wholebody.benchmarks.report.charts.pareto import Point, draw_pareto
from wholebody.benchmarks.report.document import Block, Section
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.overview import same_pipeline
from wholebody.benchmarks.report.wording import in_unit, setting

__all__ = ["tradeoff_sections"]

PANELS = 6
Pair = tuple[Accuracy, Latency]
Panel = tuple[str, str, list[Point]]


def tradeoff_sections(
    latency: Sequence[Latency], accuracy: Sequence[Accuracy], names: Names
) -> list[Section]:
    """A chart for each data set with two students or more whose latency is known, too."""
    blocks = [
        block
        for place, (title, judged) in enumerate(by_dataset(accuracy).items())
        for block in _dataset(place, title, judged, latency, names)
    ]
    return [Section("Accuracy against latency", blocks)] if blocks else []


def _dataset(
    place: int, title: str, judged: Sequence[Accuracy], latency: Sequence[Latency], names: Names
) -> Iterator[Block]:
    asked, pairs = _best_covered(judged, latency)
    panels = list(_panels(pairs, names))
    if len(pairs) < 2 or not panels:
        return
    lacking = [names.label(run) for run in judged if id(run) not in {id(a) for a, _ in pairs}]
    missing = f" Without a latency there, not drawn: {', '.join(lacking)}." if lacking else ""
    yield chart(
        f"tradeoff-{place}", lambda width: draw_pareto(panels, width),
        caption=f"{title}, against the median frame of {asked}. Up and to the left is better; the dashed "
        f"line joins those that no other beats in both. Bars are 95 % intervals.{missing}",
        alt=f"{title}, accuracy against latency: " + "; ".join(
            f"{point.name} {metric} {point.accuracy.value:.3g} at {point.ms.value:.3g} ms"
            for metric, _, points in panels for point in points
        ),
    )  # fmt: skip


def _best_covered(judged: Sequence[Accuracy], latency: Sequence[Latency]) -> tuple[str, list[Pair]]:
    """What most of the judged were timed at, and these with their times. Proposals are a student's own."""
    found: dict[tuple[Settings, str], list[Latency]] = defaultdict(list)
    for run in sorted(latency, key=lambda run: bool(run.settings.pace_hz)):
        found[replace(run.settings, proposals=None), str(run.machine.get("cpu"))].append(run)
    covered = [(setting(asked), _pairs(judged, runs)) for (asked, _), runs in found.items()]
    return max(covered, key=lambda each: len(each[1]), default=("", []))


def _pairs(judged: Sequence[Accuracy], timed: Sequence[Latency]) -> list[Pair]:
    able = [run for run in timed if run.figure("p50")]
    found = [(run, next((each for each in able if same_pipeline(run, each)), None)) for run in judged]
    return [(run, timed) for run, timed in found if timed is not None]


def _panels(pairs: Sequence[Pair], names: Names) -> Iterator[Panel]:
    """The first metric of each part."""
    parts: dict[str, str] = {}
    for run, _ in pairs:
        for name in run.figures:
            parts.setdefault(name.rpartition("/")[0], name)
    for name in list(parts.values())[:PANELS]:
        points = [point for pair in pairs for point in _points(pair, name, names)]
        figure = next(run.figures[name] for run, _ in pairs if name in run.figures)
        unit = in_unit(figure.unit)[2].strip()
        if len(points) > 1:
            yield heading(name, figure) + (f", {unit}" if unit else ""), figure.better, points


def _points(pair: Pair, name: str, names: Names) -> Iterator[Point]:
    judged, timed = pair
    median, figure = timed.figure("p50"), judged.figures.get(name)
    if median and figure and figure.value:
        accuracy = figure.value.times(in_unit(figure.unit)[0])
        yield Point(names.label(judged), names.hue(judged), names.marker(judged), median, accuracy)
