"""The seam between a pipeline and whatever runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import TypeGuard

    from wholebody.runtime.cuda import Cuda
    from wholebody.runtime.gpu import DeviceArray

__all__ = ["Array", "Backend", "GpuBackend", "TensorSpec", "is_on_gpu"]

Array = NDArray[np.generic]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (None where dynamic) and dtype of one input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic]


class Backend(Protocol):
    """A loaded network: called with one array per input, it answers with one array per output, in order."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def __call__(self, *inputs: Array) -> tuple[Array, ...]: ...


class GpuBackend(Backend, Protocol):
    """A network that also runs on arrays which are on a GPU, and leaves its answers there."""

    @property
    def cuda(self) -> Cuda:
        """The GPU, whose stream everything goes through."""
        ...

    @property
    def buckets(self) -> tuple[int, ...]:
        """The sizes of a batch to run in, ascending."""
        ...

    def reopen(self) -> None:
        """Begin anew, with another `cuda`, where the GPU was lost; else do nothing."""
        ...

    def enqueue(self, *inputs: DeviceArray) -> tuple[DeviceArray, ...]:
        """Ask for one run; the answers lie in memory that the next run overwrites."""
        ...


def is_on_gpu(backend: Backend) -> TypeGuard[GpuBackend]:
    """Whether pipelines may stay on the GPU with it."""
    return hasattr(backend, "enqueue")
