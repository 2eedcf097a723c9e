"""The pictures that pipelines take."""

from __future__ import annotations

import numpy as np

__all__ = ["check_picture"]


def check_picture(image: object) -> None:
    """Raise ValueError unless it is (height, width, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"the picture is a {type(image).__name__}; it must be a NumPy array, as cv2.imread answers"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"the picture is {image.dtype} of shape {image.shape}; it must be uint8 (height, width, 3)"
        )
