"""What was measured in earlier builds, kept per GPU and version of TensorRT, so that the next one is quicker.

Builds may run at once: each reads the cache when it begins, and when it ends merges what it measured into
what is there by then, under a lock.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.whole import locked, whole

__all__ = ["default_timing_cache", "load_timing_cache", "save_timing_cache"]


def default_timing_cache(tensorrt: str, gpu: str, capability: tuple[int, int]) -> Path:
    """Where measurements of this TensorRT on this GPU are kept: below $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = f"{gpu} sm_{capability[0]}{capability[1]} tensorrt {tensorrt}"
    return Path(base) / "wholebody" / "timing" / (re.sub(r"[^\w.]+", "-", name) + ".cache")


def load_timing_cache(config: Any, path: Path) -> None:
    """Give what is in the file to a build's configuration; nothing where there is no file yet.

    Raises ArtefactError where the file cannot be read. What is in it but not of this GPU or version is
    ignored by TensorRT.
    """
    cache = config.create_timing_cache(_read(path))
    if cache is None:  # damaged, or of another TensorRT
        cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)


def save_timing_cache(config: Any, path: Path) -> None:
    """Merge what a build measured into the file.

    Raises ArtefactError where the file cannot be written.
    """
    measured = config.get_timing_cache()
    if measured is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            others = config.create_timing_cache(_read(path))
            if others is not None:
                measured.combine(others, False)
            with whole(path) as partial:
                partial.write_bytes(bytes(measured.serialize()))
    except OSError as error:
        raise ArtefactError(
            f"{path}: the timing cache cannot be written ({error.strerror}): name another with --timing-cache"
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ArtefactError(
            f"{path}: the timing cache cannot be read ({error.strerror}): name another with --timing-cache"
        ) from None
