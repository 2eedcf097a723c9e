"""What a camera does to a picture: colour cast, contrast, blur, noise and compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def develop(rng: np.random.Generator, picture: Picture) -> Picture:
    """One of many cameras; all steps keep geometry."""
    if rng.random() < 0.45:
        picture = _blur(rng, picture)
    picture = _tone_curve(rng, picture)
    if rng.random() < 0.6:
        picture = _noise(rng, picture)
    if rng.random() < 0.3:
        quality = int(rng.integers(30, 90))
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(picture)


def _blur(rng: np.random.Generator, picture: Picture) -> Picture:
    if rng.random() < 0.75:
        sigma = float(rng.uniform(0.4, 1.5))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    length, angle = int(rng.integers(3, 10)), rng.uniform(0, np.pi)
    kernel = np.zeros((length | 1, length | 1), np.float32)
    middle = length // 2
    for t in np.linspace(-middle, middle, 4 * length):
        kernel[round(middle + t * np.sin(angle)), round(middle + t * np.cos(angle))] = 1
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def _tone_curve(rng: np.random.Generator, picture: Picture) -> Picture:
    """Gain, offset, gamma and cast in one table a channel."""
    x = np.arange(256) / 255
    curve = (x ** rng.uniform(0.7, 1.4) - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + rng.normal(0, 0.05)
    cast = 1 + rng.normal(0, 0.06, 3)
    table = np.clip(curve[:, None] * cast * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table[None]), np.uint8)


def _noise(rng: np.random.Generator, picture: Picture) -> Picture:
    """Sensor noise; one square of normal noise is laid out at a random offset to save time."""
    strength = rng.uniform(1, 12)
    grain = (rng.standard_normal((128, 128, 3), np.float32) * strength).astype(np.int16)
    height, width = picture.shape[:2]
    tiled = np.tile(grain, (height // 128 + 1, width // 128 + 1, 1))[:height, :width]
    return np.asarray(cv2.add(picture.astype(np.int16), tiled, dtype=cv2.CV_8U), np.uint8)
