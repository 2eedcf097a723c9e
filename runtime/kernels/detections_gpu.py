"""The detections of one part as kernels write them, one row each: all that is copied back."""

from __future__ import annotations

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu
from wholebody.runtime.kernels.proposals import JOINTS, Detections, Part
from wholebody.runtime.people import Floats

__all__ = ["DetectionRows"]

EXPECTED = 16  # detections that are copied in the first go


class DetectionRows:
    """At most `most` bodies, hands or faces on the GPU, best first.

    rows  (1 + most, 6 + 5 J) float32: the first one begins with the number of detections, as an int32; every
          other one holds score, label (an int32), box, pose2d and pose3d
    K     hands of a class below K are right hands
    """

    def __init__(self, gpu: Gpu, part: Part, K: int, most: int) -> None:
        self._gpu, self._K = gpu, K
        self._part: Part = part
        self.rows = gpu.empty((1 + most, 6 + 5 * JOINTS[part]), np.float32)

    @property
    def first(self) -> DeviceArray:
        """The rows that hold all detections in most pictures."""
        return self.rows[: 1 + EXPECTED]

    def read(self) -> Detections:
        """Wait for the GPU and copy the detections."""
        return self.unpack(self._gpu.download(self.first))

    def unpack(self, first: Floats) -> Detections:
        """The detections of a copy of `first`; what it does not hold is copied."""
        count = int(first[0, :1].view(np.int32)[0])
        rows = first if count < len(first) else self._gpu.download(self.rows[: 1 + count])
        rows, joints = rows[1 : 1 + count].copy(), JOINTS[self._part]
        label = rows.view(np.int32)[:, 1].astype(np.int64)
        return Detections(
            score=rows[:, 0],
            pose2d=rows[:, 6 : 6 + 2 * joints].reshape(count, joints, 2),
            pose3d=rows[:, 6 + 2 * joints :].reshape(count, joints, 3),
            label=label,
            is_right=label < self._K if self._part == "hand" else None,
            box=rows[:, 2:6],
        )
