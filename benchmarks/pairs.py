"""Which run of one file is to be held against which of another, and whether it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wholebody.benchmarks.recorded import Accuracy, Latency, Run
from wholebody.runtime.errors import SourceError

__all__ = ["Either", "IncomparableError", "Pair", "match"]

Either = Latency | Accuracy
# What a machine is, to whom its times belong. Its name and versions may be what one wants to compare.
MACHINE = ("cpu", "cores", "system", "governor", "power_mode")


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


def match(olds: Sequence[Either], news: Sequence[Either]) -> list[Pair]:
    """Each new run with the old one that was asked for the same, in the new ones' order.

    Of several, the one of the same pictures, size and machine; of these the last with the last, and so on
    backwards. Each is matched once.
    """
    left = list(reversed(olds))
    found: dict[int, Pair] = {}
    for alike in (True, False):
        for new in (new for new in reversed(news) if id(new) not in found):
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
    facts: list[tuple[str, Any, Any]] = [
        ("size", old.settings.size, new.settings.size),
        ("pictures", _pictures(old), _pictures(new)),
    ]
    if isinstance(old, Latency):
        facts += [("threads", old.threads, new.threads), ("GPU", _gpu(old), _gpu(new))]
        facts += [(name, old.machine.get(name), new.machine.get(name)) for name in MACHINE]
    called = f"{new.model.name} {new.model.precision} on {new.runtime}"
    return [f"{called}: {name} {_short(a)} before, {_short(b)} now" for name, a, b in facts if a != b]


def _pictures(run: Either) -> tuple[Any, ...]:
    """What tells them from others."""
    judged = (run.dataset_sha256, run.pictures) if isinstance(run, Accuracy) else ()
    return run.settings.pictures, *judged


def _gpu(run: Run) -> Any:
    """Its name; clocks and driver may differ from day to day."""
    gpu = run.machine.get("gpu")
    return gpu.get("name") if isinstance(gpu, Mapping) else gpu


def _short(fact: Any) -> str:
    if isinstance(fact, tuple):
        return " ".join(_short(each) for each in fact if each is not None) or "none"
    return str(fact)[:48] if fact is not None else "none"
