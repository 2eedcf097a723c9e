"""Pictures of a sensitivity and of a search, by matplotlib (the extra `bench`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wholebody.export.precision.drift import PoseDrift, PrecisionBudget
from wholebody.export.precision.search import Point, Searched
from wholebody.export.precision.sensitivity import LayerDrift, Sensitivity
from wholebody.runtime.errors import WholebodyError
from wholebody.runtime.whole import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_search", "plot_sensitivity"]

# Okabe and Ito's colours, which colour-blind readers tell apart, by part; and one marker each for print.
COLORS = {
    "body": "#0072B2", "feet": "#009E73", "face": "#E69F00", "hand": "#D55E00", "hands": "#D55E00",
    "person": "#0072B2",
}  # fmt: skip
MARKERS = {"body": "o", "feet": "v", "face": "s", "hand": "D", "hands": "D", "person": "o"}
LEAST_LOSS = 1e-6  # of OKS: what is less is drawn there, as a logarithm has no zero


def plot_sensitivity(sensitivity: Sensitivity, budget: PrecisionBudget, path: str | Path) -> None:
    """A PNG: layers in the order of the graph; per part the OKS lost, the pixels and the millimetres.

    Raises WholebodyError where matplotlib is missing or the file cannot be written.
    """
    layers = sensitivity.layers
    parts = _parts(layers)
    solid = any(part.mm is not None for one in layers for part in one.drift.parts.values())
    figure, axes = _figure(3 + solid, height=2.3 * (3 + solid), width=max(8.0, 3 + 0.16 * len(layers)))
    _losses(axes[0], layers, parts, budget)
    _medians(axes[1], layers, parts, "px", budget.px)
    if solid:
        _medians(axes[2], layers, parts, "mm", budget.mm)
    bottom = axes[-1]
    bottom.bar(
        range(len(layers)), [100 * one.macs / max(sensitivity.total, 1) for one in layers], color="#999999"
    )
    bottom.set_ylabel("MACs, %")
    bottom.set_xticks(range(len(layers)), [one.name for one in layers], rotation=90, fontsize=6)
    for axis in axes:
        axis.set_xlim(-1, len(layers))
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    for axis in axes[:-1]:
        axis.set_xticks(range(len(layers)), [])
    kind = {"int8": "INT8", "fp16": "FP16"}[sensitivity.precision]
    axes[0].set_title(f"One layer in {kind} alone ({sensitivity.target}): drift of the whole student")
    _legend(axes[0])
    _save(figure, path)


def plot_search(found: Searched, path: str | Path) -> None:
    """A PNG: share of the work in INT8 against the OKS lost per part, and against the latency on this CPU.

    Raises WholebodyError where matplotlib is missing or the file cannot be written.
    """
    timed = [point for point in found.points if point.latency_ms is not None]
    figure, axes = _figure(2 if timed else 1, height=6.5 if timed else 4.0, width=8.0)
    top = axes[0]
    for part in found.chosen.drift.parts:
        lost = [_loss(point.drift.parts[part]) for point in found.points]
        shares = [100 * point.int8 for point in found.points]
        top.plot(shares, lost, MARKERS[part], color=COLORS[part], markersize=3.5, alpha=0.55, label=part)
    _frontier(top, found.frontier)
    _budget_line(top, 1 - found.budget.oks)
    top.set_yscale("log")
    top.set_ylabel("OKS lost")
    top.set_title(f"Mixes of precisions ({found.target}): each is the whole student, measured")
    if timed:
        axes[1].plot([100 * p.int8 for p in timed], [p.latency_ms for p in timed], "o-", color="#555555")
        axes[1].set_ylim(bottom=0)
        axes[1].set_ylabel("network on this CPU, ms")
    for axis in axes:
        axis.axvline(100 * found.chosen.int8, color="#CC79A7", linewidth=1.5, label="chosen")
        axis.grid(linewidth=0.4, alpha=0.6)
        axis.set_xlim(-2, 102)
    axes[-1].set_xlabel("multiply-accumulates in INT8, %")
    _legend(top)
    _save(figure, path)


def _losses(axis: Axes, layers: Sequence[LayerDrift], parts: Sequence[str], budget: PrecisionBudget) -> None:
    for part in parts:
        lost = [_loss(one.drift.parts[part]) for one in layers]
        axis.plot(range(len(layers)), lost, MARKERS[part], color=COLORS[part], markersize=4, label=part)
    axis.set_yscale("log")
    axis.set_ylabel("OKS lost")
    _budget_line(axis, 1 - budget.oks)


def _medians(
    axis: Axes, layers: Sequence[LayerDrift], parts: Sequence[str], unit: str, allowed: float
) -> None:
    for part in parts:
        spreads = [getattr(one.drift.parts[part], unit) for one in layers]
        values = [math.nan if spread is None else spread.median for spread in spreads]
        axis.plot(range(len(layers)), values, MARKERS[part], color=COLORS[part], markersize=4)
    axis.set_ylabel(f"median, {unit}")
    axis.set_ylim(bottom=0)
    _budget_line(axis, allowed)


def _frontier(axis: Axes, frontier: Sequence[Point]) -> None:
    shares = [100 * point.int8 for point in frontier]
    lost = [max(1 - point.worst_oks, LEAST_LOSS) for point in frontier]
    axis.step(shares, lost, where="pre", color="#333333", linewidth=1, label="Pareto, worst part")


def _budget_line(axis: Axes, value: float) -> None:
    axis.axhline(value, color="#CC0000", linewidth=1, linestyle="--", label="budget")


def _loss(part: PoseDrift) -> float:
    return part.oks if math.isnan(part.oks) else max(1 - part.oks, LEAST_LOSS)


def _parts(layers: Sequence[LayerDrift]) -> list[str]:
    return list(layers[0].drift.parts) if layers else []


def _legend(axis: Axes) -> None:
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)


def _figure(rows: int, *, height: float, width: float) -> tuple[Figure, list[Any]]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise WholebodyError('plots need matplotlib: pip install "wholebody[bench]"') from error
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, [axis for (axis,) in figure.subplots(rows, 1, squeeze=False)]


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    try:
        with whole(path) as partial:
            figure.savefig(partial, format="png")
    except OSError as error:
        raise WholebodyError(f"{path}: cannot be written ({error.strerror})") from error
