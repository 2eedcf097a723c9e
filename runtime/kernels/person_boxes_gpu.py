"""A detector's answer to people's boxes on the GPU: what detections.py does, so that few bytes are copied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks
from wholebody.runtime.people import Floats

__all__ = ["GpuPersonBoxes"]

TYPES = (("float", np.dtype(np.float32)), ("half", np.dtype(np.float16)))
YOLOX = {dtype: Kernel("detections.cu", f"yolox_{name}", "PPiiiiif") for name, dtype in TYPES}
RTMDET = {dtype: Kernel("detections.cu", f"rtmdet_{name}", "PPiiiiiff") for name, dtype in TYPES}
THREADS, WIDTH = 256, 6
EXPECTED = 512  # boxes that are copied in the first go, 12 KB


class GpuPersonBoxes:
    """`decode_yolox` and `decode_rtmdet` for one detector, in memory that is kept.

    anchors    cells of all its grids
    input_hw   (height, width) of its input
    person     the class
    min_score  what scores less is left out
    """

    def __init__(
        self, gpu: Gpu, anchors: int, input_hw: tuple[int, int], *, person: int = 0, min_score: float = 0.0
    ) -> None:
        self._gpu, self._size, self._person, self._least = gpu, input_hw, person, min_score
        self._rows = gpu.empty((1 + anchors, WIDTH), np.float32)

    @property
    def first(self) -> DeviceArray:
        """The rows that hold all boxes of most pictures."""
        return self._rows[: 1 + EXPECTED]

    def yolox(self, anchors: DeviceArray) -> None:
        """Ask for the boxes of (A, 5 + classes), float32 or float16."""
        self._gpu.fill(self._rows[:1])
        count, length = anchors.shape
        sizes = count, length, self._person, *self._size, self._least
        self._gpu.launch(
            YOLOX[anchors.dtype], (blocks(count, THREADS),), (THREADS,), anchors, self._rows, *sizes
        )

    def rtmdet(self, maps: Sequence[DeviceArray]) -> None:
        """Ask for the boxes of one map a grid, in any order: (rows, columns, classes + 4)."""
        self._gpu.fill(self._rows[:1])
        first = 0
        for level in maps:
            rows, columns, length = level.shape
            sizes = rows * columns, columns, length, self._person, first
            numbers = self._size[0] / rows, self._least
            grid = (blocks(rows * columns, THREADS),)
            self._gpu.launch(RTMDET[level.dtype], grid, (THREADS,), level, self._rows, *sizes, *numbers)
            first += rows * columns

    def unpack(self, first: Floats) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the input and score (N,) of a copy of `first`, in the reference's order;
        what it does not hold is copied."""
        count = int(first[0, :1].view(np.int32)[0])
        rows = first if count < len(first) else self._gpu.download(self._rows[: 1 + count])
        rows = rows[1 : 1 + count]
        rows = rows[np.argsort(np.ascontiguousarray(rows[:, 5]).view(np.int32))]
        rows = rows[np.isfinite(rows[:, :5]).all(axis=1)]
        return rows[:, :4].copy(), rows[:, 4].copy()
