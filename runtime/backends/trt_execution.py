"""What a TensorRT engine takes and answers, its weights, and one of its contexts with its CUDA graphs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.runtime.backends.backend import TensorSpec
from wholebody.runtime.backends.trt_versions import require
from wholebody.runtime.cuda import Cuda, Graph
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.gpu import DeviceArray

__all__ = ["Execution", "Growing", "part", "refit", "tensor_spec"]

log = logging.getLogger(__name__)

GRAPHS = 4  # for so many sets of input addresses, such as the buffers of a ring

Shape = tuple[int, ...]

_DTYPES = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip


class Growing:
    """GPU memory for one output whose size only a run tells; it is kept and grows where it must."""

    def __init__(self, cuda: Cuda, dtype: Any) -> None:
        self._cuda = cuda
        self._memory = cuda.empty(1, dtype)
        self.shape: Shape = (0,)

    def reserve(self, size: int) -> int:
        """The address of at least `size` bytes; 0 where there is no such memory."""
        if size > self._memory.nbytes:
            try:
                items = -(-size // self._memory.dtype.itemsize)
                self._memory = self._cuda.empty(items, self._memory.dtype)
            except Exception as error:  # of any kind: TensorRT calls this, and none may cross C++
                log.error("%s", error)
                return 0
        return self._memory.pointer

    @property
    def array(self) -> DeviceArray:
        return part(self._memory, self.shape)


class Execution:
    """Runs an engine for inputs of fixed shapes.

    context  the execution context, whose input shapes are set already
    inputs   the inputs' names
    outputs  where each output goes, by its name
    failed   makes the error that tells why TensorRT failed
    """

    def __init__(
        self,
        context: Any,
        cuda: Cuda,
        inputs: Sequence[str],
        outputs: dict[str, DeviceArray | Growing],
        failed: Callable[[], BackendError],
    ) -> None:
        self._context, self._cuda, self._inputs, self._failed = context, cuda, inputs, failed
        self._outputs = outputs
        self._stream = int(cuda.stream.handle)
        self._bound: Shape = ()
        self._graphs: dict[Shape, Graph] = {}
        # A size that only the run tells makes the CPU wait for the GPU in its midst, which no graph can hold.
        self.graph_failure = "outputs of unknown size" if self._growing() else None
        for name, output in outputs.items():
            if isinstance(output, DeviceArray):
                context.set_tensor_address(name, output.pointer)

    def _growing(self) -> bool:
        return any(isinstance(output, Growing) for output in self._outputs.values())

    def run(self, inputs: Sequence[DeviceArray], *, graphs: bool) -> tuple[DeviceArray, ...]:
        """Ask for one run; a graph is captured when the same addresses come a second time in a row."""
        pointers = tuple(array.pointer for array in inputs)
        if graphs and pointers in self._graphs:
            self._graphs[pointers].launch()
        elif graphs and pointers == self._bound and self._may_capture():
            self._capture(pointers)
        else:
            self._bind(pointers)
            self._execute()
        return tuple(o.array if isinstance(o, Growing) else o for o in self._outputs.values())

    def _bind(self, pointers: Shape) -> None:
        if pointers == self._bound:
            return
        for name, pointer in zip(self._inputs, pointers, strict=True):
            if not self._context.set_tensor_address(name, pointer):
                raise self._failed()
        self._bound = pointers

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise self._failed()

    def _may_capture(self) -> bool:
        return self.graph_failure is None and len(self._graphs) < GRAPHS

    def _capture(self, pointers: Shape) -> None:
        """Keep this run as a graph, and run; without a graph where the network cannot be captured."""
        self._cuda.synchronize()  # the first run has made all that a capture must not make
        try:
            with self._cuda.capture() as graph:
                self._execute()
        except BackendError as error:
            self.graph_failure = str(error)
            log.info("CUDA graphs are not used: %s", error)
            if not self._context.execute_async_v3(self._stream):  # it may meet the capture's error once more
                self._execute()
            return
        self._graphs[pointers] = graph
        graph.launch()


def part(memory: DeviceArray, shape: Shape) -> DeviceArray:
    """The first elements of an array, in another shape."""
    if math.prod(shape) > memory.size:
        raise ValueError(f"{memory.size} elements of memory do not hold the shape {shape}")
    return DeviceArray(memory.pointer, shape, memory.dtype, memory.owner)


def refit(trt: Any, engine: Any, onnx: Path, messages: Any) -> None:
    """Put the weights back into an engine that was built without them.

    messages: the Log of the runner. Raises ArtefactError where the ONNX file is missing or does not fit,
    BackendError where this TensorRT cannot.
    """
    require(trt, "refit from onnx")
    if not onnx.is_file():
        raise ArtefactError(
            f"the engine was built without weights, and {onnx} is not beside it: copy it there"
        )
    refitter = trt.Refitter(engine, messages)
    parser = trt.OnnxParserRefitter(refitter, messages)
    if not (parser.refit_from_bytes(onnx.read_bytes(), str(onnx)) and refitter.refit_cuda_engine()):
        raise ArtefactError(f"the weights of {onnx} do not fit the engine: {messages.last()}")


def tensor_spec(trt: Any, engine: Any, name: str) -> TensorSpec:
    """An input or output of an engine; raises BackendError for a type or a place not known here."""
    kind, place = engine.get_tensor_dtype(name).name, engine.get_tensor_location(name)
    if kind not in _DTYPES or place != trt.TensorLocation.DEVICE:
        raise BackendError(
            f"{name} is a {kind} tensor in {place.name.lower()} memory; allowed are {', '.join(_DTYPES)} in "
            "device memory: export without it"
        )
    shape = tuple(None if side < 0 else int(side) for side in engine.get_tensor_shape(name))
    return TensorSpec(name, shape, np.dtype(_DTYPES[kind]))
