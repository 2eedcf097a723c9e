"""The processor this process runs on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

__all__ = ["cores", "cpu_name"]


def cores() -> int:
    """Physical cores this process may use, so that no two threads need share one."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(siblings.format(cpu)).read_text() for cpu in cpus})
    except OSError:
        return len(cpus)


def cpu_name() -> str:
    """Its model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
