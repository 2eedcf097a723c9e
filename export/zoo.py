"""The students that come with wholebody."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from wholebody.runtime.errors import CheckpointError

__all__ = ["BUNDLED", "bundled", "bundled_source"]

BUNDLED = ("dope-mini",)


def bundled(name: str) -> Path:
    """The weights of a bundled student. Raises CheckpointError where there is none of that name."""
    if name not in BUNDLED:
        raise CheckpointError(f"no bundled student {name!r}; there are: {', '.join(BUNDLED)}")
    path = _weights(name)
    if not path.is_file():
        raise CheckpointError(f"{path}: the weights of {name} are missing; install wholebody again")
    return path


def bundled_source(sha256: str) -> Path | None:
    """The bundled weights with this SHA-256, or None."""
    paths = [path for path in map(_weights, BUNDLED) if path.is_file()]
    return next((path for path in paths if hashlib.sha256(path.read_bytes()).hexdigest() == sha256), None)


def _weights(name: str) -> Path:
    return Path(str(resources.files("wholebody.export"))) / "weights" / f"{name}.safetensors"
