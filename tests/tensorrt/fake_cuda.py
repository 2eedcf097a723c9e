"""A GPU whose memory is the host's, and whose stream runs when somebody waits for it and no earlier.

Memory that nobody wrote to is spoilt, and a copy reads its source only when the stream gets there.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray

SPOILT = 0xA5
HANDLE = 0x57AE


class FakeGraph:
    """Work that was kept instead of done."""

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.work: list[Callable[[], None]] = []
        self.launches = 0

    def launch(self) -> None:
        self.launches += 1
        for task in self.work:
            self._cuda.submit(task)


class FakeCuda:
    """Stands in for wholebody.runtime.cuda.Cuda; `allocations` and `copies` count what was asked for."""

    capability = (9, 0)
    arch = "sm_90"
    memory = 1 << 37
    driver = "13.0"

    def __init__(self, device: int = 0, *, name: str = "Fake H200") -> None:
        self.device, self.name = device, name
        self.stream = SimpleNamespace(handle=HANDLE)
        self.allocations = self.copies = 0
        self.graphs: list[FakeGraph] = []
        self.capturing: FakeGraph | None = None
        self.full = False  # no memory is left
        self.spoilt = self.lost = False  # by an error that nobody has met yet, or that somebody has
        self.waited: list[int] = []  # for these streams
        self._running = threading.RLock()
        self._queue: list[Callable[[], None]] = []

    # --- what TensorRT's fake asks of it

    def submit(self, task: Callable[[], None]) -> None:
        """Put work into the stream, or into the graph that is being captured."""
        self._check()
        if self.capturing is not None:
            self.capturing.work.append(task)
        else:
            self._queue.append(task)

    # --- what Cuda has

    @contextmanager
    def active(self) -> Iterator[None]:
        self._check()
        yield

    @contextmanager
    def held(self) -> Iterator[None]:
        self._check()
        yield

    def probe(self) -> bool:
        self.lost |= self.spoilt
        return self.lost

    def _check(self) -> None:
        if self.lost:
            raise BackendError("GPU 0 was reset after an error, and this frame is lost: try again")

    def synchronize(self) -> None:
        self._check()
        if self.probe():
            raise BackendError("GPU 0 failed: an illegal memory access was encountered; this frame is lost")
        if self.capturing is not None:
            raise BackendError("the stream is being captured")
        with self._running:
            queue, self._queue = self._queue, []
            for task in queue:
                task()

    def wait_for(self, stream: int) -> None:
        self.waited.append(stream)

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        self._check()
        if self.full:
            raise BackendError("GPU 0 is out of memory")
        self.allocations += 1
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        host = np.empty(max(1, math.prod(sides)), dtype)
        ctypes.memset(host.ctypes.data, SPOILT, host.nbytes)
        return DeviceArray(host.ctypes.data, sides, host.dtype, host)

    def pinned(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        self.allocations += 1
        return np.empty(shape, dtype)

    def copy_in(self, host: NDArray[Any], to: DeviceArray) -> None:
        assert (host.shape, host.dtype) == (to.shape, to.dtype)
        assert host.flags.c_contiguous
        self.copies += 1
        self.submit(lambda: _move(to.pointer, host.ctypes.data, host.nbytes))

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        assert (to.shape, to.dtype) == (array.shape, array.dtype)
        assert to.flags.c_contiguous
        self.copies += 1
        self.submit(lambda: _move(to.ctypes.data, array.pointer, to.nbytes))

    @contextmanager
    def capture(self) -> Iterator[FakeGraph]:
        self.capturing = FakeGraph(self)
        try:
            yield self.capturing
            self.graphs.append(self.capturing)
        finally:
            self.capturing = None


def _move(to: int, source: int, size: int) -> None:
    ctypes.memmove(to, source, size)
