"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from wholebody.runtime.cpu import cores, cpu_name

__all__ = ["Machine"]

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
        return cls(cpu_name(), cores(), system, load, versions)

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        busy = "" if self.load is None else f", load {self.load:.1f} before"
        return f"{self.cpu}, {self.cores} cores, {self.system}{busy}; {versions}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "versions": dict(self.versions)}


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
