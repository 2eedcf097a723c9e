"""Energy counters: an NVIDIA GPU's, a Jetson board's, a CPU's, where they can be read."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from wholebody.benchmarks.nvml import Gpu

__all__ = ["Meter", "Nvml", "Rapl", "Tegrastats", "open_meter"]

POWERCAP = Path("/sys/class/powercap")
INTERVAL_MS = 100
BOARD = re.compile(r"\b(VDD_IN|VIN_SYS_5V0|POM_5V_IN|SYS5V)\s+(\d+)(?:mW)?/")


class Meter(Protocol):
    """`joules` grows; the difference of two readings was used in between, by all that ran."""

    @property
    def source(self) -> str: ...

    def joules(self) -> float: ...

    def close(self) -> None: ...


def open_meter(gpu: int | None) -> Meter | None:
    """The counter for a GPU's number, or for the CPU; on a Jetson the whole board's for either."""
    if shutil.which("tegrastats"):
        return Tegrastats()
    return Rapl.open() if gpu is None else Nvml.open(gpu)


class Nvml:
    """The GPU alone."""

    source = "NVML, the GPU"

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._last = 0.0

    @classmethod
    def open(cls, device: int) -> Nvml | None:
        """None where the GPU has no counter."""
        gpu = Gpu.open(device)
        return None if gpu is None or gpu.joules() is None else cls(gpu)

    def joules(self) -> float:
        self._last = self._gpu.joules() or self._last
        return self._last

    def close(self) -> None:
        return


class Rapl:
    """The CPU's packages, as Intel and AMD count them; most systems let only the administrator read it."""

    source = "RAPL, the CPU packages"

    def __init__(self, packages: Iterable[Path]) -> None:
        self._packages = [
            (path / "energy_uj", int((path / "max_energy_range_uj").read_text())) for path in packages
        ]
        self._last = [int(counter.read_text()) for counter, _ in self._packages]
        self._sum = 0

    @classmethod
    def open(cls, powercap: Path = POWERCAP) -> Rapl | None:
        """None where there is no counter or it may not be read."""
        packages = sorted(powercap.glob("intel-rapl:?"))
        try:
            return cls(packages) if packages else None
        except (OSError, ValueError):
            return None

    def joules(self) -> float:
        for i, (counter, span) in enumerate(self._packages):
            now = int(counter.read_text())
            self._sum += (now - self._last[i]) % (span + 1)  # it starts again at 0
            self._last[i] = now
        return self._sum / 1e6

    def close(self) -> None:
        return


class Tegrastats:
    """A Jetson's input, as `tegrastats` tells it ten times a second, summed up."""

    source = "tegrastats, the board"

    def __init__(self) -> None:
        self.watts = 0.0  # now
        self._joules, self._read_at = 0.0, time.perf_counter()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            ["tegrastats", "--interval", str(INTERVAL_MS)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._follow, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _follow(self, lines: Iterable[str]) -> None:
        for line in lines:
            if found := BOARD.search(line):
                with self._lock:
                    self._advance()
                    self.watts = int(found[2]) / 1e3

    def joules(self) -> float:
        with self._lock:
            self._advance()
            return self._joules

    def _advance(self) -> None:
        now = time.perf_counter()
        self._joules += self.watts * (now - self._read_at)
        self._read_at = now

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
