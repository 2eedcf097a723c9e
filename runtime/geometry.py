"""A picture's way into the network and back: letterbox, normalise, resize, pad."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats
from wholebody.runtime.spec import InputSpec

__all__ = ["Letterbox", "Pixels", "letterbox", "preprocess"]

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


def preprocess(image_bgr: Pixels, box: Letterbox, spec: InputSpec) -> Floats:
    """The network's input: (1, 3, H, W) float32, RGB in 0..1 normalised, with zeros right and below.

    image_bgr (h, w, 3) uint8 as OpenCV reads it; `box` comes from `letterbox`. Resizing is bilinear with
    half-pixel centres, without antialiasing and in float, since 8-bit resizing rounds and does not reproduce
    the reference.
    """
    height, width = box.size
    canvas = np.zeros((1, 3, spec.height, spec.width), np.float32)
    resize = _resize_far if box.source[0] > 2 * height else _resize
    resize(image_bgr, _normalised(spec.mean, spec.std), canvas[0, :, :height, :width])
    return canvas


@lru_cache(maxsize=16)
def _normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    """(3, 256) float32: what each value of red, green and blue becomes."""
    values = np.arange(256) / 255
    table: Floats = ((values - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
    return table


def _resize(image_bgr: Pixels, table: Floats, out: Floats) -> None:
    """Look up and resize one plane after the other, straight into `out` (3, h, w)."""
    for values, plane, target in zip(table[::-1], cv2.split(image_bgr), out[::-1], strict=True):
        if plane.shape == target.shape:
            cv2.LUT(plane, values, dst=target)
        else:
            cv2.resize(cv2.LUT(plane, values), target.shape[::-1], dst=target, interpolation=cv2.INTER_LINEAR)


def _resize_far(image_bgr: Pixels, table: Floats, out: Floats) -> None:
    """`_resize` for a source over twice as high: it reads only the two rows that each row lies between."""
    height, width = out.shape[1:]
    centres = (np.arange(height) + 0.5) * (len(image_bgr) / height) - 0.5
    above = np.floor(centres).astype(
        np.intp
    )  # within the picture, as is the row below: rows lie over 2 apart
    weight = (centres - above).astype(np.float32)[:, None]
    rows = image_bgr[np.concatenate([above, above + 1])]
    for values, plane, target in zip(table[::-1], cv2.split(rows), out[::-1], strict=True):
        narrow = cv2.resize(cv2.LUT(plane, values), (width, 2 * height), interpolation=cv2.INTER_LINEAR)
        upper, lower = narrow[:height], narrow[height:]
        np.subtract(lower, upper, out=lower)
        np.multiply(lower, weight, out=lower)
        np.add(upper, lower, out=target)
