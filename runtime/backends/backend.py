"""The seam between a pipeline and whatever runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Backend", "TensorSpec"]

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
