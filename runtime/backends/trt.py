"""TensorRT: a built engine on one NVIDIA GPU.

An engine runs in execution contexts, one per set of input shapes, because a CUDA graph is valid only for the
context and the shapes it was captured with. The contexts share scratch memory and buffers, as one call runs
at a time. Nothing is allocated on the GPU once every shape was seen.

Before 8.6 a profile has one context only. It is given other shapes when they come, which leaves no graph of
it valid: graphs are then for engines of fixed shapes.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt  # pyright: ignore[reportMissingImports]

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.backends.trt_engine import Log, open_engine
from wholebody.runtime.backends.trt_execution import Execution, tensor_spec
from wholebody.runtime.backends.trt_outputs import Growing, part
from wholebody.runtime.backends.trt_versions import (
    contexts_share_profiles,
    create_shared_context,
    device_memory,
)
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError
from wholebody.runtime.foreign import device_array, is_device_array
from wholebody.runtime.gpu import DeviceArray

__all__ = ["TensorRT"]

CONTEXTS = 32  # sets of shapes kept ready; the one unused for longest makes room

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


class TensorRT:
    """An engine on a GPU: a Backend for NumPy arrays, and `enqueue` for arrays that are on the GPU already.

    engine  a file of `wholebody build`, with its sidecar beside it
    cuda    the GPU to run on, shared with kernels and other engines; None opens `device`
    graphs  replay CUDA graphs, which spares most of the time it takes the CPU to start a network; those who
            capture more than the network in a graph of theirs leave it out

    `graph_failure` tells why graphs are not used; None where they are. `plan` is what its sidecar says.

    Safe to call from any thread; calls take turns. A call that fails loses its frame only: where the GPU was
    lost, the next one begins anew. Raises ArtefactError for an engine that is damaged or not
    for this GPU or this TensorRT, BackendError where the driver, the GPU or its memory is missing.
    """

    fallback: str | None = None

    def __init__(
        self, engine: str | Path, *, cuda: Cuda | None = None, device: int = 0, graphs: bool = True
    ) -> None:
        self.cuda = cuda or Cuda(device)  # asks the driver first: without one, trt.Runtime ends the process
        self.name = f"tensorrt:{trt.__version__}"
        self._path, self._log = Path(engine), Log()
        self._graphs_failed = None if graphs else "not asked for"
        self._opening = threading.Lock()
        self._open()

    def _open(self) -> None:
        with self.cuda.active():
            self._opened = open_engine(self._path, self.cuda, self._log)
            self.plan, self._engine = self._opened.plan, self._opened.engine
            self.graph_failure = self._graphs_failed
            self._allocate()

    def reopen(self) -> None:
        """Begin anew where the GPU was lost to an error such as an illegal address; else do nothing.

        Arrays that were made on `cuda` are gone, and `cuda` is another one. Not to be called in its turn.
        """
        with self._opening:
            if self.cuda.lost:
                _abandon(self._opened, self._only, *(e.context for e in self._executions.values()))
                self.cuda = Cuda(self.cuda.device)
                self._open()

    def _allocate(self) -> None:
        """Scratch memory, inputs and outputs as large as the profile allows."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in names}
        self.inputs = tuple(tensor_spec(trt, engine, n) for n in names if modes[n] == trt.TensorIOMode.INPUT)
        self.outputs = tuple(
            tensor_spec(trt, engine, n) for n in names if modes[n] == trt.TensorIOMode.OUTPUT
        )
        profile = [engine.get_tensor_profile_shape(spec.name, 0) for spec in self.inputs]
        self._smallest = tuple(tuple(smallest) for smallest, _, _ in profile)
        self._largest = tuple(tuple(largest) for _, _, largest in profile)
        self._scratch = self.cuda.empty(max(1, device_memory(trt, engine)), np.uint8)
        self._host: dict[str, Array] = {}
        self._device: dict[str, DeviceArray] = {}
        self._growing: dict[str, Growing] = {}  # TensorRT does not keep them
        self._executions: OrderedDict[Shapes, Execution] = OrderedDict()
        self._only: Any = None  # context, where there can be no other
        if not contexts_share_profiles(trt) and self._smallest != self._largest:
            self.graph_failure = self.graph_failure or "one context for all shapes, before TensorRT 8.6"
        for spec, shape in zip(self.inputs, self._largest, strict=True):
            self._device[spec.name] = self.cuda.empty(shape, spec.dtype)
        self._execution(self._largest)

    # --- NumPy in, NumPy out ------------------------------------------------------------------------------

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """One array per input, one new array per output; raises BackendError where they do not fit.

        An input may also be on the GPU, as PyTorch's and CuPy's arrays (runtime/foreign.py); it is then used
        where it is. Raises ValueError for one on another GPU or not in C order.
        """
        self.reopen()
        with self.cuda.active():
            answers = self.enqueue(*self._on_device(inputs))
            hosts = [self._pinned(s, array.shape) for s, array in zip(self.outputs, answers, strict=True)]
            for array, host in zip(answers, hosts, strict=True):
                self.cuda.copy_out(array, host)
            self.cuda.synchronize()
            return tuple(host.copy() for host in hosts)

    def _on_device(self, inputs: Sequence[Any]) -> list[DeviceArray]:
        given = [device_array(a, self.cuda) if is_device_array(a) else np.asarray(a) for a in inputs]
        buffers = self.input_buffers(*(array.shape for array in given))
        self._check_types(given)
        return [
            array if isinstance(array, DeviceArray) else self._staged(spec, array, buffer)
            for spec, array, buffer in zip(self.inputs, given, buffers, strict=True)
        ]

    def _staged(self, spec: TensorSpec, array: Array, buffer: DeviceArray) -> DeviceArray:
        """On its way to the engine's own memory."""
        pinned = self._pinned(spec, buffer.shape)
        np.copyto(pinned, array)
        self.cuda.copy_in(pinned, buffer)
        return buffer

    def _pinned(self, spec: TensorSpec, shape: Shape) -> Array:
        """The memory that is kept pinned for a tensor, in this shape."""
        size = math.prod(shape)
        kept = self._host.get(spec.name)
        if kept is None or kept.size < size:
            largest = self._device[spec.name].size if spec.name in self._device else size
            kept = self._host[spec.name] = self.cuda.pinned(max(1, size, largest), spec.dtype)
        return kept[:size].reshape(shape)

    # --- on the GPU ---------------------------------------------------------------------------------------

    def input_buffers(self, *shapes: Shape) -> tuple[DeviceArray, ...]:
        """The engine's own input memory in these shapes, for kernels to write into; it stays where it is.

        Raises BackendError for shapes outside the engine's profile.
        """
        self._check(shapes)
        return tuple(
            part(self._device[spec.name], tuple(shape))
            for spec, shape in zip(self.inputs, shapes, strict=True)
        )

    @property
    def buckets(self) -> tuple[int, ...]:
        """Sizes of a batch to run in, so that few contexts and graphs are needed: powers of two, and the
        profile's own ends."""
        low, high = self._smallest[0][0], self._largest[0][0]
        powers = (1 << exponent for exponent in range(high.bit_length()))
        return tuple(sorted({low, high, *(size for size in powers if low <= size <= high)}))

    def enqueue(self, *inputs: DeviceArray) -> tuple[DeviceArray, ...]:
        """Ask for one run in the stream of `cuda`; the answers are there once the stream is that far.

        inputs must not change before that; the answers lie in memory that the next run overwrites. Raises
        BackendError where the inputs do not fit or the GPU fails.
        """
        shapes = tuple(array.shape for array in inputs)
        self._check(shapes)
        self._check_types(inputs)
        with self.cuda.active():
            execution = self._execution(shapes)
            try:
                return execution.run(inputs, graphs=self.graph_failure is None)
            except BackendError:
                if not self.cuda.probe():
                    self._executions.clear()  # the next frame starts afresh
                raise
            finally:
                self.graph_failure = self.graph_failure or execution.graph_failure

    def _check(self, shapes: Sequence[Shape]) -> None:
        if len(shapes) != len(self.inputs):
            raise BackendError(f"{len(shapes)} inputs; this engine takes {len(self.inputs)}")
        for spec, low, shape, high in zip(self.inputs, self._smallest, shapes, self._largest, strict=True):
            if len(shape) != len(low) or not all(
                a <= b <= c for a, b, c in zip(low, shape, high, strict=True)
            ):
                raise BackendError(
                    f"{spec.name} is {_x(shape)}; the engine's profile holds {_x(low)} to {_x(high)}: hand "
                    "over what fits, or build it with another --batch or --shape"
                )

    def _check_types(self, arrays: Sequence[Array | DeviceArray]) -> None:
        for spec, array in zip(self.inputs, arrays, strict=True):
            if array.dtype != spec.dtype:
                raise BackendError(f"{spec.name} is {array.dtype}; this engine takes {spec.dtype}")

    def _execution(self, shapes: Shapes) -> Execution:
        if shapes in self._executions:
            self._executions.move_to_end(shapes)
            return self._executions[shapes]
        context = self._context()
        names = [spec.name for spec in self.inputs]
        for name, shape in zip(names, shapes, strict=True):
            if not context.set_input_shape(name, shape):
                raise self._failed()
        outputs = {spec.name: self._output(context, spec) for spec in self.outputs}
        made = self._executions[shapes] = Execution(context, self.cuda, names, outputs, self._failed)
        return made

    def _context(self) -> Any:
        """A context for other shapes than those of `_executions`."""
        if self._only is not None:
            self.cuda.synchronize()  # it may still run with the shapes it has
            self._executions.clear()
            return self._only
        if len(self._executions) >= CONTEXTS:
            self.cuda.synchronize()  # the one that goes may still run
            self._executions.popitem(last=False)
        context = create_shared_context(trt, self._engine, self._scratch.pointer, self._scratch.nbytes)
        if context is None:
            raise self._failed()
        if not contexts_share_profiles(trt):
            self._only = context
        return context

    def _output(self, context: Any, spec: TensorSpec) -> DeviceArray | Growing:
        """Where a context puts an output; the first context, of the largest shapes, makes the memory."""
        shape = tuple(int(side) for side in context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            if spec.name not in self._growing:
                self._growing[spec.name] = Growing(self.cuda, spec.dtype)
            context.set_output_allocator(spec.name, self._growing[spec.name])
            return self._growing[spec.name]
        kept = self._device.get(spec.name)
        if kept is None or kept.size < math.prod(shape):
            kept = self._device[spec.name] = self.cuda.empty(shape, spec.dtype)
        return part(kept, shape)

    def _failed(self) -> BackendError:
        return BackendError(f"{self.name} failed, and this frame is lost: {self._log.last()}")

    def __repr__(self) -> str:
        return f"TensorRT({self.plan.onnx!r} on {self.cuda.name}, {self.name})"


def _abandon(*things: Any) -> None:
    """Never let go of what was on a lost GPU: TensorRT would free there what is gone, and may crash."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _x(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"
