"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Machine", "cores"]

LIBRARIES = ("wholebody", "numpy", "opencv-python", "onnxruntime", "torch")


@dataclass(frozen=True)
class Machine:
    """CPU, cores for this process, system, its load in the minute before, and versions."""

    cpu: str
    cores: int
    system: str
    load: float | None
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Machine:
        """This one, now."""
        system = f"{platform.system()} {platform.machine()}"
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        versions = {"python": platform.python_version(), **_versions()}
        return cls(_cpu_name(), cores(), system, load, versions)

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        busy = "" if self.load is None else f", load {self.load:.1f} before"
        return f"{self.cpu}, {self.cores} cores, {self.system}{busy}; {versions}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "versions": dict(self.versions)}


def cores() -> int:
    """Physical cores this process may use."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(siblings.format(cpu)).read_text() for cpu in cpus})
    except OSError:
        return len(cpus)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
