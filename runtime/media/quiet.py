"""OpenCV's own words to the terminal, kept back while our errors say the same in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

__all__ = ["quiet_opencv"]

_SILENT = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV's log, and that of the FFmpeg inside it, say nothing in this block.

    FFmpeg's level is read once, when the process opens its first video; where the user has set
    OPENCV_FFMPEG_LOGLEVEL, that holds.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    log = _log()
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _log() -> Any:
    """OpenCV 5 moved these functions from `cv2` to `cv2.utils.logging`."""
    return cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
