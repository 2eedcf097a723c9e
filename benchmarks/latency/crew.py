"""The workers of a suite: started when they are needed, each told of once when it cannot work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from wholebody.benchmarks.energy import Meter, open_meter
from wholebody.benchmarks.latency.contenders import Contender
from wholebody.benchmarks.latency.process import WorkerProcess
from wholebody.benchmarks.latency.scenes import Scene
from wholebody.benchmarks.nvml import Gpu
from wholebody.runtime.errors import WholebodyError

__all__ = ["Crew", "Member", "gpu_of"]


@dataclass(eq=False)
class Member:
    """A contender's process, loaded.

    backend     by its own name
    cold_start  seconds of import, of loading, and of the first frame, in a fresh process
    gpu         the number of the one it runs on, None on the CPU
    """

    process: WorkerProcess
    backend: str
    cold_start: dict[str, float]
    gpu: int | None
    meter: Meter | None = None

    def ask(self, name: str, /, *arguments: object) -> Any:
        """As WorkerProcess."""
        return self.process.ask(name, *arguments)


class Crew:
    """Whoever of the contenders can work.

    detector  of top-down students
    threads   of each
    tell      called with a line about whoever is left out
    """

    def __init__(self, detector: Path | None, threads: int, tell: Callable[[str], None]) -> None:
        self._detector, self._threads, self._tell = detector, threads, tell
        self._members: dict[Contender, Member | None] = {}
        self._meters: dict[int | None, Meter | None] = {}
        self._open = ExitStack()
        self.failure: str | None = None

    def members(self, contenders: Sequence[Contender], scene: Scene) -> dict[Contender, Member]:
        """Those that work, started one after the other; the first frame of a process is of this scene."""
        for contender in contenders:
            if contender not in self._members:
                self._members[contender] = self._started(contender, scene)
        return {c: m for c in contenders if (m := self._members[c]) is not None and not self._gone(c, m)}

    def device_memory(self, contender: Contender) -> float | None:
        """MB of its GPU's memory that a contender has; None on the CPU."""
        member = self._members[contender]
        if member is None or member.gpu is None or (gpu := Gpu.open(member.gpu)) is None:
            return None
        return gpu.memory_mb(member.process.pid)

    def dismiss(self, contenders: Sequence[Contender]) -> None:
        """End the processes of those that are not needed again."""
        for contender in contenders:
            member = self._members.pop(contender, None)
            if member is not None:
                member.process.close()

    def _started(self, contender: Contender, scene: Scene) -> Member | None:
        process = self._open.enter_context(WorkerProcess(contender.title, self._threads))
        try:
            backend, fallback, imported, loaded = process.start(contender, self._detector, self._threads)
            first = process.ask("first", scene)
        except WholebodyError as error:
            self.failure = self.failure or str(error)
            self._tell(f"{contender.title}: {error}; left out")
            process.kill()
            return None
        if fallback:
            self._tell(f"{contender.title}: {fallback}")
        gpu = gpu_of(backend, contender.backend)
        cold_start = {"import": round(imported, 3), "load": round(loaded, 3), "first": round(first, 3)}
        return Member(process, backend, cold_start, gpu, self._meter(gpu))

    def _meter(self, gpu: int | None) -> Meter | None:
        if gpu not in self._meters:
            meter = self._meters[gpu] = open_meter(gpu)
            if meter is not None:
                self._open.callback(meter.close)
        return self._meters[gpu]

    def _gone(self, contender: Contender, member: Member) -> bool:
        """Whether its process ended since; that was told of when it did."""
        if member.process.alive:
            return False
        self._members[contender] = None
        return True

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def gpu_of(backend: str, asked: str) -> int | None:
    """The number of the GPU that a backend of this name runs on, as it was asked for; None for the CPU."""
    if not any(name in backend for name in ("tensorrt", "CUDA", "Tensorrt", "cuda")):
        return None
    last = asked.rpartition(":")[2]
    return int(last) if last.isdecimal() else 0
