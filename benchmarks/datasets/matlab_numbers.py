"""Arrays of numbers out of MATLAB files (version 5 to 7.2), without running anything that is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError, WholebodyError

__all__ = ["read_numbers"]

Doubles = NDArray[np.float64]


def read_numbers(path: Path, **shapes: tuple[int | None, ...]) -> dict[str, Doubles]:
    """The named variables, in these shapes; None for a length that is free.

    Raises SourceError where the file cannot be read, or lacks one, or it has another shape, or holds what is
    no finite number; WholebodyError where scipy is missing.
    """
    content = _load(path, list(shapes))
    arrays = {name: content.get(name) for name in shapes}
    for name, shape in shapes.items():
        if not _fits(arrays[name], shape):
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise SourceError(f"{path} has no {wanted} numbers named {name}: it is of another data set")
    return {name: np.asarray(array, np.float64) for name, array in arrays.items()}


def _load(path: Path, names: list[str]) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise WholebodyError("MATLAB files need scipy: pip install 'wholebody[bench]'") from None
    try:
        content: dict[str, Any] = loadmat(path, variable_names=names, appendmat=False)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}; check its name") from None
    except Exception as error:  # what a damaged file is read as raises anything
        raise SourceError(
            f"{path} is no MATLAB file of version 5 to 7.2, or is damaged ({type(error).__name__}): "
            "download it again"
        ) from None
    return content


def _fits(value: Any, shape: tuple[int | None, ...]) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "iuf"
        and value.ndim == len(shape)
        and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
        and bool(np.isfinite(value).all())
    )
