"""Accuracy against latency, and which students no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from wholebody.benchmarks.recorded import Estimate
from wholebody.benchmarks.report.charts.canvas import LIGHT, MARKERS, look, style_axes

__all__ = ["Point", "draw_pareto", "front"]

PANEL, LEGEND_ROW = 2.9, 0.24  # inches


@dataclass(frozen=True)
class Point:
    """A student run in some way: its median milliseconds and its accuracy."""

    name: str
    hue: int  # of the way
    marker: int  # of the student
    ms: Estimate
    accuracy: Estimate


def front(points: Sequence[Point], better: str) -> list[Point]:
    """The points that no other beats in both, fastest first."""
    sign = 1 if better == "higher" else -1
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ms.value, -sign * p.accuracy.value)):
        if not kept or sign * point.accuracy.value > sign * kept[-1].accuracy.value:
            kept.append(point)
    return kept


def draw_pareto(panels: Sequence[tuple[str, str, Sequence[Point]]], width: float) -> Figure:
    """A panel a metric: its heading, "higher" or "lower", its points. Up and to the left is better."""
    columns = min(len(panels), 3 if width > 6 else 1)
    rows = -(-len(panels) // columns)
    names = {point.name: point for _, _, points in panels for point in points}
    figure = Figure((width, PANEL * rows + LEGEND_ROW * len(names) + 0.2), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (heading, better, points) in zip(grid, panels, strict=False):
        _panel(axes, better, points)
        axes.set_title(heading)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.legend(
        handles=[_mark(grid[0], point) for point in names.values()],
        loc="outside lower left",
        borderaxespad=0.1,
    )
    return figure


def _panel(axes: Any, better: str, points: Sequence[Point]) -> None:
    best = front(points, better)
    axes.plot(
        [p.ms.value for p in best], [p.accuracy.value for p in best], color=LIGHT["muted"], linewidth=1,
        linestyle=(0, (4, 3)), zorder=1,
    )  # fmt: skip
    for point in points:
        axes.errorbar(
            point.ms.value, point.accuracy.value, xerr=_arms(point.ms), yerr=_arms(point.accuracy),
            color=look(point.hue)[0], fmt=MARKERS[point.marker % len(MARKERS)], markersize=7, elinewidth=1.3,
            zorder=2,
        )  # fmt: skip
    axes.set(xlim=(0, None), xlabel="median, ms a frame")
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.margins(y=0.12)
    if better == "lower":
        axes.invert_yaxis()
    style_axes(axes, "both")


def _arms(of: Estimate) -> list[list[float]] | None:
    if of.interval is None:
        return None
    return [[max(0.0, of.value - of.interval[0])], [max(0.0, of.interval[1] - of.value)]]


def _mark(axes: Any, point: Point) -> Any:
    marker = MARKERS[point.marker % len(MARKERS)]
    return axes.plot([], [], marker, color=look(point.hue)[0], label=point.name)[0]
