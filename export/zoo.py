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
    path = Path(str(resources.files("wholebody.export"))) / "weights" / f"{name}.safetensors"
    if name not in BUNDLED or not path.is_file():
        raise CheckpointError(f"no bundled student {name!r}; there are: {', '.join(BUNDLED)}")
    return path


def bundled_source(sha256: str) -> Path | None:
    """The bundled weights with this SHA-256, or None."""
    paths = (bundled(name) for name in BUNDLED)
    return next((path for path in paths if hashlib.sha256(path.read_bytes()).hexdigest() == sha256), None)
