"""One NVIDIA GPU through the driver's own library: what it is, its clocks, its energy, who uses its memory.

Read by ctypes, so that nothing has to be installed; Jetsons with an integrated GPU have no such library.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_uint, c_ulonglong, c_void_p
from typing import Any

__all__ = ["Gpu"]

LIBRARIES = ("libnvidia-ml.so.1", "nvml.dll")
SM_CLOCK, MEMORY_CLOCK = 1, 2  # nvmlClockType_t
TEXT = 96  # NVML's longest name
NOT_AVAILABLE = 2**64 - 1  # memory of a process where the driver does not tell


class _Process(ctypes.Structure):
    """nvmlProcessInfo_t"""

    _fields_ = (
        ("pid", c_uint),
        ("memory", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    )


class Gpu:
    """GPU number `device` as CUDA counts them; `open` answers None where there is none.

    Whatever the driver does not tell is None.
    """

    def __init__(self, library: Any, device: int = 0) -> None:
        self._library = library
        self._handle = c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(
            _index(device), byref(self._handle)
        ):
            raise OSError("NVML finds no such GPU")

    @classmethod
    def open(cls, device: int = 0) -> Gpu | None:
        """The GPU, or None."""
        for name in LIBRARIES:
            try:
                return cls(ctypes.CDLL(name), device)
            except (OSError, AttributeError):
                continue
        return None

    def describe(self) -> dict[str, Any]:
        """Name, driver, clocks in MHz now, and the limit of its power in watts."""
        limit = self._number("nvmlDeviceGetPowerManagementLimit", c_uint())
        return {
            "name": self._text("nvmlDeviceGetName", self._handle),
            "driver": self._text("nvmlSystemGetDriverVersion"),
            "sm_mhz": self._number("nvmlDeviceGetClockInfo", c_uint(), SM_CLOCK),
            "memory_mhz": self._number("nvmlDeviceGetClockInfo", c_uint(), MEMORY_CLOCK),
            "power_limit_watts": None if limit is None else limit / 1e3,
        }

    def joules(self) -> float | None:
        """Energy since the driver was loaded (Volta and newer)."""
        used = self._number("nvmlDeviceGetTotalEnergyConsumption", c_ulonglong())
        return None if used is None else used / 1e3

    def memory_mb(self, pid: int) -> float | None:
        """What a process has of the GPU's memory; None also where it is in another container's count."""
        count = c_uint(0)
        running = self._function("nvmlDeviceGetComputeRunningProcesses_v3")
        if running is None:
            return None
        running(self._handle, byref(count), None)  # says how many there are
        processes = (_Process * (count.value + 8))()
        count = c_uint(len(processes))
        if running(self._handle, byref(count), processes):
            return None
        used = [p.memory for p in processes[: count.value] if p.pid == pid and p.memory != NOT_AVAILABLE]
        return used[0] / 1e6 if used else None

    def _number(self, name: str, value: Any, *arguments: int) -> int | None:
        function = self._function(name)
        if function is None or function(self._handle, *arguments, byref(value)):
            return None
        return int(value.value)

    def _text(self, name: str, *arguments: Any) -> str | None:
        text, function = ctypes.create_string_buffer(TEXT), self._function(name)
        if function is None or function(*arguments, text, c_uint(TEXT)):
            return None
        return text.value.decode(errors="replace")

    def _function(self, name: str) -> Any:
        return getattr(self._library, name, None)


def _index(device: int) -> int:
    """CUDA counts only those GPUs that CUDA_VISIBLE_DEVICES names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if device < len(named) and named[device].strip().isdecimal():
        return int(named[device])
    return device
