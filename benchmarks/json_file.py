"""The file that a benchmark's figures are written into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from json import dumps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from wholebody.runtime.errors import SourceError
from wholebody.runtime.whole import whole

__all__ = ["prove_writable", "write_json"]


def prove_writable(path: Path, keep: Iterable[Path] = ()) -> None:
    """Raise SourceError where the file cannot be written or is one of `keep`, before hours of work."""
    if path.resolve() in {kept.resolve() for kept in keep}:
        raise SourceError(f"cannot write {path}: it is what is measured; choose another name")
    if path.is_dir():
        raise SourceError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}; choose another place") from error


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write plain values; the file appears under its name only when whole. Raises SourceError."""
    try:
        with whole(path) as partial:
            partial.write_text(dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}; choose another place") from error
