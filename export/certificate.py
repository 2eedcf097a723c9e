"""How far an exported student lies from its PyTorch reference, measured, judged and shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_MATCHED",
    "Budget",
    "Certificate",
    "Matching",
    "PartDrift",
    "Spread",
    "over_budget",
    "spread_entries",
]

MIN_MATCHED = 0.97
UNITS = {"pixels": "px", "millimetres": "mm", "score": ""}


@dataclass(frozen=True)
class Budget:
    """The largest drift allowed: `px` pixels in 2D, `mm` in 3D, `score` in a network's own scores.

    Pixels are the source picture's for DOPE, the crop's for a top-down student. A top-down student has no
    millimetres.
    """

    px: float = 0.05
    mm: float = 0.1
    score: float = 0.002

    def of(self, measure: str) -> float:
        """The budget of "pixels", "millimetres" or "score"."""
        return {"pixels": self.px, "millimetres": self.mm, "score": self.score}[measure]


@dataclass(frozen=True)
class Spread:
    """How a drift is distributed, and the picture that has the largest; NaN where a network answered NaN."""

    median: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    worst: str = ""

    @classmethod
    def of(cls, drifts: Sequence[NDArray[Any]], names: Sequence[str]) -> Spread:
        """One array of drifts a picture, and the pictures' names."""
        full = [(drift, name) for drift, name in zip(drifts, names, strict=True) if drift.size]
        if not full:
            return cls()
        values = np.concatenate([drift for drift, _ in full]).astype(np.float64)
        peaks = np.array([drift.max() for drift, _ in full])  # NaN where one is NaN, and argmax then finds it
        if not np.isfinite(values).all():
            return cls(math.nan, math.nan, math.nan, math.nan, full[int(np.argmax(~np.isfinite(peaks)))][1])
        median, p95, p99 = (float(v) for v in np.percentile(values, (50, 95, 99)))
        return cls(median, p95, p99, float(values.max()), full[int(peaks.argmax())][1])


@dataclass(frozen=True)
class Matching:
    """How many of two sets are the same: `lost` are the reference's alone, `gained` the student's alone."""

    matched: int = 0
    lost: int = 0
    gained: int = 0

    @property
    def total(self) -> int:
        """One lost while another is gained counts once: two networks chose differently between near-ties."""
        return self.matched + max(self.lost, self.gained)

    @property
    def share(self) -> float:
        """1 where there is nothing to match."""
        return self.matched / self.total if self.total else 1.0


@dataclass(frozen=True)
class PartDrift:
    """One part's drift over its (proposal, class) pairs, each pair counted with its worst joint.

    candidates      pairs that either network scores high enough to take part in a person
    of_candidates   drift of the matched ones, by "pixels", "millimetres" and "score"
    of_pairs        drift of every pair of every matched proposal
    """

    candidates: Matching
    of_candidates: Mapping[str, Spread]
    of_pairs: Mapping[str, Spread]

    @property
    def judged(self) -> Mapping[str, Spread]:
        """What the budget applies to: the candidates, or every pair where no picture has a candidate."""
        return self.of_candidates if self.candidates.total else self.of_pairs


@dataclass(frozen=True)
class Certificate:
    """The measured drift of a student, and whether it is within budget.

    reference, student   what was compared
    pictures             how many
    people               what the pipeline makes of both answers: shown, not judged, for one pair of scores
                         near a threshold decides about a person
    proposals            boxes both made, within four times the pixel budget of each other
    parts                body, hand and face
    """

    reference: Mapping[str, Any]
    student: str
    pictures: int
    people: Matching
    proposals: Matching
    parts: Mapping[str, PartDrift]
    budget: Budget = field(default_factory=Budget)

    @property
    def passed(self) -> bool:
        """Whether nothing is over budget."""
        return not self.failures()

    def failures(self) -> list[str]:
        """What is over budget, in words; empty where the student passes."""
        if not self.proposals.matched:
            return ["no proposal of the student is one of the reference's, so nothing can be compared"]
        found = []
        for part, drift in self.parts.items():
            matching, what = (
                (drift.candidates, "candidates") if drift.candidates.total else (self.proposals, "proposals")
            )
            if not matching.share >= MIN_MATCHED:
                found.append(
                    f"{part}: {matching.share:.1%} of {what} are the reference's (at least {MIN_MATCHED:.0%})"
                )
            found += over_budget(part, drift.judged, self.budget)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN."""
        return {
            "pass": self.passed,
            "reference": dict(self.reference),
            "student": self.student,
            "pictures": self.pictures,
            "budget": {
                "px": self.budget.px,
                "mm": self.budget.mm,
                "score": self.budget.score,
                "matched": MIN_MATCHED,
            },
            "people": _matching(self.people),
            "proposals": _matching(self.proposals),
            "parts": {part: _part(drift) for part, drift in self.parts.items()},
        }

    def table(self) -> str:
        """A few lines of text: per part the candidates and their drift, then the verdict."""
        titles = "".join(f"{title:>9}" for title in ("median", "p95", "p99", "max"))
        lines = [f"{'':6}{'candidates':>11}{'matched':>9}   {'drift':11}{titles}  worst"]
        for part, drift in self.parts.items():
            for measure, s in drift.judged.items():
                head = f"{part:6}{drift.candidates.total:11d}{drift.candidates.share:9.1%}"
                numbers = "".join(f"{value:9.2g}" for value in (s.median, s.p95, s.p99, s.max))
                lines.append(f"{head if measure == 'pixels' else '':26}   {measure:11}{numbers}  {s.worst}")
        for what, m in (("proposals", self.proposals), ("people", self.people)):
            lines.append(f"{m.matched} {what} are the same, {m.lost} lost, {m.gained} gained")
        lines.append(f"{self.pictures} pictures, {self.student} against {self.reference['runtime']}")
        lines += [f"over budget: {failure}" for failure in self.failures()] or ["within budget"]
        return "\n".join(lines)


def over_budget(part: str, spreads: Mapping[str, Spread], budget: Budget) -> list[str]:
    """In words, which of a part's measures have a maximum over budget."""
    return [
        _over(part, measure, spread, budget.of(measure))
        for measure, spread in spreads.items()
        if not spread.max <= budget.of(measure)  # NaN fails
    ]


def _over(part: str, measure: str, spread: Spread, budget: float) -> str:
    unit = UNITS[measure]
    got = "not a number" if math.isnan(spread.max) else f"{spread.max:.3g} {unit}".strip()
    where = f" on {spread.worst}" if spread.worst else ""
    return f"{part}: {measure} drift by {got}{where} (budget {f'{budget:g} {unit}'.strip()})"


def _part(drift: PartDrift) -> dict[str, Any]:
    return {
        "candidates": _matching(drift.candidates),
        **{measure: spread_entries(spread) for measure, spread in drift.of_candidates.items()},
        "all_pairs": {measure: spread_entries(spread) for measure, spread in drift.of_pairs.items()},
    }


def _matching(matching: Matching) -> dict[str, int]:
    return {"matched": matching.matched, "lost": matching.lost, "gained": matching.gained}


def spread_entries(spread: Spread) -> dict[str, Any]:
    """For JSON; null where a number is NaN."""
    values = {"median": spread.median, "p95": spread.p95, "p99": spread.p99, "max": spread.max}
    numbers = {name: float(f"{v:.4g}") if math.isfinite(v) else None for name, v in values.items()}
    return {**numbers, "worst": spread.worst}
