"""The pictures that pipelines take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["check_picture", "check_pixels"]


def check_picture(image: object) -> None:
    """Raise ValueError unless it is (height, width, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"the picture is a {type(image).__name__}; it must be a NumPy array, as cv2.imread answers"
        )
    check_pixels(image.shape, image.dtype)


def check_pixels(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """The same for an array of any library, such as one on a GPU."""
    if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or 0 in shape:
        raise ValueError(
            f"the picture is {dtype} of shape {tuple(shape)}; it must be uint8 (height, width, 3)"
        )
