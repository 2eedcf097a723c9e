"""The most memory that this process had in use."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["forget_host_peak", "host_peak_mb"]

PEAK = "VmHWM:"


def forget_host_peak() -> None:
    """Count from here on, where the system can (Linux); elsewhere the peak is that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def host_peak_mb() -> float | None:
    """Resident, in MB; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(PEAK))
    except (OSError, StopIteration):
        return _by_rusage()


def _by_rusage() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
