"""Pictures of nothing, always the same."""

from __future__ import annotations

import cv2
import numpy as np

from wholebody.runtime.media import Frame, Image

__all__ = ["noise_pictures"]


def noise_pictures(height: int, width: int) -> list[Frame]:
    """Three pictures of smooth noise, always the same: of the input's size, larger, and upright.

    Enough to show that two runtimes compute the same; for drift on people give pictures of people.
    """
    sizes = [(height, width), (height * 3 // 2, width * 3 // 2), (height, height * 3 // 4)]
    return [Frame(_noise(*size, seed), f"noise {seed}") for seed, size in enumerate(sizes)]


def _noise(height: int, width: int, seed: int) -> Image:
    """Octaves of noise, from blobs of a quarter of the picture down to single pixels."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64, 256):
        octave = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(octave, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 32 * picture, 0, 255).astype(np.uint8)
