"""From the people in a picture to the crops a top-down student reads, and from a crop's pixels back.

The steps are those the published students were trained with (OpenMMLab's mmpose, Apache-2.0: `bbox_xyxy2cs`,
`TopdownAffine`, `PoseDataPreprocessor`): a box grows by its padding and then to the crop's aspect, a bilinear
`cv2.warpAffine` samples 8-bit pixels with zeros outside the picture, and only then comes the normalisation.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.geometry import Pixels
from wholebody.runtime.people import Floats
from wholebody.runtime.spec import CropInput

__all__ = ["Affines", "Cropper", "check_boxes", "crop_affines", "crops", "to_source"]

Affines = NDArray[np.float64]


def check_boxes(boxes: NDArray[Any], image_hw: tuple[int, int] | None = None) -> None:
    """Whether boxes that a caller gives can be cropped: (N, 4) x0 y0 x1 y1 in source pixels.

    Raises ValueError, naming the first wrong box, where the shape is another, a number is not finite, a box
    is inverted or has no area or, with `image_hw` (height, width), where it lies outside the picture.
    """
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected (N, 4) x0 y0 x1 y1 in pixels, got shape {boxes.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = boxes.astype(np.float32)
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        area = width * height
    _refuse(boxes, ~np.all(np.isfinite(boxes), axis=1), "is not finite; give pixels of the source picture")
    _refuse(boxes, (width < 0) | (height < 0), "is inverted; give x0 < x1 and y0 < y1")
    _refuse(boxes, area == 0, "has no area; give x0 < x1 and y0 < y1")
    _refuse(boxes, area == np.inf, "is too large; give pixels of the source picture")
    if image_hw is not None:
        rows, columns = image_hw
        outside = (boxes[:, 2:] < 0).any(axis=1) | (boxes[:, 0] > columns - 1) | (boxes[:, 1] > rows - 1)
        _refuse(boxes, outside, f"lies outside the picture of {columns} x {rows} pixels; give one inside")


def _refuse(boxes: Floats, wrong: NDArray[np.bool_], why: str) -> None:
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(f"box {first} ({', '.join(f'{v:g}' for v in boxes[first])}) {why}")


def crop_affines(
    boxes: NDArray[Any], input_wh: tuple[int, int], padding: float = 1.25, *, udp: bool = False
) -> Affines:
    """(N, 2, 3) float64 affines from source pixels to the pixels of a crop of (width, height).

    boxes (N, 4) x0 y0 x1 y1 in source pixels. A box grows `padding` times about its centre, then on its
    shorter side to the crop's aspect. What is left spans the crop's `width` pixels, and its centre goes to
    width / 2; with `udp`, for students trained so (ViTPose; not the SimCC ones), width - 1 and half of that.
    """
    boxes = np.asarray(boxes, np.float64)
    crop = np.array(input_wh, np.float64)
    span = crop - 1 if udp else crop
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]) * padding
    scale = (crop / sides).min(axis=1, keepdims=True) * (span / crop)
    affines = np.zeros(
        (len(boxes), 2, 3)
    )  # OpenCV rounds to 1/32 pixel: float32 would tip some the other way
    affines[:, [0, 1], [0, 1]] = scale
    affines[:, :, 2] = span / 2 - scale * centre
    return affines


def to_source(keypoints: NDArray[Any], affines: NDArray[Any]) -> Floats:
    """(N, K, 2) float32 source pixels from (N, K, 2) crop pixels and the affines of `crop_affines`."""
    shift, scale = affines[:, None, :, 2], affines[:, None, [0, 1], [0, 1]]
    source: NDArray[np.float64] = (np.asarray(keypoints, np.float32) - shift) / scale
    return source.astype(np.float32)


class Cropper(threading.local):
    """The crops of one student's people, in buffers that it keeps: new ones would cost more than the work.

    Each thread that uses it has buffers of its own.
    """

    def __init__(self, spec: CropInput) -> None:
        levels = np.arange(256, dtype=np.float32)[:, None]
        tables = (levels - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
        self._tables = np.ascontiguousarray(
            tables.T[:, None]
        )  # one a channel: what each of 256 levels becomes
        self._order: Sequence[int] = (2, 1, 0) if spec.color == "rgb" else (0, 1, 2)
        self._crop = np.empty((spec.height, spec.width, 3), np.uint8)
        self._planes = np.empty((3, spec.height, spec.width), np.uint8)
        self._crops = np.empty((0, 3, spec.height, spec.width), np.float32)

    def __call__(self, image_bgr: Pixels, affines: NDArray[Any]) -> Floats:
        """(N, 3, h, w) float32, normalised, channels in the network's order; good until the next call.

        image_bgr (H, W, 3) uint8 as OpenCV reads it, affines (N, 2, 3) from source to crop pixels.
        """
        if len(affines) > len(self._crops):
            self._crops = np.empty((len(affines), *self._crops.shape[1:]), np.float32)
        made = self._crops[: len(affines)]
        for affine, channels in zip(affines, made, strict=True):
            size = channels.shape[:0:-1]
            cv2.warpAffine(image_bgr, affine, size, dst=self._crop, flags=cv2.INTER_LINEAR)
            cv2.split(self._crop, tuple(self._planes))
            for channel, plane, table in zip(channels, self._order, self._tables, strict=True):
                cv2.LUT(self._planes[plane], table, dst=channel)
        return made


def crops(image_bgr: Pixels, affines: NDArray[Any], spec: CropInput) -> Floats:
    """All people of a picture in a new array; see `Cropper`."""
    return Cropper(spec)(image_bgr, affines)
