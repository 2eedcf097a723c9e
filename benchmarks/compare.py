"""Two files of runs held against each other: better, worse or no evidence, by interval.

Latency is the ratio of two medians (or 95th percentiles), its interval from resampled rounds. What the
machine did between two measurements would count as a difference, so where both runs took turns with the same
PyTorch network, times are told in units of that network's. Accuracy is the difference of two figures; where
both runs have paired differences from the same reference, it is of these, which are far narrower.

One interval in twenty leaves out the truth. A table of many would cry wolf, so the intervals are widened
until 95 % holds for all of a comparison at once (Bonferroni): "worse" is told by mistake in at most one
table of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from wholebody.benchmarks.recorded import (
    Accuracy,
    Estimate,
    Figure,
    Latency,
    Rounds,
    Run,
    load_runs,
    negligible,
)
from wholebody.benchmarks.rounds import baselines, change, in_units_of
from wholebody.runtime.errors import SourceError

__all__ = ["Change", "Comparison", "IncomparableError", "Pair", "Verdict", "compare", "match"]

Verdict = Literal["better", "worse", "no evidence"]
Either = Latency | Accuracy
# What a machine is, to whom its times belong. Its name and versions may be what one wants to compare.
MACHINE = ("cpu", "cores", "system", "governor", "power_mode")
TIMED = {"p50": ("total", 0.5), "p95": ("total", 0.95), "network p50": ("network", 0.5)}
ERROR = 0.05


class IncomparableError(SourceError):
    """Runs that differ in what must agree; `lines` says which and in what."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(
            f"{len(lines)} differences make these runs incomparable: measure both alike, or give --force to "
            "compare them all the same"
        )
        self.lines = lines


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs that were asked for the same; `differs` says what was not the same after all."""

    old: Either
    new: Either
    differs: Sequence[str] = ()


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


def match(olds: Sequence[Either], news: Sequence[Either]) -> list[Pair]:
    """Each new run with the old one that was asked for the same, in the new ones' order.

    Of several, the one of the same pictures, size and machine; of these the last. Each is matched once.
    """
    left = list(reversed(olds))
    found: dict[int, Pair] = {}
    for alike in (True, False):
        for new in (new for new in news if id(new) not in found):
            old = next(
                (o for o in left if _asked(o) == _asked(new) and not (alike and _differs(o, new))), None
            )
            if old is not None:
                left.remove(old)
                found[id(new)] = Pair(old, new, _differs(old, new))
    return [found[id(new)] for new in news if id(new) in found]


def _asked(run: Either) -> tuple[Any, ...]:
    """What was asked for, but for what is refused where it differs."""
    asked = run.settings
    return (
        type(run), run.model.name, run.model.precision, run.detector and run.detector.name,
        run.detector and run.detector.precision, run.runtime, asked.people, asked.batch, asked.proposals,
        asked.pace_hz, asked.boxes, asked.flip_test, run.dataset if isinstance(run, Accuracy) else None,
    )  # fmt: skip


def _differs(old: Either, new: Either) -> list[str]:
    """A line for each thing that must agree and does not; accuracy is the same on every machine."""
    facts = [("size", old.settings.size, new.settings.size), ("pictures", *_pictures(old, new))]
    if isinstance(old, Latency):
        facts += [("threads", old.threads, new.threads), ("GPU", _gpu(old), _gpu(new))]
        facts += [(name, old.machine.get(name), new.machine.get(name)) for name in MACHINE]
    called = f"{new.model.name} {new.model.precision} on {new.runtime}"
    return [f"{called}: {name} {_short(a)} before, {_short(b)} now" for name, a, b in facts if a != b]


def _pictures(old: Either, new: Either) -> tuple[Any, Any]:
    return tuple(  # type: ignore[return-value]
        (run.settings.pictures, *((run.dataset_sha256, run.pictures) if isinstance(run, Accuracy) else ()))
        for run in (old, new)
    )


def _gpu(run: Run) -> Any:
    """Its name; clocks and driver may differ from day to day."""
    gpu = run.machine.get("gpu")
    return gpu.get("name") if isinstance(gpu, Mapping) else gpu


def _short(fact: Any) -> str:
    if isinstance(fact, tuple):
        return " ".join(_short(each) for each in fact if each is not None) or "none"
    return str(fact)[:48] if fact is not None else "none"


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
    if old is None or old.difference is None or new.difference is None:
        return False
    return old.reference == new.reference


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
