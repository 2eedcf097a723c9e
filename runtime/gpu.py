"""The seam between a kernel's launcher and the GPU that runs it: arrays in its memory, kernels, launches.

`runtime/cuda.py` is the GPU itself; the tests put a CPU behind the same seam and run the same sources there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["DeviceArray", "Gpu", "Kernel", "blocks"]

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """An array in a GPU's memory, in C order. Whoever holds it, or a part of it, keeps the memory.

    pointer  the address of its first element
    owner    what the memory belongs to
    """

    pointer: int
    shape: Shape
    dtype: np.dtype[Any]
    owner: object = field(repr=False, default=None)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: int) -> DeviceArray:
        """The same elements in another shape; ValueError where their number differs."""
        if math.prod(shape) != self.size:
            raise ValueError(f"an array of shape {self.shape} cannot take the shape {shape}")
        return DeviceArray(self.pointer, shape, self.dtype, self.owner)

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Rows first:last of it, without a copy."""
        first, last, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("rows on the GPU can only be taken one after the other")
        row = self.nbytes // max(self.shape[0], 1)
        shape = (max(last - first, 0), *self.shape[1:])
        return DeviceArray(self.pointer + first * row, shape, self.dtype, self.owner)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, False), "version": 3}


@dataclass(frozen=True)
class Kernel:
    """A `__global__` function of a source file in runtime/kernels.

    arguments  one letter each: P for a DeviceArray, i for an int32, f for a float32, d for a float64
    """

    file: str
    name: str
    arguments: str


class Gpu(Protocol):
    """What a launcher needs of a GPU. Everything happens in the order in which it was asked for."""

    @property
    def name(self) -> str: ...

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """A new array with any content."""
        ...

    def copy_in(self, host: NDArray[Any], to: DeviceArray) -> None:
        """Begin to copy an array of the same shape and dtype to the GPU."""
        ...

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        """Begin to copy an array of the same shape and dtype from the GPU; done after `synchronize`."""
        ...

    def fill(self, array: DeviceArray, byte: int = 0) -> None:
        """Set every byte of it."""
        ...

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        """Run a kernel over `grid` blocks of `block` threads."""
        ...

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        ...

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        """A copy of it on the GPU."""
        ...

    def download(self, array: DeviceArray) -> NDArray[Any]:
        """A copy of it in NumPy, when all that was asked for before is done."""
        ...


def blocks(items: int, threads: int, most: int = 65535) -> int:
    """How many blocks of so many threads have one thread for each item: at least 1, as no grid is empty."""
    return min(max(1, -(-items // threads)), most)
