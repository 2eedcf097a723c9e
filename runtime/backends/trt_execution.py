"""What a TensorRT engine takes and answers, and one of its contexts with its CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wholebody.runtime.backends.backend import TensorSpec
from wholebody.runtime.backends.trt_outputs import Growing
from wholebody.runtime.cuda import Cuda, Graph
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray

__all__ = ["Execution", "tensor_spec"]

log = logging.getLogger(__name__)

GRAPHS = 4  # for so many sets of input addresses, such as the buffers of a ring

Shape = tuple[int, ...]

_DTYPES = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip


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
        self.context, self._cuda, self._inputs, self._failed = context, cuda, inputs, failed
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
            if not self.context.set_tensor_address(name, pointer):
                raise self._failed()
        self._bound = pointers

    def _execute(self) -> None:
        if not self.context.execute_async_v3(self._stream):
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
            if not self.context.execute_async_v3(self._stream):  # it may meet the capture's error once more
                self._execute()
            return
        self._graphs[pointers] = graph
        graph.launch()


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
