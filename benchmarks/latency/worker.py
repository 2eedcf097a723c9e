"""The process of one contender: it does what it is asked over a pipe, one thing at a time, and waits.

A request is a name and its arguments, an answer is ("done", value), ("refused", error) or ("failed", text);
both are pickled, for both ends are this package. What libraries print goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wholebody.benchmarks.latency.contenders import Contender
    from wholebody.benchmarks.latency.loaded import Loaded
    from wholebody.benchmarks.latency.scenes import Scene

__all__ = ["Worker", "main", "quiet", "warm_up"]

WINDOW, ALIKE = 5, 0.05  # frames, and by how much the medians of two such windows may differ
LEAST_WARM = 2 * WINDOW
NAP, AT_REST, MOST_NAPS = 0.002, 0.1, 250  # seconds; share of it; half a second


class Worker:
    """What can be asked for, method by method."""

    def __init__(self) -> None:
        self._loaded: Loaded
        self._scene: Scene
        self._frame: Callable[[int], dict[str, float]]
        self._pace: float | None

    def imports(self, backend: str) -> None:
        """Import what a contender on this backend needs."""
        import wholebody.benchmarks.latency.loaded as loaded

        if loaded.is_torch(backend):
            import wholebody.export.torch_network
        elif backend.startswith(("auto", "onnxruntime")):
            import wholebody.runtime.backends.onnxrt  # noqa: F401

    def describe(self, checkpoint: Path) -> Any:
        """What a checkpoint is that no student here came from: its description and number of proposals."""
        from wholebody.benchmarks.latency.checkpoints import describe

        return describe(checkpoint)

    def export(self, checkpoint: Path, output: Path, size: tuple[int, int], proposals: int) -> None:
        """A DOPE checkpoint as ONNX, for another number of proposals."""
        from wholebody.benchmarks.latency.checkpoints import export

        export(checkpoint, output, size, proposals)

    def load(self, contender: Contender, detector: Path | None, threads: int) -> tuple[str, str | None]:
        """Open the files; the backend's own name, and why a faster way was passed over."""
        import cv2

        from wholebody.benchmarks.latency.loaded import Loaded

        cv2.setNumThreads(threads)
        self._loaded = Loaded.open(contender, detector, threads)
        return self._loaded.backend.name, self._loaded.fallback

    def first(self, scene: Scene) -> float:
        """Seconds of a frame, which is the first one if nothing was asked for before."""
        began = time.perf_counter()
        self._loaded.frames(scene)(0)
        return time.perf_counter() - began

    def prepare(self, scene: Scene, seconds: float) -> tuple[int, bool, float]:
        """Get warm for this scene, as `warm_up`."""
        from wholebody.benchmarks.latency.peaks import forget_host_peak

        self._scene = scene
        self.watch(self._loaded.frames(scene), scene.pace_hz)
        forget_host_peak()
        return warm_up(lambda index: self._frame(index)["total"], len(scene.pictures), seconds)

    def watch(self, frame: Callable[[int], dict[str, float]], pace_hz: float | None) -> None:
        """What `block` runs, as `Loaded.frames` answers, and how many of them a second; None: at once."""
        self._frame, self._pace = frame, pace_hz

    def block(self, first: int, count: int) -> tuple[list[str], NDArray[np.float64]]:
        """Stages, and the milliseconds (count, stages) of `count` frames from number `first` on.

        One more is run before, which is not counted: the caches hold what others worked on. It ends when the
        threads of this process have come to rest.
        """
        import numpy as np

        self._frame(first)
        due = time.perf_counter()
        rows = []
        for index in range(first, first + count):
            if self._pace is not None:
                due = max(due + 1 / self._pace, time.perf_counter())
                time.sleep(max(0.0, due - time.perf_counter()))
            rows.append(self._frame(index))
        stages = list(rows[0])
        quiet()
        return stages, np.array([[row[stage] for stage in stages] for row in rows])

    def host_peak_mb(self) -> float | None:
        """The most memory since `prepare`."""
        from wholebody.benchmarks.latency.peaks import host_peak_mb

        return host_peak_mb()

    def network_stages(self, seconds: float) -> dict[str, float]:
        """As `Loaded.network_stages`."""
        return self._loaded.network_stages(self._scene, seconds)


def warm_up(frame: Callable[[int], float], pictures: int, seconds: float) -> tuple[int, bool, float]:
    """Run frames until they are stable: how many, whether they became so, and milliseconds of a typical one.

    Stable: every picture was shown, and the medians of the last five frames and of the five before differ by
    less than 5 %. It is given up after so many seconds of frames, those that wait for a compiler taken for
    ordinary ones.
    """
    from statistics import median

    times: list[float] = []
    while True:
        times.append(frame(len(times)))
        typical = median(times[-WINDOW:])
        if len(times) >= max(LEAST_WARM, pictures):
            before = median(times[-2 * WINDOW : -WINDOW])
            if abs(typical - before) < ALIKE * before:
                return len(times), True, typical
        if len(times) >= 3 and len(times) * min(times) > seconds * 1e3:
            return len(times), False, typical


def quiet() -> None:
    """Wait until this process uses no core: after their work OpenMP's threads spin for some milliseconds."""
    for _ in range(MOST_NAPS):
        used = time.process_time()
        time.sleep(NAP)
        if time.process_time() - used < AT_REST * NAP:
            return


def main() -> None:
    """Answer requests until the other end is closed."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(Worker(), sys.stdin.buffer, answers)


def serve(worker: Worker, requests: BinaryIO, answers: BinaryIO) -> None:
    """One answer to every request, until there are no more."""
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(_answer(getattr(worker, name), arguments), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(method: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, Any]:
    from wholebody.runtime.errors import WholebodyError

    try:
        return "done", method(*arguments)
    except WholebodyError as error:
        plain = type(error).__init__ is Exception.__init__  # others need not survive being pickled
        return ("refused", error) if plain else ("failed", " ".join(str(error).split()))
    except MemoryError:
        return "failed", "out of memory"
    except ImportError as error:
        return "missing", (str(error), error.name)
    except Exception as error:  # whatever a library raises must not end the others' measurement
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


if __name__ == "__main__":
    main()
