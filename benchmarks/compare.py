"""Two files of runs held against each other: better, worse or no evidence, by interval.

Latency is the ratio of two medians (or 95th percentiles), its interval from batches of rounds. What the
machine did between two measurements would count as a difference, so where both runs took turns with the same
PyTorch network, times are told in units of that network's. Accuracy is the difference of two figures; where
both runs have paired differences from the same reference, it is of these, which are far narrower.

One interval in twenty leaves out the truth. A table of many would cry wolf, so the intervals are widened
until 95 % holds for all of a comparison at once (Bonferroni): "worse" is told by mistake in at most one
table of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from wholebody.benchmarks.pairs import Either, IncomparableError, Pair, match
from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.recorded import Accuracy, Estimate, Figure, Latency, Rounds, Run, negligible
from wholebody.benchmarks.rounds import baselines, change, in_units_of
from wholebody.runtime.errors import SourceError

__all__ = ["Change", "Comparison", "Verdict", "compare"]

Verdict = Literal["better", "worse", "no evidence"]
TIMED = {"p50": ("total", 0.5), "p95": ("total", 0.95), "network p50": ("network", 0.5)}
ERROR = 0.05


@dataclass(frozen=True)
class Change:
    """One figure of a pair: new over old in milliseconds (unit "ms"), else new minus old.

    `old` and `new` are None where they were not recorded, `change` where nothing can be told. `anchored`:
    told in units of the PyTorch network that both took turns with, or of differences from the same reference.
    """

    pair: Pair
    name: str
    unit: str
    better: str
    old: Estimate | None
    new: Estimate | None
    change: Estimate | None
    anchored: bool

    @property
    def verdict(self) -> Verdict:
        """By whether the interval leaves out that nothing changed; what rounds to nothing has not."""
        same = 1.0 if self.unit == "ms" else 0.0
        if self.change is None or self.change.interval is None:
            return "no evidence"
        low, high = self.change.interval
        if low <= same <= high or (self.unit != "ms" and abs(self.change.value) < negligible(self.unit)):
            return "no evidence"
        return "better" if (low > same) == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. `references`: PyTorch's own times, which are the machine's and nobody's merit."""

    changes: Sequence[Change]
    references: Sequence[Change]
    only_old: Sequence[Either]
    only_new: Sequence[Either]

    def count(self, verdict: Verdict) -> int:
        return sum(each.verdict == verdict for each in self.changes)


def compare(old: Path, new: Path, *, force: bool = False) -> Comparison:
    """Hold the runs of a new file against an old one's.

    Raises SourceError for files that are no runs and where no two runs were asked for the same; without
    `force` IncomparableError where two that were differ in pictures, sizes or machine.
    """
    olds, news = load_runs([old]), load_runs([new])
    pairs = match(olds, news)
    if not pairs:
        raise SourceError(
            f"no run of {new} was asked for what one of {old} was (student, precision, backend, settings): "
            "measure both with the same command"
        )
    unlike = list(dict.fromkeys(line for pair in pairs for line in pair.differs))
    if unlike and not force:
        raise IncomparableError(unlike)
    matched = {id(run) for pair in pairs for run in (pair.old, pair.new)}
    references = [pair for pair in pairs if isinstance(pair.new, Latency) and pair.new.is_reference]
    judged = [pair for pair in pairs if pair not in references] or pairs
    return Comparison(
        _changes(judged, _Anchors(olds), _Anchors(news)),
        _changes(references, _Anchors(()), _Anchors(())),
        [run for run in olds if id(run) not in matched],
        [run for run in news if id(run) not in matched],
    )


class _Anchors:
    """PyTorch's runs of one file, by those who took turns with them."""

    def __init__(self, runs: Sequence[Either]) -> None:
        self._of = baselines([run for run in runs if isinstance(run, Latency)])

    def of(self, run: Latency) -> Latency | None:
        found = self._of.get(id(run))
        return found if found and found.is_reference and found.network_times else None


@dataclass(frozen=True, eq=False)
class Side:
    """A run, and PyTorch's that took turns with it."""

    run: Latency
    anchor: Latency | None

    @property
    def in_turns(self) -> bool:
        """Whether all its rounds can be told in units of the anchor's."""
        count = len(self.anchor.network_times) if self.anchor else 0
        return all(len(rounds) in (0, count) for rounds in (self.run.times, self.run.network_times))

    def rounds(self, stage: str, anchored: bool) -> Rounds:
        found = self.run.network_times if stage == "network" else self.run.times
        return in_units_of(self.anchor.network_times, found) if anchored and self.anchor and found else found


def _changes(pairs: Sequence[Pair], olds: _Anchors, news: _Anchors) -> list[Change]:
    """Intervals hold for all of them at once."""
    figures = sum(len(TIMED) if isinstance(p.new, Latency) else len(p.new.figures) for p in pairs)
    confidence = 1 - ERROR / max(1, figures)
    changes: list[Change] = []
    for pair in pairs:
        if isinstance(pair.old, Latency) and isinstance(pair.new, Latency):
            sides = Side(pair.old, olds.of(pair.old)), Side(pair.new, news.of(pair.new))
            changes += _latency(pair, sides, confidence)
        elif isinstance(pair.old, Accuracy) and isinstance(pair.new, Accuracy):
            changes += _accuracy(pair, pair.old, pair.new, confidence)
    return changes


def _same(old: Latency | None, new: Latency | None) -> bool:
    """Whether both are the same PyTorch on the same weights."""
    if old is None or new is None:
        return False
    facts = [(run.model.sha256, run.backend, run.threads, _torch(run)) for run in (old, new)]
    return facts[0] == facts[1]


def _torch(run: Run) -> Any:
    return (run.machine.get("versions") or {}).get("torch")


def _latency(pair: Pair, sides: Sequence[Side], confidence: float) -> Iterator[Change]:
    anchored = _same(sides[0].anchor, sides[1].anchor) and all(side.in_turns for side in sides)
    for name, (stage, share) in TIMED.items():
        rounds = [side.rounds(stage, anchored) for side in sides]
        found = change(rounds[0], rounds[1], share=share, confidence=confidence)
        figures = [side.run.figure(name.split()[-1], stage) for side in sides]
        yield Change(pair, name, "ms", "lower", figures[0], figures[1], found, anchored)


def _accuracy(pair: Pair, old: Accuracy, new: Accuracy, confidence: float) -> Iterator[Change]:
    wider = NormalDist().inv_cdf((1 + confidence) / 2) / NormalDist().inv_cdf(1 - ERROR / 2)
    for name, figure in new.figures.items():
        before = old.figures.get(name)
        paired = old.reference is not None and old.reference == new.reference and _paired(before, figure)
        yield Change(
            pair, name, figure.unit, figure.better, before.value if before else None, figure.value,
            _minus(figure, before, paired, wider), paired,
        )  # fmt: skip


def _paired(old: Figure | None, new: Figure) -> bool:
    """Whether both are differences from the same figure, give or take what another processor rounds."""
    if old is None or None in (old.difference, new.difference, old.reference, new.reference):
        return False
    return abs((old.reference or 0.0) - (new.reference or 0.0)) < negligible(new.unit)


def _minus(new: Figure, old: Figure | None, paired: bool, wider: float) -> Estimate | None:
    """New minus old, their intervals taken for independent; on the same pictures the truth is narrower."""
    if old is None:
        return None
    a, b = (new.difference, old.difference) if paired else (new.value, old.value)
    if a is None or b is None:
        return None
    value = a.value - b.value
    if a.interval is None or b.interval is None:
        return Estimate(value)
    down = math.hypot(a.value - a.interval[0], b.interval[1] - b.value) * wider
    up = math.hypot(a.interval[1] - a.value, b.value - b.interval[0]) * wider
    return Estimate(value, (value - down, value + up))
