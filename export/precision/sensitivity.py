"""Which layers a reduced precision hurts: the drift that each of them causes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wholebody.export.precision.drift import Drift, PoseDrift, PrecisionBudget
from wholebody.export.precision.layers import Layer
from wholebody.export.precision.mixes import Mix, Mixes

__all__ = ["LayerDrift", "Reduced", "Report", "Sensitivity", "measure_sensitivity", "used", "used_in_all"]

Reduced = Literal["int8", "fp16"]
Report = Callable[[int, int, str], None]  # steps done, of how many, and what the next one is


@dataclass(frozen=True)
class LayerDrift:
    """Layers, one as a rule, and the drift of the student in which they alone are reduced."""

    layers: tuple[Layer, ...]
    drift: Drift

    @property
    def name(self) -> str:
        """Of the layer, or of the first and the last."""
        names = [layer.name for layer in self.layers]
        return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)


@dataclass(frozen=True)
class Sensitivity:
    """The drift of each layer alone, in the order of the graph.

    precision  "int8" or "fp16": what the layer was reduced to
    target     "tensorrt" or "cpu"
    total      multiply-accumulates of the student
    """

    precision: Reduced
    target: str
    total: int
    layers: tuple[LayerDrift, ...]

    def order(self, budget: PrecisionBudget) -> list[LayerDrift]:
        """The cheapest first: those that use the least of the budget for what they compute."""
        return sorted(self.layers, key=lambda layer: used(layer.drift, budget) / max(layer.macs, 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN."""
        return {
            "precision": self.precision,
            "target": self.target,
            "macs": self.total,
            "layers": [
                {
                    "layers": [layer.name for layer in one.layers],
                    "operators": [layer.operator for layer in one.layers],
                    "macs": one.macs,
                    "drift": one.drift.to_dict(),
                }
                for one in self.layers
            ],
        }

    def table(self, budget: PrecisionBudget) -> str:
        """Text: a row a layer, the worst first, with OKS, pixels and millimetres of every part."""
        parts = list(self.layers[0].drift.parts) if self.layers else []
        titles = "".join(f"   {part:^24}" for part in parts)
        columns = f"   {'OKS':>8}{'px':>8}{'mm':>8}" * len(parts)
        lines = [f"{'':30}{'MACs':>7}{'budget':>8}{titles}", f"{'':30}{'%':>7}{'used':>8}{columns}"]
        for one in sorted(self.layers, key=lambda layer: -used(layer.drift, budget)):
            share = f"{100 * one.macs / max(self.total, 1):7.2f}{used(one.drift, budget):8.0%}"
            lines.append(f"{one.name[-30:]:30}{share}" + "".join(map(_columns, one.drift.parts.values())))
        return "\n".join(lines)


def used(drift: Drift, budget: PrecisionBudget) -> float:
    """The largest share of its budget that any part uses: 1 is all of it; infinite where a budget is 0."""
    return max((share for part in drift.parts.values() for share in _shares(part, budget)), default=0.0)


def used_in_all(drift: Drift, budget: PrecisionBudget) -> float:
    """The mean share of its budget that a part uses of OKS, pixels or millimetres; 0 where there is none."""
    shares = [share for part in drift.parts.values() for share in _shares(part, budget)]
    return sum(shares) / max(len(shares), 1)


def measure_sensitivity(
    mixes: Mixes, precision: Reduced = "int8", *, groups: int | None = None, report: Report | None = None
) -> Sensitivity:
    """Reduce every layer alone, or groups of neighbouring ones so that there are at most so many.

    What the ledger of `mixes` knows is not measured again. Raises SourceError where the FP32 student sees
    nobody in the held-out pictures.
    """
    layers = mixes.to_quantize
    if precision == "fp16":
        layers = tuple(layer for layer in mixes.layers if layer.name not in mixes.kept)
    grouped = list(_grouped(layers, groups or len(layers)))
    found = []
    for done, group in enumerate(grouped):
        if report is not None:
            report(done, len(grouped), group[0].name)
        names = [layer.name for layer in group]
        mix = Mix.of(int8=names) if precision == "int8" else Mix.of(fp16=names)
        found.append(LayerDrift(tuple(group), mixes.drift(mix)))
    total = sum(layer.macs for layer in mixes.layers)
    return Sensitivity(precision, mixes.target, total, tuple(found))


def _grouped(layers: Sequence[Layer], groups: int) -> Iterator[Sequence[Layer]]:
    """Runs of neighbours, all but equally long."""
    for i in range(min(groups, len(layers))):
        count = min(groups, len(layers))
        yield layers[i * len(layers) // count : (i + 1) * len(layers) // count]


def _shares(part: PoseDrift, budget: PrecisionBudget) -> Iterator[float]:
    if not math.isnan(part.oks):  # nobody had the part
        yield _share(1 - part.oks, 1 - budget.oks)
    yield _share(part.px.median, budget.px)
    if part.mm is not None:
        yield _share(part.mm.median, budget.mm)


def _share(got: float, allowed: float) -> float:
    if got == 0:
        return 0.0
    return got / allowed if allowed > 0 else math.inf


def _columns(part: PoseDrift) -> str:
    mm = f"{part.mm.median:8.3f}" if part.mm is not None else f"{'':8}"
    return f"   {part.oks:8.4f}{part.px.median:8.3f}{mm}"
