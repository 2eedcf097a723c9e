"""Cells and structures out of MATLAB files (version 5 to 7.2), without running anything that is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError, WholebodyError

__all__ = ["read_cells"]


def read_cells(path: Path, name: str) -> NDArray[np.object_]:
    """The (rows, columns) cells of a variable, each a structure of named arrays or an array.

    Raises SourceError where the file cannot be read or has no such variable.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise WholebodyError("MATLAB files need scipy: pip install 'wholebody[bench]'") from None
    try:
        with path.open("rb") as file:
            content: dict[str, Any] = loadmat(file, variable_names=[name])
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its name") from None
    except Exception as error:  # what a damaged file is read as raises anything
        raise SourceError(
            f"{path} is no MATLAB file of version 5 to 7.2, or is damaged ({type(error).__name__}): unpack "
            "it again"
        ) from None
    cells = content.get(name)
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.ndim != 2:
        raise SourceError(f"{path} has no cells named {name}: it is of another data set")
    return cells
