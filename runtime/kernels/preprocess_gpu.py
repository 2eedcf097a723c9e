"""Pictures to a network's input on the GPU, in one pass, in memory that is kept.

`GpuPreprocessor` does what `Preprocessor` in geometry.py does, `GpuLetterboxer` what `Letterboxer` in
letterbox.py does but for the rounding of its 8-bit resizing: there a level of 255 may differ by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks
from wholebody.runtime.kernels.pixels import pixel_format, source_size

if TYPE_CHECKING:
    from wholebody.runtime.geometry import Letterbox
    from wholebody.runtime.spec import DetectorInput, InputSpec

__all__ = ["GpuLetterboxer", "GpuPreprocessor"]

ARGUMENTS = "PP" + 6 * "i" + 6 * "f"
KERNELS = {
    (pixels, np.dtype(dtype), levels): Kernel(
        "preprocess.cu", f"{pixels}{'_levels' * levels}_{name}", ARGUMENTS + "fffi" * levels
    )
    for pixels in ("bgr", "nv12")
    for name, dtype in (("float", np.float32), ("half", np.float16))
    for levels in (False, True)
}
BLOCK, TILE = (32, 8), (64, 32)


class GpuPreprocessor:
    """Pictures to the input of one DOPE student, float32 or float16."""

    def __init__(self, gpu: Gpu, spec: InputSpec, dtype: DTypeLike = np.float32) -> None:
        gain = [1 / (255 * s) for s in spec.std]
        offset = [-m / s for m, s in zip(spec.mean, spec.std, strict=True)]
        self._canvas = _Canvas(gpu, (1, 3, spec.height, spec.width), dtype, gain + offset)

    def __call__(self, image: DeviceArray, box: Letterbox) -> DeviceArray:
        """(1, 3, H, W): RGB in 0..1, normalised, zeros right and below; good until the next call.

        image  uint8 of the size `box` was made for: (h, w, 3), blue, green, red; or NV12 as OpenCV has it,
               (3h/2, w) with h and w even
        """
        return self._canvas.fill(image, box)


class GpuLetterboxer:
    """Pictures to the input of one detector, float32 or float16."""

    def __init__(self, gpu: Gpu, spec: DetectorInput, dtype: DTypeLike = np.float32) -> None:
        order = slice(None, None, -1 if spec.color == "bgr" else 1)  # of the planes: red, green, blue here
        pairs = list(zip(spec.mean, spec.std, strict=True))[order]
        gain, offset = [1 / s for _, s in pairs], [-m / s for m, s in pairs]
        rest = [(spec.pad - m) / s for m, s in pairs]
        shape = 1, 3, spec.height, spec.width
        self._canvas = _Canvas(gpu, shape, dtype, gain + offset + rest, int(spec.color == "bgr"))

    def __call__(self, image: DeviceArray, box: Letterbox) -> DeviceArray:
        """(1, 3, H, W), normalised, planes in the network's order, grey right and below; until the next call.

        image  as for `GpuPreprocessor`; `box` comes from `letterbox_in`
        """
        return self._canvas.fill(image, box)


class _Canvas:
    """The input's memory, and the numbers with which kernels fill it; `bgr` is of those with levels."""

    def __init__(
        self, gpu: Gpu, shape: tuple[int, ...], dtype: DTypeLike, numbers: list[float], *bgr: int
    ) -> None:
        self._gpu, self._numbers, self._levels = gpu, (*map(float, numbers), *bgr), bool(bgr)
        self._canvas = gpu.empty(shape, dtype)

    def fill(self, image: DeviceArray, box: Letterbox) -> DeviceArray:
        if source_size(image) != box.source:
            raise ValueError(
                f"the picture is {image.dtype} of shape {image.shape}; expected are {box.source[0]} rows of "
                f"{box.source[1]} pixels"
            )
        canvas = self._canvas
        kernel = KERNELS[pixel_format(image), canvas.dtype, self._levels]
        grid = [blocks(side, length) for side, length in zip(canvas.shape[:1:-1], TILE, strict=True)]
        sizes = *box.source, *box.size, *canvas.shape[2:]
        self._gpu.launch(kernel, grid, BLOCK, canvas, image, *sizes, *self._numbers)
        return canvas
