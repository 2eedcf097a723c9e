"""Where a frame's time goes: one stacked bar a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from wholebody.benchmarks.report.charts.canvas import LIGHT, SERIES, fixed_axes, style_axes
from wholebody.benchmarks.report.wording import number

__all__ = ["OTHER", "STAGES", "draw_stages"]

ROW, LEGEND_ROW, BELOW = 0.58, 0.26, 0.58  # inches
STAGES = ("decode", "detect", "preprocess", "upload", "network", "download", "postprocess")
OTHER = "other"  # of the total, what no stage counts
HUES: dict[str, int] = dict(zip((*STAGES, OTHER), (6, 5, 2, 4, 0, 3, 1, 7), strict=True))


def draw_stages(rows: Sequence[tuple[str, Mapping[str, float]]], width: float) -> Figure:
    """Name and the stages' median milliseconds, a row each."""
    present = [stage for stage in (*STAGES, OTHER) if any(stages.get(stage) for _, stages in rows)]
    columns = len(present) if width > 6 else 3
    above = LEGEND_ROW * -(-len(present) // columns) + 0.1
    figure, axes = fixed_axes(width, ROW * len(rows) + above + BELOW, top=above, bottom=BELOW)
    longest = max(sum(stages.values()) for _, stages in rows)
    for row, (name, stages) in enumerate(rows):
        base = len(rows) - 1 - row
        _bar(axes, base, {stage: stages[stage] for stage in present if stages.get(stage)}, longest, width)
        across = axes.get_yaxis_transform()
        axes.text(0, base + 0.62, name, transform=across, va="center", fontsize=12)
    axes.set(xlim=(0, longest * 1.12), ylim=(-0.15, len(rows)), yticks=[], xlabel="milliseconds a frame")
    style_axes(axes)
    figure.legend(
        handles=[Patch(color=SERIES[HUES[stage]], label=stage) for stage in present],
        loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=0.9, handleheight=0.9,
        columnspacing=1.2, borderaxespad=0.1, borderpad=0.1,
    )  # fmt: skip
    return figure


def _bar(axes: Any, base: int, stages: Mapping[str, float], longest: float, width: float) -> None:
    left = 0.0
    for stage, ms in stages.items():
        axes.barh(base + 0.2, ms, left=left, height=0.34, color=SERIES[HUES[stage]], linewidth=0)
        words = number(ms)
        if ms / longest * width > 0.11 * len(words) + 0.1:
            axes.text(
                left + ms / 2, base + 0.19, words, ha="center", va="center", color=LIGHT["paper"], fontsize=11
            )
        left += ms
    axes.text(
        left + 0.012 * longest, base + 0.19, number(left), va="center", fontsize=11.5, color=LIGHT["muted"]
    )
