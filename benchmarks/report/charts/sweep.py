"""Latency against something that was swept: people, batch, proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from wholebody.benchmarks.recorded import Estimate
from wholebody.benchmarks.report.charts.canvas import look, style_axes

__all__ = ["draw_sweep"]

Line = tuple[str, int, Mapping[float, Estimate]]  # name, number of its colour, milliseconds by what was swept
LEGEND_ROW = 0.24  # inches


def draw_sweep(lines: Sequence[Line], axis: str, width: float) -> Figure:
    """Median milliseconds of each line over what was swept, with their intervals."""
    columns = 2 if width > 6 and len(lines) > 2 else 1
    figure = Figure((width, 3.7 + LEGEND_ROW * -(-len(lines) // columns)), layout="constrained")
    axes = figure.subplots()
    for name, hue, points in lines:
        _line(axes, name, hue, points)
    steps = sorted({step for *_, points in lines for step in points})
    if len(steps) > 2 and steps[-1] / max(steps[0], 1e-9) > 20:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.set_ylim(bottom=0)
    axes.set(xlabel=axis, ylabel="median, ms a frame")
    style_axes(axes, "y")
    figure.legend(loc="outside lower left", ncols=columns, borderaxespad=0.1)
    return figure


def _line(axes: Any, name: str, hue: int, points: Mapping[float, Estimate]) -> None:
    steps = sorted(points)
    values = [points[step].value for step in steps]
    bounds = [points[step].interval or (points[step].value,) * 2 for step in steps]
    color, marker, dash = look(hue)
    axes.fill_between(steps, *zip(*bounds, strict=True), color=color, alpha=0.2, linewidth=0)
    axes.plot(
        steps, values, color=color, linestyle=dash, marker=marker, markersize=5.5,
        linewidth=1.6, label=name,
    )  # fmt: skip
