"""SimCC decoded on the GPU: what `simcc.py` does, in memory that is kept."""

from __future__ import annotations

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks

__all__ = ["DepthDecoder", "SimccDecoder"]

DECODE = {
    np.dtype(np.float32): Kernel("simcc.cu", "simcc_float", "PPPPiiif"),
    np.dtype(np.float16): Kernel("simcc.cu", "simcc_half", "PPPPiiif"),
}
DEPTH = {
    np.dtype(np.float32): Kernel("simcc.cu", "depth_float", "PPiiff"),
    np.dtype(np.float16): Kernel("simcc.cu", "depth_half", "PPiiff"),
}
THREADS = 128  # four keypoints


class SimccDecoder:
    """`decode_simcc` for at most `people` of `keypoints` each, with `split` bins a pixel."""

    def __init__(self, gpu: Gpu, people: int, keypoints: int, split: float) -> None:
        self._gpu, self._split = gpu, split
        self._keypoints = gpu.empty((people, keypoints, 2), np.float32)
        self._scores = gpu.empty((people, keypoints), np.float32)

    def __call__(self, simcc_x: DeviceArray, simcc_y: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Keypoints (N, K, 2) in crop pixels and scores (N, K), float32; good until the next call.

        simcc_x (N, K, Bx) and simcc_y (N, K, By), float32 or float16.
        """
        people, joints, bins_x = simcc_x.shape
        keypoints, scores = self._keypoints[:people], self._scores[:people]
        count = people * joints
        if count:
            kernel, grid = DECODE[simcc_x.dtype], (blocks(count * 32, THREADS),)
            sizes = count, bins_x, simcc_y.shape[2], self._split
            self._gpu.launch(kernel, grid, (THREADS,), simcc_x, simcc_y, keypoints, scores, *sizes)
        return keypoints, scores


class DepthDecoder:
    """`decode_depth` for at most `people` of `keypoints` each: `bins` from -reach to +reach metres."""

    def __init__(self, gpu: Gpu, people: int, keypoints: int, bins: int, reach: float) -> None:
        self._gpu, self._bins, self._reach = gpu, bins, reach
        self._metres = gpu.empty((people, keypoints), np.float32)

    def __call__(self, simcc_z: DeviceArray) -> DeviceArray:
        """(N, K) float32 metres of simcc_z (N, K, bins), float32 or float16; good until the next call."""
        people, joints, bins = simcc_z.shape
        metres = self._metres[:people]
        count = people * joints
        if count:
            kernel, grid = DEPTH[simcc_z.dtype], (blocks(count * 32, THREADS),)
            sizes = count, bins, 2 / self._bins, self._reach
            self._gpu.launch(kernel, grid, (THREADS,), simcc_z, metres, *sizes)
        return metres
