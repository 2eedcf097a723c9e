"""What `torch.save` wrote, read without running any of it.

`torch.load(weights_only=True)` builds tensors and plain values, and refuses whatever else a pickle names. The
files of OpenMMLab name more: learning curves and tables of the data set, of NumPy's and mmengine's classes.
For these an inert stand-in is given, so that neither is imported and nothing of theirs is called.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from wholebody.runtime.errors import CheckpointError

__all__ = ["Ignored", "file_sha256", "read_torch_file", "require_file"]

# What training leaves beside the weights; `getattr` is how a pickle names a class's method.
IGNORED = ("numpy.", "mmengine.", "mmcv.", "mmdet.", "mmpose.", "builtins.getattr")


class Ignored:
    """Stands for a value of another library: takes whatever it is made of, and does nothing."""

    def __init__(self, *parts: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def require_file(path: Path) -> None:
    """Raises CheckpointError where there is none."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; check the path")


def file_sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_torch_file(path: Path) -> dict[Any, Any]:
    """The dictionary in a `torch.save` file, its tensors on the CPU; never runs what is inside.

    Values of NumPy's and OpenMMLab's classes come as `Ignored`. Raises CheckpointError for a file that is
    missing, cut short, damaged or no checkpoint, and for one that asks for anything else, which is named.
    """
    require_file(path)
    _require_undamaged(path)
    stand_ins: list[Any] = [(Ignored, name) for name in _named(path) if name.startswith(IGNORED)]
    try:
        with warnings.catch_warnings(), safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # torch's word about pickle protocols; a refusal follows
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_why_refused(error)}") from error
    except Exception as error:  # a damaged file fails in any of a dozen ways inside torch, zip and pickle
        reason = f"{type(error).__name__} {error}".partition("\n")[0].partition(". ")[0].strip()
        raise CheckpointError(
            f"{path}: not a whole PyTorch checkpoint ({reason:.120}); download or copy it again"
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"{path}: not a checkpoint: a {kind}, not a dictionary; give another file")
    return content


def _require_undamaged(path: Path) -> None:
    """Every record has a checksum, which `torch.load` does not look at: a flipped bit would be a weight."""
    try:
        with zipfile.ZipFile(path) as records:
            damaged = records.testzip()
    except Exception:  # before PyTorch 1.6 it was no zip file; of a torn one `torch.load` tells
        return
    if damaged is not None:
        raise CheckpointError(
            f"{path}: damaged: its record {damaged} is not what was written; download or copy it again"
        )


def _named(path: Path) -> list[str]:
    """What the file's pickle asks for besides tensors and plain values; read from its bytes alone."""
    try:
        return get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an old or a damaged file, about which `torch.load` has the last word
        return []


def _why_refused(error: pickle.UnpicklingError) -> str:
    named = re.search(r"(?:GLOBAL|Unsupported class|Unsupported global: GLOBAL) ([\w.]+)", str(error))
    if named is None:
        return "not a PyTorch checkpoint, or one cut short; download or copy it again"
    return (
        f"refused: its pickle asks for {named[1]}, and a checkpoint may hold tensors and plain values only; "
        "ask its author for one with the state_dict alone"
    )
