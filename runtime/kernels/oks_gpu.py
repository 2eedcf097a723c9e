"""Suppression of poses that show the same person on the GPU: what `oks_nms` in oks.py does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel

__all__ = ["GpuOksNms"]

RANK = Kernel("oks_nms.cu", "oks_rank", "PPi")
NEAR = Kernel("oks_nms.cu", "oks_near", "PPPPPPiiif")
RESOLVE = Kernel("oks_nms.cu", "oks_resolve", "PPPii")
WARPS = 4  # a block


class GpuOksNms:
    """At most `people` poses of as many keypoints as there are sigmas, in memory that it keeps."""

    def __init__(self, gpu: Gpu, people: int, sigmas: Sequence[float], threshold: float = 0.9) -> None:
        self._gpu, self._threshold, self._joints = gpu, threshold, len(sigmas)
        self._spread = gpu.upload(2 * (2 * np.asarray(sigmas, np.float32)) ** 2)
        self._order = gpu.empty(people, np.int32)
        self._kept = gpu.empty(people + 1, np.int32)
        self._stride = -(-people // 64)
        self._mask = gpu.empty((people, self._stride), np.uint64)

    def __call__(
        self, keypoints: DeviceArray, scores: DeviceArray, score: DeviceArray, areas: DeviceArray
    ) -> DeviceArray:
        """(N + 1,) int32: the numbers of the kept people, best first, and last how many they are.

        keypoints (N, K, 2), scores (N, K), score (N,) and areas (N,), float32; good until the next call.
        """
        people, launch = len(keypoints), self._gpu.launch
        kept = self._kept[: people + 1]
        if not people:
            self._gpu.fill(kept)
            return kept
        rows, block = -(-people // WARPS), (32 * WARPS,)
        launch(RANK, (rows,), block, score, self._order, people)
        poses = keypoints, scores, areas, self._spread, self._order
        sizes = people, self._joints, self._stride, self._threshold
        launch(NEAR, (-(-people // 64), rows), block, *poses, self._mask, *sizes)
        launch(RESOLVE, (1,), (1024,), self._mask, self._order, kept, people, self._stride)
        return kept
