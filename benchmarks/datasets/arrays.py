"""Arrays out of annotation files that others wrote, without running anything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError

__all__ = ["Column", "read_npz"]

KINDS = {"text": "U", "number": "fiu", "whole number": "iu", "yes or no": "b"}  # of NumPy's types


@dataclass(frozen=True)
class Column:
    """An array of annotations: what it holds (`KINDS`), and its axes but the rows (None: of any length)."""

    kind: str
    axes: tuple[int | None, ...] = ()

    def fits(self, array: NDArray[Any]) -> bool:
        return (
            array.dtype.kind in KINDS[self.kind]
            and array.ndim == len(self.axes) + 1
            and all(wanted in (None, n) for wanted, n in zip(self.axes, array.shape[1:], strict=True))
        )

    def __str__(self) -> str:
        axes = " x ".join(["rows", *("any" if n is None else str(n) for n in self.axes)])
        return f"{axes}, each a {self.kind}"


def read_npz(path: Path, columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    """The named arrays of an .npz file, all of as many rows; others in it are not looked at.

    Raises SourceError where the file is none, lacks one of them, or holds Python objects, which are never
    unpickled.
    """
    arrays = _load(path, columns)
    for name, array in arrays.items():
        if not columns[name].fits(array):
            raise SourceError(f"{path}: {name} is {array.shape} of {array.dtype}, not {columns[name]}")
    if len({len(array) for array in arrays.values()}) > 1:
        told = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise SourceError(f"{path}: its arrays are of different lengths ({told}): write it again")
    return arrays


def _load(path: Path, columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            if missing := [name for name in columns if name not in file.files]:
                raise SourceError(f"{path} has no array {', '.join(missing)}; it has {', '.join(file.files)}")
            return {name: file[name] for name in columns}
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}; check its name") from None
    except Exception as error:  # reading a damaged archive raises anything
        if "Object arrays" in str(error):
            raise SourceError(
                f"{path} holds Python objects, which are never unpickled: save it as plain arrays"
            ) from None
        raise SourceError(f"{path} is no .npz file, or is cut short: write it again") from None
