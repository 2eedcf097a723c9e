"""What each metric lost or gained against the reference: a point with its interval each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from wholebody.benchmarks.recorded import Estimate
from wholebody.benchmarks.report.charts.canvas import LIGHT, look, style_axes

__all__ = ["draw_differences"]

# A unit's heading and its rows: the metric, and by the place of a way in the list of ways its difference.
Panel = tuple[str, Sequence[tuple[str, Mapping[int, Estimate]]]]
Ways = Sequence[tuple[str, int]]  # name and number of the colour of each
LINE, HEAD, LEGEND_ROW = 0.17, 0.36, 0.24  # inches


def draw_differences(panels: Sequence[Panel], ways: Ways, width: float) -> Figure:
    """A panel for each unit; in its rows the ways below each other, zero as a line."""
    heights = [_height(rows, len(ways)) + 0.7 for _, rows in panels]
    figure = Figure((width, sum(heights) + LEGEND_ROW * len(ways) + 0.2), layout="constrained")
    all_axes = figure.subplots(len(panels), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (heading, rows) in zip(all_axes, panels, strict=True):
        _panel(axes, rows, ways)
        axes.set_xlabel(heading)
    handles = [
        all_axes[0].plot([], [], look(hue)[1], color=look(hue)[0], label=name)[0] for name, hue in ways
    ]
    figure.legend(handles=handles, loc="outside lower left", borderaxespad=0.1)
    return figure


def _height(rows: Sequence[Any], ways: int) -> float:
    return len(rows) * (HEAD + LINE * ways)


def _panel(axes: Any, rows: Sequence[tuple[str, Mapping[int, Estimate]]], ways: Ways) -> None:
    """One inch of the figure is one unit of the y axis."""
    top = _height(rows, len(ways))
    axes.axvline(0, color=LIGHT["muted"], linewidth=1.2)
    for metric, found in rows:
        axes.text(
            0, top - HEAD / 2, metric, transform=axes.get_yaxis_transform(), va="center", fontsize=12,
            bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        for way, of in found.items():
            _point(axes, top - HEAD - LINE * (way + 0.35), ways[way][1], of)
        top -= HEAD + LINE * len(ways)
        axes.axhline(top, color=LIGHT["grid"], linewidth=1)
    axes.set(ylim=(0, _height(rows, len(ways))), yticks=[])
    axes.margins(x=0.06)
    style_axes(axes)


def _point(axes: Any, y: float, hue: int, of: Estimate) -> None:
    color, marker, _ = look(hue)
    low, high = of.interval or (of.value, of.value)
    axes.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.6, solid_capstyle="butt")
    axes.plot([of.value], [y], marker, color=color, markersize=6)
