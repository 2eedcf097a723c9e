"""The crops of all people in one launch on the GPU: `Cropper` in crop.py, in memory that is kept."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel
from wholebody.runtime.kernels.pixels import pixel_format, source_size

if TYPE_CHECKING:
    from wholebody.runtime.spec import CropInput

__all__ = ["GpuCropper", "opencv_is_fixed_point"]

ARGUMENTS = "PPP" + 6 * "i" + 6 * "f"
KERNELS = {
    (pixels, np.dtype(dtype)): Kernel("crop.cu", f"crop_{pixels}_{name}", ARGUMENTS)
    for pixels in ("bgr", "nv12")
    for name, dtype in (("float", np.float32), ("half", np.float16))
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

    def __call__(self, image: DeviceArray, affines: DeviceArray) -> DeviceArray:
        """(N, 3, h, w), normalised, channels in the network's order; good until the next call.

        image uint8: (H, W, 3), blue, green, red; or NV12 as OpenCV has it, (3H/2, W) with H and W even.
        affines (N, 2, 3) float64 from source to crop pixels.
        """
        if affines.dtype != np.float64:
            raise ValueError(f"affines are {affines.dtype}; expected float64, as crop_affines answers")
        spec, crops = self._spec, self._crops[: len(affines)]
        if len(affines):
            grid = -(-spec.width // TILE[0]), -(-spec.height // TILE[1]), len(affines)
            options = spec.color == "rgb", self._fixed_point
            sizes = *source_size(image), spec.height, spec.width, *map(int, options)
            kernel = KERNELS[pixel_format(image), crops.dtype]
            self._gpu.launch(kernel, grid, TILE, image, affines, crops, *sizes, *spec.mean, *spec.std)
        return crops


@cache
def opencv_is_fixed_point() -> bool:
    """Whether this OpenCV's warpAffine rounds places to 1/32 of a pixel."""
    import cv2

    edge = np.array([[0, 255, 255, 255]], np.uint8)
    shift = np.array([[1, 0, -1 / 128], [0, 1, 0]], np.float32)
    return not cv2.warpAffine(edge, shift, (4, 1), flags=cv2.INTER_LINEAR)[0, 0]
