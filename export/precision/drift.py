"""How far a network of reduced precision lies from the one it was made of, in what its users see.

Both answer the same inputs, both answers go through the runtime's pipeline, and the people that come out are
held against each other: pixels, millimetres and OKS per part, not the cosine of tensors. A joint that moved
by a tenth of its person is told apart from jitter, as another peak won there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wholebody.export.certificate import Matching, Spread, spread_entries
from wholebody.export.precision.pairs import Mask, Pairs, compare, count_people
from wholebody.export.precision.poses import Poses, ask, part_slices, poses_of
from wholebody.runtime.backends.backend import Array, Backend
from wholebody.runtime.errors import SourceError
from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import AnySpec, DetectorSpec

__all__ = ["JUMP", "Drift", "HeldOut", "PoseDrift", "PrecisionBudget", "Reference", "measure_drift"]

JUMP = 0.1  # of the person's size: a joint that moved so far is at another peak


class HeldOut(Protocol):
    """Inputs of the network by name, and the picture that each came from; `calibration.Samples` is such."""

    @property
    def names(self) -> Sequence[str]: ...

    def __iter__(self) -> Iterator[Mapping[str, Array]]: ...


@dataclass(frozen=True)
class PrecisionBudget:
    """The most that a part may drift.

    oks  the least mean similarity to the reference's people, of whom the lost ones count 0
    px   of the median joint, in pixels of the network's input
    mm   of the median joint in 3D, the pose's mean at the origin
    """

    oks: float = 0.99
    px: float = 0.5
    mm: float = 3.0


@dataclass(frozen=True)
class PoseDrift:
    """One part's drift. A part of whose joints the reference is confident nowhere is judged by all it has.

    joints         confident ones: in both networks, in the reference alone, in the other alone
    oks            mean over the reference's people (for boxes: IoU); NaN where there are none
    px, mm         of the confident joints that both networks have
    jumped         the share of these that moved by more than a tenth of the person
    jumped_unsure  that share of the joints of which the reference is not confident
    """

    joints: Matching
    oks: float
    px: Spread
    mm: Spread | None
    jumped: float
    jumped_unsure: float

    def failures(self, part: str, budget: PrecisionBudget) -> list[str]:
        """What is over budget, in words."""
        found = [] if not self.oks < budget.oks else [f"{part}: OKS {self.oks:.4f} (budget {budget.oks:g})"]
        for spread, allowed, unit in ((self.px, budget.px, "px"), (self.mm, budget.mm, "mm")):
            if spread is not None and not spread.median <= allowed:  # NaN fails
                found.append(f"{part}: {spread.median:.3g} {unit} (budget {allowed:g} {unit})")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN or there is no 3D."""
        return {
            "joints": _counts(self.joints),
            "oks": _number(self.oks),
            "px": spread_entries(self.px),
            "mm": None if self.mm is None else spread_entries(self.mm),
            "jumped": _number(self.jumped),
            "jumped_unsure": _number(self.jumped_unsure),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PoseDrift:
        """Read what `to_dict` wrote."""
        numbers = {name: _float(data[name]) for name in ("oks", "jumped", "jumped_unsure")}
        mm = None if data["mm"] is None else _spread(data["mm"])
        return cls(joints=Matching(**data["joints"]), px=_spread(data["px"]), mm=mm, **numbers)


@dataclass(frozen=True)
class Drift:
    """The measured drift of a network from its reference, over `inputs` frames or crops."""

    reference: str
    candidate: str
    inputs: int
    people: Matching
    parts: Mapping[str, PoseDrift] = field(default_factory=dict)

    def failures(self, budget: PrecisionBudget) -> list[str]:
        """What is over budget, in words; empty where the network passes."""
        return [failure for part, drift in self.parts.items() for failure in drift.failures(part, budget)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN."""
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "inputs": self.inputs,
            "people": _counts(self.people),
            "parts": {part: drift.to_dict() for part, drift in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Drift:
        """Read what `to_dict` wrote."""
        return cls(
            reference=data["reference"],
            candidate=data["candidate"],
            inputs=data["inputs"],
            people=Matching(**data["people"]),
            parts={part: PoseDrift.from_dict(entries) for part, entries in data["parts"].items()},
        )

    def table(self) -> str:
        """A few lines of text: per part the similarity, the jumps and the spread of drift."""
        titles = "".join(f"{title:>8}" for title in ("median", "p95", "p99", "max"))
        lines = [f"{'':8}{'joints':>7}{'OKS':>8}{'jumped':>8}{'unsure':>8}   {'':3}{titles}  worst"]
        for part, drift in self.parts.items():
            shares = f"{drift.oks:8.4f}{drift.jumped:8.2%}{drift.jumped_unsure:8.2%}"
            head = f"{part:8}{drift.joints.matched:7d}{shares}"
            for unit, s in (("px", drift.px), ("mm", drift.mm)):
                if s is not None:
                    numbers = "".join(f"{value:8.3g}" for value in (s.median, s.p95, s.p99, s.max))
                    lines.append(f"{head if unit == 'px' else '':39}   {unit:3}{numbers}  {s.worst}")
        m = self.people
        lines.append(f"{m.matched} people are the same, {m.lost} lost, {m.gained} gained")
        lines.append(
            f"{self.inputs} inputs, {self.candidate} against {self.reference}; pixels are the input's"
        )
        return "\n".join(lines)


def measure_drift(reference: Backend, candidate: Backend, spec: AnySpec, samples: HeldOut) -> Drift:
    """The drift of `candidate` from `reference` over inputs of the network that `spec` describes.

    Raises SourceError where the reference sees nobody in any of them.
    """
    return Reference(reference, spec, samples).drift(candidate)


class Reference:
    """A network's people, found once to hold many candidates against.

    Raises SourceError where it sees nobody in any input.
    """

    def __init__(self, backend: Backend, spec: AnySpec, samples: HeldOut) -> None:
        self.name = backend.name
        self.spec = spec
        self.samples = samples
        self._poses = [poses_of(ask(backend, inputs), spec, inputs) for inputs in samples]
        if not any(np.any(poses.scores > 0) for poses in self._poses):
            raise SourceError(
                f"{spec.name} sees nobody in {len(self._poses)} pictures, so no drift can be measured; "
                "give pictures of people"
            )

    def drift(self, candidate: Backend) -> Drift:
        """How far the candidate's people lie from them; BackendError where it fails."""
        poses = [poses_of(ask(candidate, inputs), self.spec, inputs) for inputs in self.samples]
        people = [count_people(a, b) for a, b in zip(self._poses, poses, strict=True)]
        return Drift(
            reference=self.name,
            candidate=candidate.name,
            inputs=len(poses),
            people=_sum(people),
            parts={part: self._part(slices, poses) for part, slices in part_slices(self.spec).items()},
        )

    def _part(self, slices: Sequence[slice], poses: Sequence[Poses]) -> PoseDrift:
        pairs, names = [], []
        for a, b, name in zip(self._poses, poses, self.samples.names, strict=True):
            for joints in slices:
                pairs.append(compare(a.part(joints), b.part(joints), self._sigmas(joints)))
                names.append(Path(name).name)
        return _join(pairs, names)

    def _sigmas(self, joints: slice) -> Floats | None:
        if isinstance(self.spec, DetectorSpec):
            return None
        return np.array(SKELETONS[self.spec.skeleton].sigmas[joints], np.float32)


def _join(pairs: Sequence[Pairs], names: Sequence[str]) -> PoseDrift:
    """All inputs' pairs of one part."""
    confident = any(p.sure.any() for p in pairs)
    judged = [p.sure if confident else p.seen for p in pairs]
    unsure = [p.seen & ~p.sure for p in pairs]
    solid = [p.solid for p in pairs if p.solid is not None]
    return PoseDrift(
        joints=_sum(Matching(int(p.sure.sum()) - p.lost, p.lost, p.gained) for p in pairs),
        oks=_mean_oks(pairs, judged),
        px=Spread.of([_real(p.apart[mask]) for p, mask in zip(pairs, judged, strict=True)], names),
        mm=Spread.of([_real(s[mask]) for s, mask in zip(solid, judged, strict=True)], names)
        if solid
        else None,
        jumped=_jumped(pairs, judged),
        jumped_unsure=_jumped(pairs, unsure),
    )


def _mean_oks(pairs: Sequence[Pairs], judged: Sequence[Mask]) -> float:
    """Of every pose the mean over its judged joints, and of these the mean."""
    means = [
        np.where(mask, p.alike, 0).sum(axis=1)[mask.any(axis=1)] / mask.sum(axis=1)[mask.any(axis=1)]
        for p, mask in zip(pairs, judged, strict=True)
    ]
    values = np.concatenate(means) if means else np.zeros(0)
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")


def _jumped(pairs: Sequence[Pairs], chosen: Sequence[Mask]) -> float:
    """The share of the chosen joints, of those that both networks have; 0 where there are none."""
    jumps = [
        (p.apart > JUMP * p.size[:, None])[mask & np.isfinite(p.apart)]
        for p, mask in zip(pairs, chosen, strict=True)
    ]
    moved = np.concatenate(jumps) if jumps else np.zeros(0, np.bool_)
    return float(moved.mean()) if len(moved) else 0.0


def _real(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _sum(matchings: Iterable[Matching]) -> Matching:
    rows = [(m.matched, m.lost, m.gained) for m in matchings]
    return Matching(*(sum(column) for column in zip(*rows, strict=True))) if rows else Matching()


def _counts(matching: Matching) -> dict[str, int]:
    return {"matched": matching.matched, "lost": matching.lost, "gained": matching.gained}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _spread(entries: Mapping[str, Any]) -> Spread:
    numbers = {name: _float(entries[name]) for name in ("median", "p95", "p99", "max")}
    return Spread(**numbers, worst=entries["worst"])
