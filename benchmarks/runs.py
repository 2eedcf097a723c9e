"""The file that measurements are kept in: a JSON line each, appended when it is whole.

Every line says what was measured, with what, on what, and what came out (docs/runs.md names the fields). Its
"id" is a digest of what was asked, so that an interrupted suite goes on after the lines that are there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wholebody.runtime.errors import SourceError

__all__ = ["FORMAT", "append_run", "read_runs", "run_id"]

FORMAT = 1
Run = Mapping[str, Any]


def run_id(asked: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of what was asked for, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def append_run(path: Path, run: Run) -> None:
    """Add a line, with "format" put first, and force it to the disk. Raises SourceError.

    What a killed process left of a line is cut off before.
    """
    line = json.dumps({"format": FORMAT, **run}, allow_nan=False) + "\n"
    try:
        with path.open("ab+") as file:
            file.truncate(_whole_lines(path))
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}; choose another place") from error


def read_runs(path: Path) -> list[dict[str, Any]]:
    """All runs of a file, oldest first; a last line that was cut off is left out. [] where there is no file.

    Raises SourceError for what is no such file and for lines of another format.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return [_run(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _run(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        run = json.loads(line)
    except ValueError:
        run = None
    if not isinstance(run, dict) or "format" not in run:
        raise SourceError(
            f"line {number} of {path} is no run: give a file that `wholebody bench … --runs FILE` wrote"
        )
    if run["format"] != FORMAT:
        raise SourceError(
            f"line {number} of {path} is of format {run['format']}, this version reads {FORMAT}: measure "
            "again into another file"
        )
    return run


def _whole_lines(path: Path) -> int:
    """Bytes of the lines that end."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1
