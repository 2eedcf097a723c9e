"""Heatmaps: one map a keypoint, whose peak is where it lies.

Two ways to train such a student, and each has its own way to read the maps:

plain  SimpleBaselines (ECCV 2018), HRNet, and the MobileNet students of gluon-cv: pixel p of the crop is
       p * map / crop of the map, rounded; the peak, and a quarter of a pixel towards its higher neighbour.
UDP    ViTPose and what else is trained with "unbiased data processing" (CVPR 2020): the first and the last
       pixels of crop and map lie on each other, and the peak is refined as DARK does (CVPR 2020), by a
       Newton step on the logarithm of the smoothed map. Its crops are others too: `crop_affines(udp=True)`.

The rules are those of mmpose (Apache-2.0: `MSRAHeatmap`, `UDPHeatmap`).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats

__all__ = ["decode_heatmaps"]

BLUR = 11  # pixels of the map: what DARK smooths with, where targets have a deviation of 2
Peaks = NDArray[np.intp]


def decode_heatmaps(
    maps: NDArray[Any], input_wh: tuple[int, int], *, udp: bool = False
) -> tuple[Floats, Floats]:
    """Keypoints (N, K, 2) in pixels of crops of (width, height) and their scores (N, K), float32.

    maps (N, K, h, w), as they are; the score is a map's peak. A keypoint whose peak is not above 0 was not
    seen: score 0, NaN coordinates. `udp` says how the student was trained, see above.
    """
    maps = np.asarray(maps, np.float32)
    n, k, height, width = maps.shape
    flat = maps.reshape(n, k, height * width)
    place = flat.argmax(axis=2)
    scores = np.take_along_axis(flat, place[..., None], axis=2)[..., 0]
    y, x = np.divmod(place, width)
    refine = _newton_step if udp else _quarter_step
    with np.errstate(invalid="ignore"):  # infinite maps
        peaks = np.stack([x, y], axis=-1).astype(np.float32) + refine(maps, x, y)
    crop, size = np.array(input_wh), np.array([width, height])
    scale = (crop - 1) / np.maximum(size - 1, 1) if udp else crop / size
    keypoints: Floats = peaks * scale.astype(np.float32)
    unseen = ~((scores > 0) & np.isfinite(scores))  # a map with a NaN as well
    keypoints[unseen], scores[unseen] = np.nan, 0
    return keypoints, scores


def _quarter_step(maps: Floats, x: Peaks, y: Peaks) -> Floats:
    """(N, K, 2): a quarter of a pixel towards the higher neighbour, on each axis where both are in the map.

    The published code also leaves out the second row and column, though both neighbours are there.
    """
    around = _neighbours(maps, x, y)
    inside = np.stack([(x > 0) & (x < maps.shape[3] - 1), (y > 0) & (y < maps.shape[2] - 1)], axis=-1)
    slope = np.stack([around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]], axis=-1)
    step: Floats = np.where(inside, np.sign(slope) / 4, np.float32(0))
    return step


def _newton_step(maps: Floats, x: Peaks, y: Peaks) -> Floats:
    """(N, K, 2) from each peak to the top of the parabola through the smoothed map's logarithm (DARK)."""
    smooth = _smoothed(maps)
    gain = maps.max(axis=(2, 3)) / np.maximum(smooth.max(axis=(2, 3)), np.finfo(np.float32).tiny)
    log = np.log(np.clip(_neighbours(smooth, x, y) * gain[..., None, None], 1e-3, 50))
    middle, left, right = log[..., 1, 1], log[..., 1, 0], log[..., 1, 2]
    above, below = log[..., 0, 1], log[..., 2, 1]
    dx, dy = (right - left) / 2, (below - above) / 2
    eps = np.finfo(np.float32).eps
    dxx, dyy = right - 2 * middle + left + eps, below - 2 * middle + above + eps
    dxy = (log[..., 2, 2] - right - below + 2 * middle - left - above + log[..., 0, 0]) / 2
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1)
    determinant = (dxx * dyy - dxy * dxy)[..., None]
    offset: Floats = np.divide(step, determinant, out=np.zeros_like(step), where=determinant != 0)
    return offset


def _smoothed(maps: Floats) -> Floats:
    """The maps, each blurred with zeros around it: all in one tall picture, with zeros between them."""
    n, k, height, width = maps.shape
    tall = np.zeros((n * k, height + BLUR // 2, width), np.float32)
    tall[:, :height] = maps.reshape(n * k, height, width)
    if len(tall):
        picture = tall.reshape(-1, width)
        cv2.GaussianBlur(picture, (BLUR, BLUR), 0, dst=picture, borderType=cv2.BORDER_CONSTANT)
    return tall[:, :height].reshape(maps.shape)


def _neighbours(maps: Floats, x: Peaks, y: Peaks) -> Floats:
    """(N, K, 3, 3) the pixels around each peak, the map's edge where they lie outside; [..., 1, 1] is it."""
    n, k, height, width = maps.shape
    step = np.arange(-1, 2)
    rows = np.clip(y[..., None] + step, 0, height - 1)[..., :, None]
    columns = np.clip(x[..., None] + step, 0, width - 1)[..., None, :]
    person, joint = np.ogrid[:n, :k]
    around: Floats = maps[person[..., None, None], joint[..., None, None], rows, columns]
    return around
