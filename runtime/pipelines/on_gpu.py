"""What pipelines on a GPU share: arrays on their way there, work that is repeated, stages that are timed."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.backends.backend import GpuBackend, TensorSpec
from wholebody.runtime.cuda import Cuda, Event, Graph
from wholebody.runtime.errors import BackendError
from wholebody.runtime.foreign import device_array, is_device_array
from wholebody.runtime.gpu import DeviceArray

__all__ = ["OnGpu", "Replay", "Stages", "Upload", "as_picture", "check_types"]

log = logging.getLogger(__name__)

KEPT = 32  # graphs; the one unused for longest makes room


class OnGpu:
    """A pipeline's share of a GPU: what `_open` makes there, made anew after the GPU was lost to an error.

    Then one frame fails, or one a thread, and the next one works.
    """

    _engine: GpuBackend
    _cuda: Cuda

    def _open(self) -> None:
        """Make everything that lies on `self._cuda`."""
        raise NotImplementedError

    def _begin(self, engine: GpuBackend) -> None:
        """Work on the GPU of this engine from now on."""
        self._engine, self._cuda = engine, engine.cuda
        self._opening, self._holder = threading.Lock(), 0
        self._open()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """No other thread asks the GPU for anything; everything is there."""
        if self._holder == threading.get_ident():
            yield
            return
        with self._opening:
            if self._cuda.lost:
                self._engine.reopen()
                self._cuda = self._engine.cuda
                self._open()
        with self._cuda.active():
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = 0


class Upload:
    """Arrays to the GPU, one at a time, through memory that it keeps: pinned here, and there.

    What it has there stays at one address until a larger array comes.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._room = 0

    def __call__(self, array: NDArray[Any]) -> DeviceArray:
        """Begin to copy an array, which may change at once; good until the next one.

        The GPU must be done with this one by then.
        """
        if array.nbytes > self._room or not self._room:
            self._room = 1 << max(array.nbytes - 1, 0).bit_length()
            self._pinned = self._cuda.pinned(self._room, np.uint8)
            self._device = self._cuda.empty(self._room, np.uint8)
        staged = self._pinned[: array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(staged, array)
        device = DeviceArray(self._device.pointer, array.shape, array.dtype, self._device)
        self._cuda.copy_in(staged, device)
        return device


def as_picture(image: Any, cuda: Cuda) -> NDArray[Any] | DeviceArray:
    """What a pipeline on `cuda` was handed: an array here, or one that is on that GPU already.

    Raises ValueError for one on another GPU or not in C order.
    """
    return device_array(image, cuda) if is_device_array(image) else np.asarray(image)


class Replay:
    """Work that is asked of a GPU over and over, as one CUDA graph once the same was asked for twice.

    `failure` tells why graphs are not used; None where they are.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()  # None: asked for once
        self.failure: str | None = None

    def __call__(self, key: Hashable, work: Callable[[], None]) -> None:
        """Ask for `work`, which does the same on the same memory whenever it has the same key.

        It waits for nothing; what it compiles or allocates, it does the first time.
        """
        if key not in self._graphs:
            self._make_room()
            self._graphs[key] = None
            work()
            return
        self._graphs.move_to_end(key)
        graph = self._graphs[key] or self._captured(key, work)
        if graph is None:
            work()
        else:
            graph.launch()

    def forget(self) -> None:
        """Keep no graph, as they hold memory that is not used any more."""
        self._cuda.synchronize()  # one of them may still run
        self._graphs.clear()

    def _captured(self, key: Hashable, work: Callable[[], None]) -> Graph | None:
        if self.failure is not None:
            return None
        try:
            with self._cuda.capture() as graph:
                work()
        except BackendError as error:
            self.failure = str(error)
            log.info("CUDA graphs are not used: %s", error)
            return None
        self._graphs[key] = graph
        return graph

    def _make_room(self) -> None:
        if len(self._graphs) >= KEPT:
            self._cuda.synchronize()  # the one that goes may still run
            self._graphs.popitem(last=False)


class Stages:
    """How long the GPU takes for each stage of a picture. Marks are kept for the next one."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._marks: list[Event] = []
        self._names: list[str] = []
        self.begin()

    def begin(self) -> None:
        """The first stage begins."""
        self._names.clear()
        self._mark(0)

    def done(self, stage: str) -> None:
        """All that was asked for since the last mark belongs to this stage; it may come more than once."""
        self._names.append(stage)
        self._mark(len(self._names))

    def _mark(self, number: int) -> None:
        if number < len(self._marks):
            self._marks[number].record()
        else:
            self._marks.append(self._cuda.event())

    def milliseconds(self) -> dict[str, float]:
        """By stage, in the order in which they came; waits for the GPU."""
        times: dict[str, float] = {}
        for stage, (began, ended) in zip(self._names, pairwise(self._marks), strict=False):
            times[stage] = times.get(stage, 0.0) + ended.since(began)
        return times


def check_types(tensors: Sequence[TensorSpec], *allowed: type[np.generic]) -> None:
    """Raise BackendError unless kernels, which take `allowed`, can write or read a network's tensors."""
    for tensor in tensors:
        if tensor.dtype not in allowed:
            names = " and ".join(kind.__name__ for kind in allowed)
            raise BackendError(f"{tensor.name} is {tensor.dtype}; the kernels take {names}")
