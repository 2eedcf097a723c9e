"""How far a build is: nested phases of steps, as TensorRT 10 and newer report them, made one fraction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BuildProgress", "Progress"]


@dataclass(frozen=True)
class Progress:
    """phase: what is being done; done: 0 to 1; left: seconds still to go, None while nobody can tell."""

    phase: str
    done: float
    left: float | None

    def __str__(self) -> str:
        return f"{self.done:.0%}" + ("" if self.left is None else f", {self.left:.0f} s left")


@dataclass
class _Phase:
    """parent: the phase it is a step of, None at the top."""

    parent: str | None
    steps: int
    finished: int = 0


class BuildProgress:
    """Takes the calls of TensorRT's IProgressMonitor and tells `report` about each.

    clock: seconds, from any start.
    """

    def __init__(
        self, report: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._report, self._clock = report, clock
        self._began = clock()
        self._phases: dict[str, _Phase] = {}
        self._done = 0.0

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase of so many steps begins, as a step of its parent."""
        self._phases[phase_name] = _Phase(parent_phase, max(1, num_steps))
        self._tell(phase_name)

    def step_complete(self, phase_name: str, step: int) -> None:
        """The step with this number, from 0, is done."""
        if phase_name in self._phases:
            self._phases[phase_name].finished = step + 1
        self._tell(phase_name)

    def phase_finish(self, phase_name: str) -> None:
        """A phase is over."""
        self._phases.pop(phase_name, None)
        self._tell(phase_name)

    def _tell(self, phase: str) -> None:
        tops = [name for name, p in self._phases.items() if p.parent not in self._phases]
        now = sum(self._fraction(name) for name in tops) / len(tops) if tops else self._done
        self._done = max(self._done, min(1.0, now))  # a phase that began anew takes nothing back
        elapsed = self._clock() - self._began
        left = elapsed / self._done - elapsed if self._done > 0.02 else None
        self._report(Progress(phase, self._done, left))

    def _fraction(self, name: str) -> float:
        """Steps that are done, and the part of the one in which its children are."""
        phase = self._phases[name]
        within = [self._fraction(child) for child, p in self._phases.items() if p.parent == name]
        part = sum(within) / len(within) if within else 0.0
        return min(1.0, (phase.finished + part) / phase.steps)
