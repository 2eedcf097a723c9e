"""Non-maximum suppression of poses on the GPU: `select_best_class` and `pose_nms`, from network to people."""

from __future__ import annotations

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks
from wholebody.runtime.kernels.detections_gpu import DetectionRows
from wholebody.runtime.kernels.pose_nms import MARGIN
from wholebody.runtime.kernels.proposals import JOINTS, Part

__all__ = ["GpuPoseNms"]

SELECT = Kernel("pose_nms.cu", "nms_select", "PPPPPPiiifff")
RANK = Kernel("pose_nms.cu", "nms_rank", "PPPPif")
NEAR = Kernel("pose_nms.cu", "nms_near", "PPPif")
RESOLVE = Kernel("pose_nms.cu", "nms_resolve", "PPPi")
GATHER = Kernel("pose_nms.cu", "nms_gather", "PPPPPPPPPiiff")
THREADS = 128


class GpuPoseNms:
    """Poses of one part from at most `proposals` of `classes` each, in memory that it keeps."""

    def __init__(
        self,
        gpu: Gpu,
        part: Part,
        K: int,
        *,
        proposals: int,
        classes: int,
        score_th: float = 0.3,
        iou_threshold: float = 0.1,
    ) -> None:
        self._gpu, self._joints, self._classes = gpu, JOINTS[part], classes
        self._thresholds = score_th, iou_threshold
        self._counts = gpu.empty(2, np.int32)  # chosen proposals, kept ones
        self._score = gpu.empty(proposals, np.float32)
        self._label, self._order, self._kept = (gpu.empty(proposals, np.int32) for _ in range(3))
        self._box, self._grown = (gpu.empty((proposals, 4), np.float32) for _ in range(2))
        self._stride = -(-proposals // 64)
        self._mask = gpu.empty((proposals, self._stride), np.uint64)
        self._found = DetectionRows(gpu, part, K, proposals)

    def __call__(
        self, scores: DeviceArray, pose2d: DeviceArray, pose3d: DeviceArray, scale: tuple[float, float]
    ) -> DetectionRows:
        """The detections of a network's answer, best first; good until the next call.

        scores (N, classes + 1) with background first, pose2d (N, classes, J, 2), pose3d (N, classes, J, 3),
        float32; pixels are multiplied by `scale` (x, y).
        """
        launch, count = self._gpu.launch, len(scores)
        score_th, iou_threshold = self._thresholds
        warps, block = (blocks(count * 32, THREADS),), (THREADS,)
        self._gpu.fill(self._counts)
        if count:
            chosen = self._score, self._label, self._box
            sizes = count, self._classes, self._joints
            launch(SELECT, warps, block, scores, pose2d, *chosen, self._counts, *sizes, score_th, *scale)
            launch(RANK, warps, block, self._score, self._box, self._order, self._grown, count, MARGIN)
            tiles = 8, blocks(count, 32, 256)
            launch(NEAR, tiles, (256,), self._grown, self._counts, self._mask, self._stride, iou_threshold)
            launch(RESOLVE, (1,), (1024,), self._mask, self._kept, self._counts, self._stride)
        kept = self._counts, self._kept, self._order, self._score, self._label, self._box
        rows, shape = self._found.rows, (self._classes, self._joints)
        launch(GATHER, (blocks(count, 1, 1024),), block, *kept, pose2d, pose3d, rows, *shape, *scale)
        return self._found
