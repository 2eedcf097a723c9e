"""Pictures to the network's input on the GPU, in one pass: what `Preprocessor` in geometry.py does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks

if TYPE_CHECKING:
    from wholebody.runtime.geometry import Letterbox
    from wholebody.runtime.spec import InputSpec

__all__ = ["GpuPreprocessor"]

ARGUMENTS = "PP" + 6 * "i" + 6 * "f"
KERNELS = {
    (pixels, np.dtype(dtype)): Kernel("preprocess.cu", f"{pixels}_{name}", ARGUMENTS)
    for pixels in ("bgr", "nv12")
    for name, dtype in (("float", np.float32), ("half", np.float16))
}
BLOCK, TILE = (32, 8), (32, 32)


class GpuPreprocessor:
    """Pictures to the input of one student, float32 or float16, in memory that it keeps."""

    def __init__(self, gpu: Gpu, spec: InputSpec, dtype: DTypeLike = np.float32) -> None:
        self._gpu = gpu
        self._gain = [float(1 / (255 * s)) for s in spec.std]
        self._offset = [-m / s for m, s in zip(spec.mean, spec.std, strict=True)]
        self._canvas = gpu.empty((1, 3, spec.height, spec.width), dtype)

    def __call__(self, image: DeviceArray, box: Letterbox) -> DeviceArray:
        """(1, 3, H, W): RGB in 0..1, normalised, zeros right and below; good until the next call.

        image  uint8 of the size `box` was made for: (h, w, 3), blue, green, red; or NV12 as OpenCV has it,
               (3h/2, w) with h and w even
        """
        height, width = box.source
        pixels = "bgr" if len(image.shape) == 3 else "nv12"
        expected = (height, width, 3) if pixels == "bgr" else (height * 3 // 2, width)
        even = pixels == "bgr" or not (height % 2 or width % 2)
        if image.shape != expected or image.dtype != np.uint8 or not even:
            raise ValueError(
                f"the picture is {image.dtype} of shape {image.shape}; expected uint8 {expected}"
            )
        canvas = self._canvas
        grid = [blocks(side, length) for side, length in zip(canvas.shape[:1:-1], TILE, strict=True)]
        sizes = *box.source, *box.size, *canvas.shape[2:]
        kernel = KERNELS[pixels, canvas.dtype]
        self._gpu.launch(kernel, grid, BLOCK, image, canvas, *sizes, *self._gain, *self._offset)
        return canvas
