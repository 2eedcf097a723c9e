"""Memory for outputs whose size only a run tells."""

from __future__ import annotations

import logging
import math
from typing import Any

import tensorrt as trt  # pyright: ignore[reportMissingImports]

from wholebody.runtime.cuda import Cuda
from wholebody.runtime.gpu import DeviceArray

__all__ = ["Growing", "part"]

log = logging.getLogger(__name__)

Shape = tuple[int, ...]


class Growing(trt.IOutputAllocator):  # type: ignore[misc]  # TensorRT has no types
    """GPU memory for one output, which TensorRT asks for; it is kept and grows where it must."""

    def __init__(self, cuda: Cuda, dtype: Any) -> None:
        trt.IOutputAllocator.__init__(self)
        self._cuda = cuda
        self._memory = cuda.empty(1, dtype)
        self._shape: Shape = (0,)

    @property
    def array(self) -> DeviceArray:
        """The output of the last run."""
        return part(self._memory, self._shape)

    def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
        """Called by TensorRT 8: the address of at least `size` bytes; 0 where there is no such memory."""
        if size > self._memory.nbytes:
            try:
                items = -(-size // self._memory.dtype.itemsize)
                self._memory = self._cuda.empty(items, self._memory.dtype)
            except Exception as error:  # of any kind: none may cross C++
                log.error("%s", error)
                return 0
        return self._memory.pointer

    def reallocate_output_async(
        self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
    ) -> int:
        """Called by TensorRT 10 and newer."""
        return self.reallocate_output(tensor_name, memory, size, alignment)

    def notify_shape(self, tensor_name: str, shape: Any) -> None:
        """Called once the shape is known, before `execute_async_v3` is back."""
        self._shape = tuple(int(side) for side in shape)


def part(memory: DeviceArray, shape: Shape) -> DeviceArray:
    """The first elements of an array, in another shape."""
    if math.prod(shape) > memory.size:
        raise ValueError(f"{memory.size} elements of memory do not hold the shape {shape}")
    return DeviceArray(memory.pointer, shape, memory.dtype, memory.owner)
