"""CuPy behind the seam of runtime/gpu.py: kernels are checked and timed where pycuda is missing."""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wholebody.runtime.compiler import cubin
from wholebody.runtime.gpu import DeviceArray, Kernel

__all__ = ["CupyGpu"]

NUMBERS = {"i": np.int32, "f": np.float32, "d": np.float64}


class CupyGpu:
    """GPU number `device` through CuPy, with a stream of its own."""

    def __init__(self, device: int = 0) -> None:
        self._cupy: Any = importlib.import_module("cupy")
        self._device = self._cupy.cuda.Device(device)
        self._device.use()
        self.stream = self._cupy.cuda.Stream(non_blocking=True)
        self.arch = f"sm_{self._device.compute_capability}"
        self.name: str = self._cupy.cuda.runtime.getDeviceProperties(device)["name"].decode()
        version = self._cupy.cuda.runtime.driverGetVersion()
        self.driver = f"{version // 1000}.{version % 1000 // 10}"
        self._kernels: dict[Kernel, Any] = {}
        self._folder = tempfile.TemporaryDirectory()

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = np.dtype(dtype)
        memory = self._cupy.cuda.alloc(max(1, math.prod(sides) * kind.itemsize))
        return DeviceArray(memory.ptr, sides, kind, memory)

    def copy_in(self, host: NDArray[Any], to: DeviceArray) -> None:
        self._copy(to.pointer, host.ctypes.data, to.nbytes)

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        self._copy(to.ctypes.data, array.pointer, array.nbytes)

    def copy_over(self, array: DeviceArray, to: DeviceArray) -> None:
        """Begin to copy one array over another one."""
        self._copy(to.pointer, array.pointer, array.nbytes)

    def _copy(self, to: int, source: int, size: int) -> None:
        runtime = self._cupy.cuda.runtime
        if size:
            runtime.memcpyAsync(to, source, size, runtime.memcpyDefault, self.stream.ptr)

    def fill(self, array: DeviceArray, byte: int = 0) -> None:
        if array.nbytes:
            self._cupy.cuda.runtime.memsetAsync(array.pointer, byte, array.nbytes, self.stream.ptr)

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        array = self.empty(host.shape, host.dtype)
        self.copy_in(np.ascontiguousarray(host), array)
        self.synchronize()
        return array

    def download(self, array: DeviceArray) -> NDArray[Any]:
        host = np.empty(array.shape, array.dtype)
        self.copy_out(array, host)
        self.synchronize()
        return host

    def synchronize(self) -> None:
        self.stream.synchronize()

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        function = self._kernels.get(kernel) or self._load(kernel)
        values = tuple(
            np.uint64(value.pointer) if letter == "P" else NUMBERS[letter](value)
            for letter, value in zip(kernel.arguments, arguments, strict=True)
        )
        with self.stream:
            function(_three(grid), _three(block), values)

    def _load(self, kernel: Kernel) -> Any:
        path = Path(self._folder.name, f"{kernel.file}.cubin")  # CuPy opens it when it likes
        path.write_bytes(cubin(kernel.file, self.arch))
        function = self._cupy.RawModule(path=str(path)).get_function(kernel.name)
        self._kernels[kernel] = function
        return function

    def event(self) -> Any:
        """A mark in the stream, at this point."""
        mark = self._cupy.cuda.Event()
        mark.record(self.stream)
        return _Event(self._cupy, mark)

    @contextmanager
    def capture(self) -> Iterator[Any]:
        """What is asked for within is not done, but kept as a graph to be launched again and again."""
        graph = _Graph(self.stream)
        with self.stream:
            self.stream.begin_capture()
            yield graph
            graph.kept = self.stream.end_capture()


class _Event:
    def __init__(self, cupy: Any, mark: Any) -> None:
        self._cupy, self._mark = cupy, mark

    def since(self, earlier: _Event) -> float:
        self._mark.synchronize()
        milliseconds: float = self._cupy.cuda.get_elapsed_time(earlier._mark, self._mark)
        return milliseconds


class _Graph:
    kept: Any

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def launch(self) -> None:
        self.kept.launch(self._stream)


def _three(sides: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*sides, 1, 1)[:3]
    return x, y, z
