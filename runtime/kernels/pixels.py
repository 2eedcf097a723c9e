"""The pictures that kernels read: uint8, as (H, W, 3) of blue, green, red, or as NV12.

NV12 is what cameras and decoders have: (3H/2, W) as OpenCV keeps it, H and W even; H rows of brightness, then
half as many of colour, u and v in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

__all__ = ["Picture", "pixel_format", "source_size"]


class Picture(Protocol):
    """An array of any kind, here or on a GPU."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...


def pixel_format(picture: Picture) -> Literal["bgr", "nv12"]:
    """Which of the two it is."""
    return "bgr" if len(picture.shape) == 3 else "nv12"


def source_size(picture: Picture) -> tuple[int, int]:
    """(height, width) in pixels. Raises ValueError for an array that is no picture."""
    shape = tuple(picture.shape)
    bgr = len(shape) == 3 and shape[2] == 3
    nv12 = len(shape) == 2 and shape[0] % 3 == 0 and shape[1] % 2 == 0
    if not (bgr or nv12) or picture.dtype != np.uint8 or 0 in shape:
        raise ValueError(
            f"the picture is {picture.dtype} of shape {shape}; it must be uint8 (height, width, 3), or NV12 "
            "of even sides, (height * 3 / 2, width)"
        )
    return (shape[0] if bgr else shape[0] // 3 * 2), shape[1]
