"""A picture's way into the network and back: letterbox, normalise, resize, pad."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats
from wholebody.runtime.spec import InputSpec

__all__ = ["Letterbox", "Pixels", "Preprocessor", "letterbox", "preprocess"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Letterbox:
    """How a source picture lies in the top left corner of the network's input.

    source  (height, width) of the picture
    size    (height, width) of the resized picture inside the input; zeros fill the rest, right and below
    """

    source: tuple[int, int]
    size: tuple[int, int]

    @property
    def to_source(self) -> tuple[float, float]:
        """(x, y) factors from network to source pixels; they differ a little, as sizes are whole numbers."""
        return self.source[1] / self.size[1], self.source[0] / self.size[0]


def letterbox(source_hw: tuple[int, int], spec: InputSpec) -> Letterbox:
    """Where a picture of this (height, width) lies in the network's input.

    scale = min(min_size / shorter side, max_size / longer side), less where the input is smaller; each side
    is floor(side * scale) and at least 1. The floor is taken of the exact product, never of a rounded one.
    This is DOPE's rule (ECCV 2020). Raises ValueError for a side below 1.
    """
    height, width = source_hw
    if height < 1 or width < 1:
        raise ValueError(f"a picture needs at least one pixel, got height {height} and width {width}")
    scale = min(
        Fraction(spec.min_size, min(height, width)),
        Fraction(spec.max_size, max(height, width)),
        Fraction(spec.height, height),
        Fraction(spec.width, width),
    )
    return Letterbox((height, width), (max(1, int(height * scale)), max(1, int(width * scale))))


class Preprocessor(threading.local):
    """Pictures to the input of one student, in buffers that it keeps: new ones would cost more than the work.

    Each thread that uses it has buffers of its own.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._gain = (1 / (255 * np.array(spec.std))).astype(np.float32)
        self._offset = (np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
        self._canvas = np.zeros((1, 3, spec.height, spec.width), np.float32)
        self._size = (0, 0)
        self._buffers: dict[str, NDArray[Any]] = {}

    def __call__(self, image_bgr: Pixels, box: Letterbox) -> Floats:
        """(1, 3, H, W) float32: RGB in 0..1, normalised, zeros right and below; good until the next call.

        image_bgr (h, w, 3) uint8 as OpenCV reads it; `box` comes from `letterbox`. Resizing is bilinear with
        half-pixel centres, without antialiasing and in float, since 8-bit resizing rounds and does not
        reproduce the reference.
        """
        if box.size != self._size:
            self._canvas.fill(0)
            self._size = box.size
        height, width = box.size
        planes = self._canvas[0, ::-1, :height, :width]  # blue, green, red
        if box.source[0] > 2 * height:
            self._resize_far(image_bgr, planes)
        else:
            self._resize(image_bgr, planes)
        for plane, gain, offset in zip(planes, self._gain[::-1], self._offset[::-1], strict=True):
            plane *= gain
            plane -= offset
        return self._canvas

    def _resize(self, image_bgr: Pixels, planes: Floats) -> None:
        """Into float `planes` (3, h, w), channel after channel."""
        for source, target in zip(self._split(image_bgr), planes, strict=True):
            if source.shape == target.shape:
                np.copyto(target, source)
            else:
                cv2.resize(
                    self._float(source), target.shape[::-1], dst=target, interpolation=cv2.INTER_LINEAR
                )

    def _resize_far(self, image_bgr: Pixels, planes: Floats) -> None:
        """`_resize` for a source over twice as high: it reads only the two rows a row lies between."""
        height, width = planes.shape[1:]
        centres = (np.arange(height) + 0.5) * (len(image_bgr) / height) - 0.5
        above = np.floor(centres).astype(np.intp)  # in the picture, and so is the row below
        weight = (centres - above).astype(np.float32)[:, None]
        rows = self._buffer("rows", (2 * height, *image_bgr.shape[1:]), np.uint8)
        np.take(image_bgr, np.concatenate([above, above + 1]), axis=0, out=rows, mode="clip")
        narrow = self._buffer("narrow", (2 * height, width), np.float32)
        upper, lower = narrow[:height], narrow[height:]
        for source, target in zip(self._split(rows), planes, strict=True):
            cv2.resize(self._float(source), (width, 2 * height), dst=narrow, interpolation=cv2.INTER_LINEAR)
            np.subtract(lower, upper, out=lower)
            np.multiply(lower, weight, out=lower)
            np.add(upper, lower, out=target)

    def _split(self, image: Pixels) -> Sequence[NDArray[Any]]:
        return cv2.split(image, tuple(self._buffer("planes", (3, *image.shape[:2]), np.uint8)))

    def _float(self, plane: NDArray[Any]) -> Floats:
        wide = self._buffer("float", plane.shape, np.float32)
        np.copyto(wide, plane)
        return wide

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers[name] = np.empty(shape, dtype)
        return self._buffers[name]


def preprocess(image_bgr: Pixels, box: Letterbox, spec: InputSpec) -> Floats:
    """One picture to a new array; see `Preprocessor`."""
    return Preprocessor(spec)(image_bgr, box)
