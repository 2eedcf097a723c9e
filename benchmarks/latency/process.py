"""A worker process, seen from the one that asks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

from wholebody.benchmarks.latency.contenders import Contender
from wholebody.runtime.errors import BackendError

__all__ = ["WorkerProcess", "WorkerStopped"]

MODULE = "wholebody.benchmarks.latency.worker"
PATIENCE = 5  # seconds to end by itself


class WorkerStopped(BackendError):
    """The process ended by itself."""


class WorkerProcess:
    """A fresh Python process that answers; leaving the context ends it.

    name     for the errors
    threads  of every library in it that asks OpenMP

    Ctrl-C does not reach it; it ends when this process does.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._said = TemporaryFile()  # noqa: SIM115
        start = f"import sys; sys.path[:] = {sys.path!r}; from {MODULE} import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer of `Worker`'s method.

        Raises what the method raised where that is a WholebodyError, else BackendError; WorkerStopped where
        the process ended over it; ImportError.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((name, arguments), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            kind, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise self._stopped() from None
        if kind == "done":
            return value
        if kind == "refused":
            raise value
        if kind == "missing":
            raise ImportError(value[0], name=value[1])
        raise BackendError(f"{self.name} failed: {value}")

    def start(
        self, contender: Contender, detector: Path | None, threads: int
    ) -> tuple[str, str | None, float, float]:
        """Load a contender: its backend's name, the fallback, and seconds of import and of loading."""
        began = time.perf_counter()
        self.ask("imports", contender.backend)
        imported = time.perf_counter()
        name, fallback = self.ask("load", contender, detector, threads)
        return name, fallback, imported - began, time.perf_counter() - imported

    def _stopped(self) -> WorkerStopped:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        last = f": {' '.join(lines[-1].split())[:200]}" if lines else ""
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return WorkerStopped(f"the process of {self.name} {how}{last}")

    def close(self) -> None:
        """End it, if need be by force; once more does no harm."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close() if kind is None else self.kill()
