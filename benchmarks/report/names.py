"""What the runs of a report are called, and by which colour and marker they are known throughout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from wholebody.benchmarks.recorded import Run
from wholebody.benchmarks.report.wording import plural, runtime

__all__ = ["Names"]


class Names:
    """A run is a student run in some way: `dope-mini` as `FP32 · ONNX Runtime CPU`.

    Ways have a colour each and students a marker, numbered as they first come up. Threads are told where
    runs differ in them.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        runs = list(runs)
        threads = defaultdict(set)
        for run in runs:
            if run.threads is not None:
                threads[self.student(run), _way(run)].add(run.threads)
        self._ambiguous = {key for key, counts in threads.items() if len(counts) > 1}
        self._hues = _numbered(self.way(run) for run in runs)
        self._markers = _numbered(self.student(run) for run in runs)

    def student(self, run: Run) -> str:
        """The model, and the detector that it was run with."""
        if run.detector is None:
            return run.model.name
        reduced = "" if run.detector.precision in ("fp32", "–") else f" {run.detector.precision.upper()}"
        return f"{run.model.name} + {run.detector.name}{reduced}"

    def way(self, run: Run) -> str:
        """Precision and runtime."""
        if (self.student(run), _way(run)) in self._ambiguous and run.threads is not None:
            return f"{_way(run)}, {plural(run.threads, 'thread')}"
        return _way(run)

    def label(self, run: Run) -> str:
        return f"{self.student(run)} · {self.way(run)}"

    def hue(self, run: Run) -> int:
        """The number of its way's colour."""
        return self._hues[self.way(run)]

    def marker(self, run: Run) -> int:
        """The number of its student's marker."""
        return self._markers[self.student(run)]


def _way(run: Run) -> str:
    return f"{run.model.precision.upper()} · {runtime(run)}"


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: k for k, name in enumerate(dict.fromkeys(names))}
