"""Arrays out of annotation files that others wrote, without running anything that is in them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError

__all__ = ["picture_paths", "read_npz", "sha256_of"]

Shape = tuple[int | None, ...]


def read_npz(path: Path, shapes: Mapping[str, Shape], kinds: str = "fiub") -> dict[str, NDArray[Any]]:
    """The named arrays of an .npz file, numbers or text; others in it are not looked at.

    shapes: by name, None for the first axis of all and for any other length that is free. Raises SourceError
    where the file is none, lacks an array, or holds Python objects, which are never unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in shapes if name not in file.files]:
                raise SourceError(f"{path} has no array {', '.join(missing)}; it has {', '.join(file.files)}")
            arrays = {name: file[name] for name in shapes}
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}; check its name") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if "pickle" in str(error):
            raise SourceError(
                f"{path} holds Python objects, which are never unpickled: save it again as plain arrays"
            ) from None
        raise SourceError(f"{path} is no .npz file of arrays, or is cut short: write it again") from None
    _check(path, arrays, shapes, kinds)
    return arrays


def _check(path: Path, arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, Shape], kinds: str) -> None:
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim and shapes[name][0] is None}
    for name, array in arrays.items():
        shape = shapes[name]
        fits = array.ndim == len(shape) and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in "U" + kinds:
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise SourceError(
                f"{path}: {name} is {array.shape} of {array.dtype}, not {wanted} numbers or names"
            )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SourceError(f"{path}: its arrays are of different lengths ({told}): write it again")


def picture_paths(folder: Path, names: Iterable[str]) -> list[Path]:
    """The pictures of these names in a folder. Raises SourceError where one is missing or lies outside it."""
    paths = []
    for name in names:
        if not name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise SourceError(
                f"{name!r} is no name of a picture inside {folder}: the annotations are damaged"
            )
        paths.append(folder / name)
    if missing := [path for path in paths if not path.is_file()]:
        raise SourceError(
            f"{len(missing)} of {len(paths)} pictures are missing, {missing[0]} the first: "
            "give the folder that the annotations were made for"
        )
    return paths


def sha256_of(paths: Iterable[Path]) -> str:
    """Hexadecimal digest of files one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
