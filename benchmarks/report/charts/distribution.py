"""How a runtime's frames spread: one ridge a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from wholebody.benchmarks.report.charts.canvas import LIGHT, fixed_axes, style_axes
from wholebody.benchmarks.report.wording import number

__all__ = ["draw_distributions"]

Doubles = NDArray[np.float64]
ROW, BELOW = 0.72, 0.58  # inches of a row, and of what is below all rows
WORDS = 0.22  # inches of a line of words, where there is no room for two beside each other
BINS = 160
FEW = 30  # frames, of which each is a dot
FAR = 6.0  # where medians are further apart than this factor, the axis is logarithmic


def draw_distributions(rows: Sequence[tuple[str, str, Doubles]], width: float) -> Figure:
    """Name, colour and milliseconds of every frame, a row each; median, 95th and 99th percentile marked."""
    narrow = width < 6
    height = (ROW + narrow * WORDS) * len(rows)
    figure, axes = fixed_axes(width, height + BELOW, top=0.02, bottom=BELOW)
    medians = [float(np.median(times)) for *_, times in rows]
    logarithmic = max(medians) > FAR * min(medians)
    low = min(float(np.quantile(times, 0.002)) for *_, times in rows)
    high = max(float(np.quantile(times, 0.99)) for *_, times in rows)
    edges = np.geomspace(low, high * 1.1, BINS) if logarithmic else np.linspace(low, high * 1.04, BINS)
    for row, (name, hue, times) in enumerate(rows):
        _ridge(axes, len(rows) - 1 - row, name, hue, times, edges, narrow)
    axes.set(xscale="log" if logarithmic else "linear", xlim=(edges[0], edges[-1]), ylim=(-0.12, len(rows)))
    axes.set(yticks=[], xlabel="milliseconds a frame")
    if logarithmic:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda ms, _: f"{ms:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    style_axes(axes)
    return figure


def _ridge(axes: Any, base: int, name: str, hue: str, times: Doubles, edges: Doubles, narrow: bool) -> None:
    """Its words beside each other above it, or where it is narrow below each other."""
    height = ROW / (ROW + narrow * WORDS)  # of a row, for one line of words and the ridge
    if len(times) < FEW:
        axes.plot(times, np.full(len(times), base + 0.1), "o", color=hue, markersize=5, alpha=0.6)
    else:
        density, middles = _density(times, edges)
        axes.fill_between(middles, base, base + 0.58 * height * density, color=hue, alpha=0.28, linewidth=0)
        axes.plot(middles, base + 0.58 * height * density, color=hue, linewidth=1.4)
    p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99))
    axes.plot([p50, p50], [base, base + 0.58 * height], color=LIGHT["ink"], linewidth=1.6)
    for place, share in ((p95, 0.26), (p99, 0.16)):
        axes.plot([place, place], [base, base + share * height], color=hue, linewidth=2.4)
    axes.axhline(base, color=LIGHT["grid"], linewidth=1, zorder=0)
    words = f"p50 {number(p50)} · p95 {number(p95)} · p99 {number(p99)}"
    top, below = base + 1 - 0.24 * height, base + 0.78 * height
    across: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(0, top if narrow else below, name, fontsize=12, **across)
    axes.text(
        0 if narrow else 1, below, words, ha="left" if narrow else "right", fontsize=11.5,
        color=LIGHT["muted"], **across,
    )  # fmt: skip


def _density(times: Doubles, edges: Doubles) -> tuple[Doubles, Doubles]:
    """A histogram smoothed over a few bins, its peak at 1, and the middles of its bins."""
    counts = np.histogram(times, edges)[0].astype(np.float64)
    offsets = np.arange(-8, 9)
    kernel = np.exp(-((offsets / 2.5) ** 2) / 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    return smooth / max(smooth.max(), 1e-12), (edges[:-1] + edges[1:]) / 2
