"""Frames of a video file and of a webcam."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media.frames import Frame, Kind
from wholebody.runtime.media.pictures import Image
from wholebody.runtime.media.quiet import quiet_opencv

__all__ = ["VideoFile", "Webcam"]

_USUAL_FPS = 30.0  # where a file or camera does not say
# Containers without an index only estimate their frames; fewer than this share of them is worth a word.
_COUNT_TOLERANCE = 0.02


@dataclass(frozen=True)
class VideoFile:
    """A video; `length` is what it announces, None where it does not say."""

    path: Path
    length: int | None
    fps: float
    kind: Kind = "video"

    @classmethod
    def probe(cls, path: Path) -> VideoFile:
        """Look at a video's header. Raises SourceError where it cannot be opened."""
        with _capture(path, str(path)) as capture:
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            return cls(path, int(count) if 0 < count < 1e9 else None, _frames_per_second(capture))

    @property
    def name(self) -> str:
        return str(self.path)

    def frames(self, warn: Callable[[str], None]) -> Iterator[Frame]:
        """Upright frames; one that is cut off gives those that can be decoded, then warns."""
        index = 0
        with _capture(self.path, self.name) as capture:
            while (image := _read(capture)) is not None:
                yield Frame(
                    image, self.name, index, _position(capture, index / self.fps), self.kind, self.fps
                )
                index += 1
        if index == 0:
            raise SourceError(f"{self.path} holds no frame that can be decoded: damaged, or an unknown codec")
        missing = (self.length or 0) - index
        if missing > max(1, _COUNT_TOLERANCE * index):
            warn(f"{self.path} is cut off or damaged: {index} of its {self.length} frames could be decoded")


@dataclass(frozen=True)
class Webcam:
    """A camera of this machine, by its number; times count from its first frame."""

    number: int
    kind: Kind = "webcam"
    length: int | None = None

    @property
    def name(self) -> str:
        return f"webcam{self.number}"

    def frames(self, warn: Callable[[str], None]) -> Iterator[Frame]:
        index, start = 0, 0.0
        with _capture(self.number, f"webcam {self.number}") as capture:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest that waits
            fps = _frames_per_second(capture)
            while (image := _read(capture)) is not None:
                now = time.monotonic()
                start = start if index else now
                yield Frame(image, self.name, index, now - start, self.kind, fps)
                index += 1
        if index == 0:
            raise SourceError(f"webcam {self.number} gives no picture: another program may be using it")
        warn(f"webcam {self.number} stopped after {index} frames")


@contextmanager
def _capture(target: Path | int, label: str) -> Iterator[cv2.VideoCapture]:
    with quiet_opencv():
        capture = cv2.VideoCapture(target if isinstance(target, int) else str(target))
    try:
        if not capture.isOpened():
            expected = (
                "a whole video or picture"  # mp4 has its index at the end: without it nothing is found
                if isinstance(target, Path)
                else "the number of a connected camera"
            )
            raise SourceError(f"{label} cannot be opened: expected {expected} that OpenCV can read")
        yield capture
    finally:
        capture.release()


def _read(capture: cv2.VideoCapture) -> Image | None:
    with quiet_opencv():
        found, image = capture.read()
    return np.asarray(image, np.uint8) if found else None


def _frames_per_second(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0 < fps <= 1000 else _USUAL_FPS


def _position(capture: cv2.VideoCapture, otherwise: float) -> float:
    """Seconds of the frame just read; some of OpenCV's readers keep no clock and answer 0 for ever."""
    position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return position if math.isfinite(position) and position > 0 else otherwise
