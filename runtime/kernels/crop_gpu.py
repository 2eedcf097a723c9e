"""The crops of all people in one launch on the GPU: `Cropper` in crop.py, in memory that is kept."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel

if TYPE_CHECKING:
    from wholebody.runtime.spec import CropInput

__all__ = ["GpuCropper", "opencv_is_fixed_point"]

ARGUMENTS = "PPP" + 6 * "i" + 6 * "f"
KERNELS = {
    np.dtype(np.float32): Kernel("crop.cu", "crop_float", ARGUMENTS),
    np.dtype(np.float16): Kernel("crop.cu", "crop_half", ARGUMENTS),
}
TILE = 32, 8


class GpuCropper:
    """The crops of one student's people, at most `people`, float32 or float16, in memory that it keeps.

    fixed_point  whether places are rounded to 1/32 of a pixel: OpenCV did so until 5, and students were
                 trained so; None does as the OpenCV that is here
    """

    def __init__(
        self,
        gpu: Gpu,
        spec: CropInput,
        people: int,
        dtype: DTypeLike = np.float32,
        *,
        fixed_point: bool | None = None,
    ) -> None:
        self._gpu, self._spec = gpu, spec
        self._fixed_point = opencv_is_fixed_point() if fixed_point is None else fixed_point
        self._crops = gpu.empty((people, 3, spec.height, spec.width), dtype)

    def __call__(self, image_bgr: DeviceArray, affines: DeviceArray) -> DeviceArray:
        """(N, 3, h, w), normalised, channels in the network's order; good until the next call.

        image_bgr (H, W, 3) uint8, affines (N, 2, 3) float64 from source to crop pixels.
        """
        if affines.dtype != np.float64:
            raise ValueError(f"affines are {affines.dtype}; expected float64, as crop_affines answers")
        spec, crops = self._spec, self._crops[: len(affines)]
        if len(affines):
            grid = -(-spec.width // TILE[0]), -(-spec.height // TILE[1]), len(affines)
            options = spec.color == "rgb", self._fixed_point
            sizes = *image_bgr.shape[:2], spec.height, spec.width, *map(int, options)
            kernel = KERNELS[crops.dtype]
            self._gpu.launch(kernel, grid, TILE, image_bgr, affines, crops, *sizes, *spec.mean, *spec.std)
        return crops


@cache
def opencv_is_fixed_point() -> bool:
    """Whether this OpenCV's warpAffine rounds places to 1/32 of a pixel."""
    import cv2

    edge = np.array([[0, 255, 255, 255]], np.uint8)
    shift = np.array([[1, 0, -1 / 128], [0, 1, 0]], np.float32)
    return not cv2.warpAffine(edge, shift, (4, 1), flags=cv2.INTER_LINEAR)[0, 0]
