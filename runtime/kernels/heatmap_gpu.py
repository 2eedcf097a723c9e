"""Heatmaps decoded on the GPU: what `decode_heatmaps` in heatmap.py does, in memory that is kept."""

from __future__ import annotations

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel

__all__ = ["HeatmapDecoder"]

KERNELS = {
    np.dtype(np.float32): Kernel("heatmap.cu", "heatmap_float", "PPPPiiffi"),
    np.dtype(np.float16): Kernel("heatmap.cu", "heatmap_half", "PPPPiiffi"),
}
BLUR, DEVIATION = 11, 2  # of the Gaussian that DARK smooths with
THREADS = 128


class HeatmapDecoder:
    """`decode_heatmaps` for at most `people` of `keypoints` each, in crops of (width, height)."""

    def __init__(
        self, gpu: Gpu, people: int, keypoints: int, input_wh: tuple[int, int], *, udp: bool = False
    ) -> None:
        self._gpu, self._crop, self._udp = gpu, np.array(input_wh), udp
        gauss = np.exp(-((np.arange(BLUR) - BLUR // 2) ** 2) / (2 * DEVIATION**2))
        self._gauss = gpu.upload((gauss / gauss.sum()).astype(np.float32))
        self._keypoints = gpu.empty((people, keypoints, 2), np.float32)
        self._scores = gpu.empty((people, keypoints), np.float32)

    def __call__(self, maps: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Keypoints (N, K, 2) in crop pixels and scores (N, K), float32; good until the next call.

        maps (N, K, h, w), float32 or float16.
        """
        people, joints, height, width = maps.shape
        keypoints, scores = self._keypoints[:people], self._scores[:people]
        size = np.array([width, height])
        scale = (self._crop - 1) / (size - 1) if self._udp else self._crop / size
        if people * joints:
            kernel, grid = KERNELS[maps.dtype], (people * joints,)
            options = height, width, *map(float, scale), int(self._udp)
            self._gpu.launch(kernel, grid, (THREADS,), maps, self._gauss, keypoints, scores, *options)
        return keypoints, scores
