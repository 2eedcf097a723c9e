"""A stand-in for pycuda.driver: what runtime/cuda.py uses of it, none of it without a context."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


class Error(Exception):
    """As in pycuda."""


class MemoryError(Error):
    """As in pycuda."""


class Driver:
    """One GPU of 1 MiB. `log` holds what was done; nothing of it without a context, as in pycuda."""

    Error, MemoryError = Error, MemoryError

    def __init__(self) -> None:
        self.log: list[str] = []
        self.live: set[str] = set()  # what was made and not let go of
        self.pushed = threading.local()
        self.spoilt = False  # by an illegal address
        driver = self

        class Context:
            def push(self) -> None:
                driver.pushed.depth = driver.depth() + 1

            def pop(self) -> None:
                driver.need("pop")
                driver.pushed.depth -= 1

            def detach(self) -> None:
                driver.live.discard("context")

        class Device:
            def __init__(self, number: int) -> None:
                self.number = number

            @staticmethod
            def count() -> int:
                return 1

            def name(self) -> str:
                return "Fake GPU"

            def compute_capability(self) -> tuple[int, int]:
                return 8, 7

            def total_memory(self) -> int:
                return 1 << 20

            def retain_primary_context(self) -> Context:
                driver.live.add("context")
                return Context()

        self.Context, self.Device = Context, Device

    def depth(self) -> int:
        return getattr(self.pushed, "depth", 0)

    def need(self, what: str) -> None:
        assert self.depth(), f"{what} without a context"

    def made(self, what: str, **more: Any) -> Any:
        self.need(what)
        return _Made(self, f"{what} {len(self.log)}", **more)

    def init(self) -> None:
        pass

    def mem_get_info(self) -> tuple[int, int]:
        self.need("mem_get_info")
        if self.spoilt:
            raise Error("cuMemGetInfo failed: an illegal memory access was encountered")
        return 1 << 19, 1 << 20

    def get_driver_version(self) -> int:
        return 12040

    def Stream(self, flags: int) -> Any:
        return self.made("stream", handle=7, synchronize=lambda: self.done("synchronize"))

    def Event(self) -> Any:
        return self.made(
            "event",
            record=lambda stream: self.done("record"),
            synchronize=lambda: self.done("event.synchronize"),
            time_since=lambda other: 1.5,
        )

    def mem_alloc(self, size: int) -> Any:
        if size > 1 << 20:
            self.need("mem_alloc")
            raise MemoryError("cuMemAlloc failed: out of memory")
        return self.made("memory", host=np.zeros(size, np.uint8))

    def pagelocked_empty(self, size: int, dtype: Any) -> Any:
        return self.made("pinned", host=np.zeros(size, dtype))

    def memcpy_htod_async(self, to: int, host: Any, stream: Any) -> None:
        self.done(f"in {host.nbytes}")

    def memcpy_dtoh_async(self, host: Any, pointer: int, stream: Any) -> None:
        self.done(f"out {host.nbytes}")

    def memset_d8_async(self, pointer: int, byte: int, size: int, stream: Any) -> None:
        self.done(f"set {size}")

    def module_from_buffer(self, code: bytes) -> Any:
        def function(name: str) -> Any:
            return self.made(
                "function",
                prepare=lambda letters: self.done(f"prepare {name} {letters}"),
                prepared_async_call=lambda *arguments: self.done(
                    f"launch {name} {arguments[:2]} {arguments[3:]}"
                ),
            )

        return self.made("module", get_function=function)

    def done(self, what: str) -> None:
        self.need(what)
        if self.spoilt:
            raise Error(f"{what} failed: an illegal memory access was encountered")
        self.log.append(what)


class _Made:
    """Something that must be let go of in a context."""

    host: Any

    def __init__(self, driver: Driver, label: str, **more: Any) -> None:
        self.driver, self.label = driver, label
        self.__dict__ |= more
        driver.live.add(label)

    @property
    def ctypes(self) -> Any:
        return self.host.ctypes

    def __int__(self) -> int:
        return int(self.host.ctypes.data)

    def __del__(self) -> None:
        if self.driver.depth():
            self.driver.live.discard(self.label)
