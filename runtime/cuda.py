"""One NVIDIA GPU through pycuda: its primary context, a stream, memory, kernels, events and graphs."""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wholebody.runtime.compiler import cubin
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray, Kernel

__all__ = ["Cuda", "Event", "Graph"]


class Cuda:
    """GPU number `device`, with a stream of its own on which everything asked of it happens in order.

    The primary context is retained and pushed only during a call, so that any thread may call, and PyTorch
    and others in this process share the GPU and see the same memory. Calls from several threads take turns;
    `with cuda.active():` keeps a turn. Threads that shall not wait for each other have a Cuda each.

    device  its number            name    "NVIDIA H200"          capability  (9, 0)
    arch    "sm_90"               memory  its size in bytes      driver      the CUDA version of the driver

    Raises BackendError where pycuda, the driver or the GPU is missing, where the GPU is out of memory (and
    can go on) and where a call fails.
    """

    def __init__(self, device: int = 0) -> None:
        self._driver = _driver()
        self.device = device
        gpu = _device(self._driver, device)
        self.name: str = gpu.name()
        self.capability: tuple[int, int] = gpu.compute_capability()
        self.arch = "sm_{}{}".format(*self.capability)
        self.memory: int = gpu.total_memory()
        version = self._driver.get_driver_version()
        self.driver = f"{version // 1000}.{version % 1000 // 10}"
        self._process = os.getpid()
        self._turn = threading.RLock()
        self._thread = threading.local()
        self._context = _primary_context(device)
        self._kernels: dict[Kernel, Any] = {}
        self._modules: dict[str, Any] = {}
        self._own: list[Any] = [self._kernels, self._modules]
        weakref.finalize(self, _drop, self._context, self._process, self._own)
        with self.active():
            self._own.append(self._driver.Stream(_NON_BLOCKING))
        self._stream = ctypes.c_void_p(self.stream.handle)

    @property
    def stream(self) -> Any:
        """The pycuda.driver.Stream; its `handle` is the CUstream as an integer."""
        return self._own[-1]

    # --- turns --------------------------------------------------------------------------------------------

    @contextmanager
    def active(self) -> Iterator[None]:
        """The context is this thread's current one, and no other thread puts anything into the stream.

        Errors of the driver become BackendErrors.
        """
        with self._turn, self._current():
            yield

    @contextmanager
    def _current(self) -> Iterator[None]:
        if getattr(self._thread, "inside", False):
            yield
            return
        self._check_process()
        self._context.push()
        self._thread.inside = True
        try:
            yield
        except self._driver.MemoryError as error:
            raise BackendError(f"GPU {self.device} is out of memory: {_line(error)}") from error
        except self._driver.Error as error:
            raise BackendError(f"GPU {self.device} failed: {_line(error)}") from error
        finally:
            self._thread.inside = False
            self._context.pop()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise BackendError(
                "CUDA was started before this process was forked and cannot be used in it: start processes "
                "with multiprocessing's 'spawn', or load the student after the fork"
            )

    def synchronize(self) -> None:
        """Wait until the stream is empty; other threads may go on filling it."""
        with self._current():
            self.stream.synchronize()

    # --- memory -------------------------------------------------------------------------------------------

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """A new array with any content."""
        sides = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = np.dtype(dtype)
        with self.active():
            allocation = self._driver.mem_alloc(max(1, math.prod(sides) * kind.itemsize))
        memory = _Memory(int(allocation))
        weakref.finalize(memory, _drop, self._context, self._process, [allocation])
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
        weakref.finalize(memory, _drop, self._context, self._process, [locked])
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
            mark = self._driver.Event()
            mark.record(self.stream)
        return Event(self, mark)

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        """What is asked for within is not done, but kept as a graph to be launched again and again.

        Kernels must have been loaded and memory allocated before. The graph is ready after the block.
        Raises BackendError where something within cannot be captured; the stream is usable afterwards.
        """
        graph = Graph(self)
        with self.active():
            _call("cuStreamBeginCapture_v2", self._stream, _RELAXED)
            try:
                yield graph
            except BaseException:
                self._end_capture()
                raise
            graph._take(self._end_capture())

    def _end_capture(self) -> ctypes.c_void_p:
        captured = ctypes.c_void_p()
        _library().cuStreamEndCapture(self._stream, ctypes.byref(captured))  # null where something spoilt it
        return captured


class Event:
    """A mark in a Cuda's stream."""

    def __init__(self, cuda: Cuda, mark: Any) -> None:
        self._cuda, self._mark = cuda, [mark]
        weakref.finalize(self, _drop, cuda._context, cuda._process, self._mark)

    def synchronize(self) -> None:
        """Wait until all that was asked for before it is done."""
        with self._cuda._current():
            self._mark[0].synchronize()

    def since(self, earlier: Event) -> float:
        """Milliseconds on the GPU from an earlier event to this one, for which it waits."""
        with self._cuda._current():
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
            _call("cuGraphLaunch", self._handle, self._cuda._stream)

    def _take(self, captured: ctypes.c_void_p) -> None:
        if not captured:
            raise BackendError("CUDA: no graph was captured, as something in it waited for the GPU")
        try:
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._handle), captured, ctypes.c_ulonglong(0))
        finally:
            _call("cuGraphDestroy", captured)
        weakref.finalize(self, _destroy, self._cuda._context, self._handle)


# --- pycuda, and the driver where pycuda has no name for it -------------------------------------------------

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no waiting for the default stream of others
_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: other threads, and freed memory, do not spoil a capture
_NO_GPU = "to run without one, use --backend onnxruntime"


class _Memory:
    """Memory on the GPU, freed with the last array that holds it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer


def _driver() -> Any:
    """pycuda.driver, initialised."""
    try:
        driver = importlib.import_module("pycuda.driver")  # no types, and on few machines
    except ImportError as error:
        if "libcuda" in str(error):
            cure = "install the NVIDIA driver (in a container: --gpus all)"
        else:
            cure = "pip install pycuda, which needs CUDA's headers"
        raise BackendError(f"pycuda cannot be imported ({_line(error)}): {cure}; {_NO_GPU}") from error
    try:
        driver.init()
    except driver.Error as error:
        raise BackendError(f"no GPU is found ({_line(error)}): see nvidia-smi; {_NO_GPU}") from error
    return driver


def _device(driver: Any, number: int) -> Any:
    count = driver.Device.count()
    if not 0 <= number < count:
        raise BackendError(f"GPU {number} is not there; allowed are 0 to {count - 1}")
    return driver.Device(number)


@cache
def _primary_context(device: int) -> Any:
    """Retained once for all of this process, and released at its end, after all that was made in it."""
    context = _driver().Device(device).retain_primary_context()
    weakref.finalize(_primary_context, _release, context, os.getpid())
    return context


def _release(context: Any, process: int) -> None:
    if os.getpid() == process:
        context.push()
        context.detach()  # pycuda would do so too late, and as if the context were not the primary one


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _call(function: str, *arguments: Any) -> None:
    """A function of the driver that answers with a status; BackendError names what failed."""
    status = getattr(_library(), function)(*arguments)
    if status:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(status, ctypes.byref(text))
        raise BackendError(f"CUDA: {function} failed: {(text.value or b'unknown error').decode()}")


def _drop(context: Any, process: int, own: list[Any]) -> None:
    """Let go of pycuda's objects in their context, on whatever thread the last holder was."""
    if os.getpid() != process:
        return  # a fork's copies are not its own to free
    context.push()
    try:
        while own:
            thing = own.pop()
            if isinstance(thing, dict):
                thing.clear()
            del thing  # before the context goes
    finally:
        context.pop()


def _destroy(context: Any, graph: ctypes.c_void_p) -> None:
    context.push()
    try:
        _call("cuGraphExecDestroy", graph)
    finally:
        context.pop()


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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
