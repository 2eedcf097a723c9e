"""The cheapest mix of INT8, FP16 and FP32 layers that keeps every part of the body within its budget.

Greedy, from the order of the sensitivities: what a layer drifts alone says who is tried first, never who is
taken. Every step is a measurement of the whole student, so that drifts that add up, or cancel, are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wholebody.export.precision.drift import Drift, PrecisionBudget
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.sensitivity import LayerDrift, Report, Sensitivity, used

__all__ = ["Obstacle", "Point", "Searched", "search_mix"]

WORTH = 0.01  # of the multiply-accumulates: layers with less together are in or out together
TIMED = 6  # mixes within budget, those with most in INT8, of which a CPU gets the fastest
CURVE = 8  # steps of the order, from nothing to everything in INT8, that the Pareto file shows besides


@dataclass(frozen=True)
class Point:
    """A mix that was measured.

    int8, fp16  shares of the student's multiply-accumulates
    latency_ms  of the network, onnxruntime on this CPU; None where it was not timed
    failures    what is over budget, in words
    """

    mix: Mix
    int8: float
    fp16: float
    drift: Drift
    failures: tuple[str, ...]
    latency_ms: float | None = None

    @property
    def worst_oks(self) -> float:
        """The least of all parts; 1 where nobody was there."""
        return min((p.oks for p in self.drift.parts.values() if not math.isnan(p.oks)), default=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "int8_share": round(self.int8, 4),
            "fp16_share": round(self.fp16, 4),
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 3),
            "within_budget": not self.failures,
            "failures": list(self.failures),
            "drift": self.drift.to_dict(),
            "int8": sorted(self.mix.int8),
            "fp16": sorted(self.mix.fp16),
        }


@dataclass(frozen=True)
class Obstacle:
    """A layer that stays as it is: with it, or it and other small ones, these parts went over budget."""

    name: str
    share: float
    failures: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.share:.1%} of the multiply-accumulates): {', '.join(self.failures)}"


@dataclass(frozen=True)
class Searched:
    """What a search found.

    chosen     the mix within budget with most of the work in INT8, then in FP16; for a CPU the fastest, which
               may be FP32
    points     all that was measured, by share in INT8
    obstacles  layers kept out of INT8, most work first; those kept out of FP16 where no INT8 was wanted
    """

    budget: PrecisionBudget
    target: str
    chosen: Point
    points: tuple[Point, ...]
    obstacles: tuple[Obstacle, ...]

    @property
    def fits(self) -> bool:
        """Whether any layer could be reduced."""
        return bool(self.chosen.mix.int8 or self.chosen.mix.fp16)

    @property
    def frontier(self) -> tuple[Point, ...]:
        """The points than which none has both more INT8 and less drift."""
        best, kept = -math.inf, list[Point]()
        for point in sorted(self.points, key=lambda p: (-p.int8, -p.fp16, -p.worst_oks)):
            if point.worst_oks > best:
                best = point.worst_oks
                kept.append(point)
        return tuple(reversed(kept))

    def to_dict(self) -> dict[str, Any]:
        """The Pareto file: plain values for JSON."""
        frontier = {point.mix for point in self.frontier}
        return {
            "budget": {"oks": self.budget.oks, "px": self.budget.px, "mm": self.budget.mm},
            "target": self.target,
            "chosen": self.chosen.to_dict(),
            "obstacles": [
                {"layer": o.name, "macs_share": round(o.share, 4), "failures": list(o.failures)}
                for o in self.obstacles
            ],
            "points": [{**p.to_dict(), "pareto": p.mix in frontier} for p in self.points],
        }

    def summary(self) -> str:
        """A few lines: what was chosen and what stands in the way of more."""
        c = self.chosen
        shares = f"{c.int8:.1%} of the work in INT8, {c.fp16:.1%} in FP16, {1 - c.int8 - c.fp16:.1%} in FP32"
        lines = [f"{shares}; worst part OKS {c.worst_oks:.4f}"]
        if not self.fits:
            lines = [self._why_none()]
        if self.obstacles:
            lines.append(f"{len(self.obstacles)} layers stand in the way of more:")
            lines += [f"  {obstacle}" for obstacle in self.obstacles[:5]]
        return "\n".join(lines)

    def _why_none(self) -> str:
        fitting = [p for p in self.points if p.mix.int8 and p.latency_ms and not p.failures]
        if not fitting:
            return "no layer fits the budget in reduced precision, not even alone: raise it"
        best = min(p.latency_ms or 0.0 for p in fitting)
        return f"FP32 is fastest on this CPU: {self.chosen.latency_ms:.3g} ms, with INT8 {best:.3g} ms"


def search_mix(
    mixes: Mixes,
    sensitivity: Sensitivity,
    budget: PrecisionBudget,
    *,
    time_it: bool = True,
    report: Report | None = None,
) -> Searched:
    """The cheapest mix within budget on the held-out pictures of `mixes`.

    sensitivity  of INT8, which tells the order
    time_it      measure the latency of the Pareto points

    For TensorRT all that is not in INT8 is FP16 where that fits, else FP32; for the CPU it is FP32.
    What the ledger of `mixes` knows is not measured again.
    """
    return _Search(mixes, sensitivity, budget, report).run(time_it)


class _Search:
    def __init__(
        self, mixes: Mixes, sensitivity: Sensitivity, budget: PrecisionBudget, report: Report | None
    ) -> None:
        self.mixes, self.budget = mixes, budget
        self.order = sensitivity.order(budget)
        self.points: dict[Mix, Point] = {}
        self.obstacles: dict[str, Obstacle] = {}
        self.report = report

    def run(self, time_it: bool) -> Searched:
        half = self._half()
        self.obstacles = {}
        hopeless = [one for one in self.order if len(one.layers) == 1 and used(one.drift, self.budget) > 1]
        self._refuse(hopeless)
        names = [name for one in self.order if one not in hopeless for name in _names(one)]
        int8 = self._grow(names, lambda taken: Mix.of(int8=taken, fp16=half))
        self._curve(half)
        return self._result(Mix.of(int8, half), time_it)

    def _half(self) -> frozenset[str]:
        """The layers that fit in FP16 while nothing is in INT8."""
        if self.mixes.target == "cpu":
            return frozenset()
        names = [layer.name for layer in self.mixes.layers if layer.name not in self.mixes.kept]
        return frozenset(self._grow(names, lambda taken: Mix.of(fp16=taken)))

    def _grow(self, names: Sequence[str], mix_of: Callable[[Sequence[str]], Mix]) -> list[str]:
        """As many of the names as fit, the first ones first: all, or what fits of one half and the other."""
        taken: list[str] = []

        def add(group: Sequence[str]) -> None:
            point = self._measure(mix_of([*taken, *group]))
            if not point.failures:
                taken.extend(group)
            elif len(group) == 1 or self.mixes.share(group) < WORTH:
                for name in group:
                    self._stands_in_the_way(name, point.failures)
            else:
                middle = len(group) // 2
                add(group[:middle])
                add(group[middle:])

        if names:
            add(names)
        return taken

    def _measure(self, mix: Mix) -> Point:
        if mix not in self.points:
            int8, fp16 = self.mixes.share(mix.int8), self.mixes.share(mix.fp16)
            if self.report is not None:
                self.report(len(self.points), 0, f"{int8:.0%} in INT8, {fp16:.0%} in FP16")
            drift = self.mixes.drift(mix)
            self.points[mix] = Point(mix, int8, fp16, drift, tuple(drift.failures(self.budget)))
        return self.points[mix]

    def _refuse(self, layers: Sequence[LayerDrift]) -> None:
        for one in layers:
            for name in _names(one):
                self._stands_in_the_way(name, tuple(one.drift.failures(self.budget)))

    def _stands_in_the_way(self, name: str, failures: tuple[str, ...]) -> None:
        self.obstacles[name] = Obstacle(name, self.mixes.share([name]), failures)

    def _curve(self, half: frozenset[str]) -> None:
        """The FP32 student, and points from none to all of the order, for the Pareto file."""
        self._measure(Mix())
        names = [name for one in self.order for name in _names(one)]
        for step in range(CURVE + 1):
            self._measure(Mix.of(names[: step * len(names) // CURVE], half))

    def _result(self, chosen: Mix, time_it: bool) -> Searched:
        found = Searched(
            budget=self.budget,
            target=self.mixes.target,
            chosen=self._measure(chosen),
            points=tuple(sorted(self.points.values(), key=lambda p: (p.int8, p.fp16))),
            obstacles=tuple(sorted(self.obstacles.values(), key=lambda o: -o.share)),
        )
        return self._timed(found) if time_it else found

    def _timed(self, found: Searched) -> Searched:
        """With latencies: of the FP32 student, the frontier and what may be chosen."""
        within = [point.mix for point in found.points if not point.failures][-TIMED:]
        wanted = {Mix(), found.chosen.mix, *within, *(point.mix for point in found.frontier)}
        best = self.mixes.latencies_ms(wanted)
        points = tuple(replace(point, latency_ms=best.get(point.mix)) for point in found.points)
        able = [p for p in points if p.mix in (Mix(), *within)] if found.target == "cpu" else []
        fastest = min(able, key=lambda p: p.latency_ms or 0.0, default=None)
        chosen = fastest or next(p for p in points if p.mix == found.chosen.mix)
        return replace(found, points=points, chosen=chosen)


def _names(one: LayerDrift) -> list[str]:
    return [layer.name for layer in one.layers]
