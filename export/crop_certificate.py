"""How far a top-down student's keypoints lie from its PyTorch reference's, measured, judged and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wholebody.export.certificate import (
    Budget,
    Spread,
    over_budget,
    spread_entries,
)

__all__ = ["CropCertificate", "KeypointDrift", "Ties"]


@dataclass(frozen=True)
class Ties:
    """Keypoints in another bin, of which the reference thinks as highly, and the farthest of them."""

    count: int = 0
    pixels: float = 0.0


@dataclass(frozen=True)
class KeypointDrift:
    """One part's drift over the keypoints of all crops.

    confident     how many keypoints at least one of the networks is confident of
    ties          of those judged; not in "pixels"
    of_confident  their drift by "pixels" (of the crop) and "score"
    of_all        drift of every keypoint
    """

    confident: int
    ties: Ties
    of_confident: Mapping[str, Spread]
    of_all: Mapping[str, Spread]

    @property
    def judged(self) -> Mapping[str, Spread]:
        """What the budget applies to: the confident ones, or all where nobody is confident of any."""
        return self.of_confident if self.confident else self.of_all


@dataclass(frozen=True)
class CropCertificate:
    """The measured drift of a top-down student, and whether it is within budget.

    reference, student  what was compared
    pictures, crops     how many
    parts               those of the skeleton: body, feet, face, left_hand, right_hand
    """

    reference: Mapping[str, Any]
    student: str
    pictures: int
    crops: int
    parts: Mapping[str, KeypointDrift]
    budget: Budget = field(default_factory=Budget)

    @property
    def passed(self) -> bool:
        """Whether nothing is over budget."""
        return not self.failures()

    def failures(self) -> list[str]:
        """What is over budget, in words; empty where the student passes."""
        return [
            failure
            for part, drift in self.parts.items()
            for failure in over_budget(part, drift.judged, self.budget)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN."""
        return {
            "pass": self.passed,
            "reference": dict(self.reference),
            "student": self.student,
            "pictures": self.pictures,
            "crops": self.crops,
            "budget": {"px": self.budget.px, "score": self.budget.score},
            "parts": {part: _part(drift) for part, drift in self.parts.items()},
        }

    def table(self) -> str:
        """A few lines of text: per part the keypoints and their drift, then the verdict."""
        titles = "".join(f"{title:>9}" for title in ("median", "p95", "p99", "max"))
        lines = [f"{'':11}{'confident':>10}{'ties':>6}   {'drift':7}{titles}  worst"]
        for part, drift in self.parts.items():
            head = f"{part:11}{drift.confident:10d}{drift.ties.count:6d}"
            for measure, s in drift.judged.items():
                numbers = "".join(f"{value:9.2g}" for value in (s.median, s.p95, s.p99, s.max))
                lines.append(f"{head if measure == 'pixels' else '':27}   {measure:7}{numbers}  {s.worst}")
        lines.append(
            f"{self.crops} crops of {self.pictures} pictures, {self.student} against "
            f"{self.reference['runtime']}; pixels are the crop's"
        )
        lines += [f"over budget: {failure}" for failure in self.failures()] or ["within budget"]
        return "\n".join(lines)


def _part(drift: KeypointDrift) -> dict[str, Any]:
    return {
        "confident": drift.confident,
        "ties": {"count": drift.ties.count, "pixels": drift.ties.pixels},
        **{measure: spread_entries(spread) for measure, spread in drift.of_confident.items()},
        "all_keypoints": {measure: spread_entries(spread) for measure, spread in drift.of_all.items()},
    }
