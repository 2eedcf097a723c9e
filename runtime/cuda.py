"""One NVIDIA GPU through pycuda: its primary context, a stream, memory, kernels, events and graphs."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wholebody.runtime.compiler import cubin
from wholebody.runtime.cuda_context import PrimaryContext, call, library, primary_context
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray, Kernel

__all__ = ["Cuda", "Event", "Graph"]

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no waiting for the default stream of others
NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: other threads, and freed memory, do not spoil a capture


class Cuda:
    """GPU number `device`, with a stream of its own on which everything asked of it happens in order.

    The primary context is retained and pushed only during a call, so that any thread may call, and PyTorch
    and others in this process share the GPU and see the same memory. Calls from several threads take turns;
    `with cuda.active():` keeps a turn. Threads that shall not wait for each other have a Cuda each.

    device  its number            name    "NVIDIA H200"          capability  (9, 0)
    arch    "sm_90"               memory  its size in bytes      driver      the CUDA version of the driver

    Raises BackendError where pycuda, the driver or the GPU is missing, where the GPU is out of memory (and
    can go on) and where a call fails. After an error such as an illegal address it is `lost`, with all that
    was made on it; a new Cuda then begins with a new context.
    """

    def __init__(self, device: int = 0) -> None:
        self._context = primary_context(device)
        self._driver, gpu = self._context.driver, self._context.gpu
        self.device = device
        self.name: str = gpu.name()
        self.capability: tuple[int, int] = gpu.compute_capability()
        self.arch = "sm_{}{}".format(*self.capability)
        self.memory: int = gpu.total_memory()
        version = self._driver.get_driver_version()
        self.driver = f"{version // 1000}.{version % 1000 // 10}"
        self._turn = threading.RLock()
        self._kernels: dict[Kernel, Any] = {}
        self._modules: dict[str, Any] = {}
        self._own: list[Any] = [self._kernels, self._modules]
        weakref.finalize(self, self._context.drop, self._own)
        with self.active():
            self._own.append(self._driver.Stream(NON_BLOCKING))
        self._stream = ctypes.c_void_p(self.stream.handle)

    @property
    def stream(self) -> Any:
        """The pycuda.driver.Stream; its `handle` is the CUstream as an integer."""
        return self._own[-1]

    @property
    def lost(self) -> bool:
        """Whether an error has spoilt it, so that it is of no more use."""
        return self._context.lost

    @contextmanager
    def held(self) -> Iterator[None]:
        """The GPU is not started anew meanwhile, so that pinned memory may be written to."""
        with self._context.held():
            yield

    def probe(self) -> bool:
        """Ask the GPU whether it is lost, as others may have met the error."""
        with self._context.current():
            return self._context.probe()

    # --- turns --------------------------------------------------------------------------------------------

    @contextmanager
    def active(self) -> Iterator[None]:
        """The context is this thread's current one, and no other thread puts anything into the stream.

        Errors of the driver become BackendErrors.
        """
        with self._turn, self._context.current():
            yield

    def synchronize(self) -> None:
        """Wait until the stream is empty; other threads may go on filling it."""
        with self._context.current():
            self.stream.synchronize()

    def wait_for(self, stream: int) -> None:
        """What is asked for from now on waits for all that is in another stream by now.

        stream: its CUstream, or 1 and 2 for the default streams, legacy and per thread.
        """
        mark = ctypes.c_void_p()
        with self.active():
            call("cuEventCreate", ctypes.byref(mark), NO_TIMING)
            try:
                call("cuEventRecord", mark, ctypes.c_void_p(stream))
                call("cuStreamWaitEvent", self._stream, mark, 0)
            finally:
                call("cuEventDestroy_v2", mark)  # once it has passed

    # --- memory -------------------------------------------------------------------------------------------

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """A new array with any content."""
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = np.dtype(dtype)
        with self.active():
            allocation = self._driver.mem_alloc(max(1, math.prod(sides) * kind.itemsize))
        memory = _Memory(int(allocation))
        weakref.finalize(memory, self._context.drop, [allocation])
        return DeviceArray(memory.pointer, sides, kind, memory)

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that nobody uses."""
        with self.active():
            free: int = self._driver.mem_get_info()[0]
        return free

    def pinned(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """A new NumPy array that the GPU copies from and to by itself, while Python goes on."""
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = np.dtype(dtype)
        size = max(1, math.prod(sides) * kind.itemsize)
        with self.active():
            locked = self._driver.pagelocked_empty(size, np.uint8)
        memory = (ctypes.c_uint8 * size).from_address(locked.ctypes.data)
        weakref.finalize(memory, self._context.drop, [locked])
        return np.ndarray(sides, kind, buffer=memoryview(memory))

    def copy_in(self, host: NDArray[Any], to: DeviceArray) -> None:
        """Begin to copy an array of the same shape and dtype to the GPU.

        A pinned array must not be changed before the copy is done; any other may at once.
        """
        _same(host, to)
        if to.nbytes:
            with self.active():
                self._driver.memcpy_htod_async(to.pointer, host, self.stream)

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        """Begin to copy an array of the same shape and dtype from the GPU; done after `synchronize`."""
        _same(to, array)
        if array.nbytes:
            with self.active():
                self._driver.memcpy_dtoh_async(to, array.pointer, self.stream)

    def copy_over(self, array: DeviceArray, to: DeviceArray) -> None:
        """Begin to copy an array over another one of the same shape and dtype, both on this GPU."""
        _same(array, to)
        if array.nbytes:
            with self.active():
                self._driver.memcpy_dtod_async(to.pointer, array.pointer, array.nbytes, self.stream)

    def fill(self, array: DeviceArray, byte: int = 0) -> None:
        """Set every byte of it."""
        if array.nbytes:
            with self.active():
                self._driver.memset_d8_async(array.pointer, byte, array.nbytes, self.stream)

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        """A copy of it on the GPU."""
        array = self.empty(host.shape, host.dtype)
        self.copy_in(np.ascontiguousarray(host), array)
        return array

    def download(self, array: DeviceArray) -> NDArray[Any]:
        """A copy of it in NumPy, when all that was asked for before is done."""
        host = np.empty(array.shape, array.dtype)
        self.copy_out(array, host)
        self.synchronize()
        return host

    # --- kernels ------------------------------------------------------------------------------------------

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        """Run a kernel over `grid` blocks of `block` threads.

        It is compiled on first use and kept, in this object and on disk.
        """
        values = [a.pointer if isinstance(a, DeviceArray) else a for a in arguments]
        with self.active():
            function = self._kernels.get(kernel) or self._load(kernel)
            function.prepared_async_call(_three(grid), _three(block), self.stream, *values)

    def load(self, *kernels: Kernel) -> None:
        """Compile them now instead of at their first launch, which a graph cannot wait for."""
        for kernel in kernels:
            with self.active():
                if kernel not in self._kernels:
                    self._load(kernel)

    def _load(self, kernel: Kernel) -> Any:
        if kernel.file not in self._modules:
            self._modules[kernel.file] = self._driver.module_from_buffer(cubin(kernel.file, self.arch))
        function = self._modules[kernel.file].get_function(kernel.name)
        function.prepare(kernel.arguments)
        self._kernels[kernel] = function
        return function

    # --- events and graphs --------------------------------------------------------------------------------

    def event(self) -> Event:
        """A mark in the stream, at this point."""
        with self.active():
            mark = Event(self, self._driver.Event())
            mark.record()
        return mark

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        """What is asked for within is not done, but kept as a graph to be launched again and again.

        Kernels must have been loaded and memory allocated before. The graph is ready after the block.
        Raises BackendError where something within cannot be captured; the stream is usable afterwards.
        """
        graph = Graph(self)
        with self.active():
            call("cuStreamBeginCapture_v2", self._stream, RELAXED)
            try:
                yield graph
            except BaseException:
                self._end_capture()
                raise
            graph._take(self._end_capture())

    def _end_capture(self) -> ctypes.c_void_p:
        captured = ctypes.c_void_p()
        library().cuStreamEndCapture(self._stream, ctypes.byref(captured))  # null where something spoilt it
        return captured


class Event:
    """A mark in a Cuda's stream."""

    def __init__(self, cuda: Cuda, mark: Any) -> None:
        self._cuda, self._mark = cuda, [mark]
        weakref.finalize(self, cuda._context.drop, self._mark)

    def record(self) -> None:
        """Put the mark at this point of the stream instead."""
        with self._cuda.active():
            self._mark[0].record(self._cuda.stream)

    def synchronize(self) -> None:
        """Wait until all that was asked for before it is done."""
        with self._cuda._context.current():
            self._mark[0].synchronize()

    def since(self, earlier: Event) -> float:
        """Milliseconds on the GPU from an earlier event to this one, for which it waits."""
        with self._cuda._context.current():
            self._mark[0].synchronize()
            milliseconds: float = self._mark[0].time_since(earlier._mark[0])
        return milliseconds


class Graph:
    """What a stream was asked for during `Cuda.capture`, to be asked for again with one call."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._handle = ctypes.c_void_p()

    def launch(self) -> None:
        """Ask for all of it once more, in the stream of its Cuda."""
        with self._cuda.active():
            call("cuGraphLaunch", self._handle, self._cuda._stream)

    def _take(self, captured: ctypes.c_void_p) -> None:
        if not captured:
            raise BackendError("CUDA: no graph was captured, as something in it waited for the GPU")
        try:
            call("cuGraphInstantiateWithFlags", ctypes.byref(self._handle), captured, ctypes.c_ulonglong(0))
        finally:
            call("cuGraphDestroy", captured)
        weakref.finalize(self, self._cuda._context.drop, [_GraphHandle(self._handle, self._cuda._context)])


class _Memory:
    """Memory on the GPU, freed with the last array that holds it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer


class _GraphHandle:
    """A graph of the driver, destroyed with this."""

    def __init__(self, handle: ctypes.c_void_p, context: PrimaryContext) -> None:
        self._handle, self._context = handle, context

    def __del__(self) -> None:
        if not self._context.lost:
            library().cuGraphExecDestroy(self._handle)


def _same(array: NDArray[Any] | DeviceArray, device: DeviceArray) -> None:
    in_order = isinstance(array, DeviceArray) or array.flags.c_contiguous
    if array.shape != device.shape or array.dtype != device.dtype or not in_order:
        raise ValueError(
            f"cannot copy between {array.dtype} of shape {array.shape}, which must be in C order, "
            f"and {device.dtype} of shape {device.shape} on the GPU"
        )


def _three(sides: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*sides, 1, 1)[:3]
    return x, y, z
