"""A detector's picture: resized with its aspect kept, in the top left corner, grey right and below.

So RTMDet (mmdetection, Apache-2.0: `Resize(keep_ratio)`, `Pad`) and YOLOX (`preproc`) were trained: 8-bit
bilinear resizing, then the grey, then the normalisation.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np

from wholebody.runtime.geometry import Letterbox, Pixels
from wholebody.runtime.people import Floats

if TYPE_CHECKING:
    from wholebody.runtime.spec import DetectorInput

__all__ = ["Letterboxer", "letterbox_in"]


def letterbox_in(source_hw: tuple[int, int], spec: DetectorInput) -> Letterbox:
    """Where a picture of this (height, width) lies in the detector's input: sides rounded, at least 1."""
    height, width = source_hw
    scale = min(spec.height / height, spec.width / width, float("inf") if spec.upscale else 1)
    size = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    return Letterbox(source_hw, size)


class Letterboxer(threading.local):
    """Pictures to the input of one detector, in buffers that it keeps: new ones would cost more time.

    Each thread that uses it has buffers of its own.
    """

    def __init__(self, spec: DetectorInput) -> None:
        levels = np.arange(256, dtype=np.float32)
        pairs = zip(spec.mean, spec.std, strict=True)
        self._tables = [((levels - np.float32(mean)) / np.float32(std))[:, None] for mean, std in pairs]
        self._order = (2, 1, 0) if spec.color == "rgb" else (0, 1, 2)
        self._pad = spec.pad
        self._input = np.empty((1, 3, spec.height, spec.width), np.float32)
        self._size = (0, 0)
        self._resized = np.empty((0, 0, 3), np.uint8)
        self._planes = np.empty((3, 0, 0), np.uint8)

    def __call__(self, image_bgr: Pixels, box: Letterbox) -> Floats:
        """(1, 3, H, W) float32, normalised, channels in the network's order; good until the next call.

        image_bgr (h, w, 3) uint8 as OpenCV reads it; `box` comes from `letterbox_in`.
        """
        if box.size != self._size:
            self._clear(box.size)
        height, width = box.size
        cv2.resize(image_bgr, (width, height), dst=self._resized, interpolation=cv2.INTER_LINEAR)
        cv2.split(self._resized, tuple(self._planes))
        for channel, plane, table in zip(self._input[0], self._order, self._tables, strict=True):
            cv2.LUT(self._planes[plane], table, dst=channel[:height, :width])
        return self._input

    def _clear(self, size: tuple[int, int]) -> None:
        """Grey everywhere, and buffers for resized pictures of this size."""
        for channel, table in zip(self._input[0], self._tables, strict=True):
            channel.fill(table[self._pad, 0])
        self._size = size
        self._resized = np.empty((*size, 3), np.uint8)
        self._planes = np.empty((3, *size), np.uint8)
