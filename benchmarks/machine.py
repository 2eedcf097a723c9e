"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from wholebody.benchmarks.nvml import Gpu
from wholebody.runtime.cpu import cores, cpu_name

__all__ = ["Machine"]

LIBRARIES = (
    "wholebody", "numpy", "opencv-python", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt",
)  # fmt: skip
CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
PLATFORM_PROFILE = Path("/sys/firmware/acpi/platform_profile")


@dataclass(frozen=True)
class Machine:
    """CPU, cores for this process, system, its load in the minute before, and versions.

    mhz         clock of the first core at this moment
    governor    how the system chooses clocks ("performance", "schedutil")
    power_mode  of a Jetson (`nvpmodel`) or a laptop
    gpu         name, driver, clocks and limit of power of the first NVIDIA GPU

    Each None where the system does not tell, or there is no such thing.
    """

    cpu: str
    cores: int
    system: str
    load: float | None
    versions: Mapping[str, str]
    host: str = ""
    mhz: float | None = None
    governor: str | None = None
    power_mode: str | None = None
    gpu: Mapping[str, Any] | None = field(default=None)

    @classmethod
    def here(cls) -> Machine:
        """This one, now."""
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        gpu = Gpu.open()
        return cls(
            cpu=cpu_name(),
            cores=cores(),
            system=f"{platform.system()} {platform.machine()}",
            load=load,
            versions={"python": platform.python_version(), **_versions()},
            host=platform.node(),
            mhz=_mhz(),
            governor=_read(CPUFREQ / "scaling_governor"),
            power_mode=_power_mode(),
            gpu=None if gpu is None else gpu.describe(),
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        busy = "" if self.load is None else f", load {self.load:.1f} before"
        gpu = "" if self.gpu is None else f", {self.gpu['name']}"
        power = "" if self.power_mode is None else f", power mode {self.power_mode}"
        return f"{self.cpu}, {self.cores} cores{gpu}, {self.system}{power}{busy}; {versions}"

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


def _mhz() -> float | None:
    khz = _read(CPUFREQ / "scaling_cur_freq")
    if khz is not None and khz.isdecimal():
        return int(khz) / 1e3
    lines = (_read(Path("/proc/cpuinfo")) or "").splitlines()
    told = next((line.partition(":")[2] for line in lines if line.startswith("cpu MHz")), "")
    return float(told) if told.strip() else None


def _power_mode() -> str | None:
    if shutil.which("nvpmodel") is None:
        return _read(PLATFORM_PROFILE)
    try:
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    named = [line.partition(":")[2].strip() for line in done.stdout.splitlines() if "Power Mode" in line]
    return named[0] if named else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
