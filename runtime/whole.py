"""Files that appear under their final name only when whole, and one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked", "whole"]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to it at the end of the block, removed where that fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process is in this block for the same folder; the lock goes with its process."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: each file is still replaced as a whole
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
