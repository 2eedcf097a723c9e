"""Pictures that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from wholebody.benchmarks.datasets.dataset import Picture

__all__ = ["Lazy"]


@dataclass(frozen=True, eq=False)
class Lazy(Sequence[Picture]):
    """`length` pictures, of which `make` makes each anew."""

    length: int
    make: Callable[[int], Picture]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...

    def __getitem__(self, index: int | slice) -> Picture | Sequence[Picture]:
        if isinstance(index, slice):
            return [self.make(i) for i in range(self.length)[index]]
        return self.make(range(self.length)[index])
