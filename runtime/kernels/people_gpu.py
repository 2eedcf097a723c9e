"""A top-down student's people on the GPU: from the keypoints of crops to rows of those who are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks
from wholebody.runtime.kernels.oks_gpu import GpuOksNms
from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import Skeleton

__all__ = ["GpuPeople", "KeptPeople"]

PLACE = Kernel("people.cu", "people_place", "PPPPPPPPPiiif")
GATHER = Kernel("people.cu", "people_gather", "PPPPPPiii")
THREADS = 128  # four people
EXPECTED = 16  # people that are copied in the first go


@dataclass(frozen=True, eq=False)
class KeptPeople:
    """M people, best first: their numbers and scores (M,), keypoints (M, K, 2) in pixels of the picture, the
    keypoints' scores (M, K), and depths (M, K) in metres or None."""

    number: NDArray[np.intp]
    score: Floats
    keypoints: Floats
    scores: Floats
    depths: Floats | None


class GpuPeople:
    """At most `people` of one skeleton, in memory that it keeps.

    threshold  of two poses more alike than this (OKS) the better is kept
    least      keypoints above it make up the person's score
    """

    def __init__(
        self,
        gpu: Gpu,
        skeleton: Skeleton,
        people: int,
        *,
        threshold: float = 0.9,
        least: float = 0.2,
        with_depths: bool = False,
    ) -> None:
        joints = len(skeleton)
        self._gpu, self._joints, self._least, self._with_depths = gpu, joints, least, with_depths
        self.most = people
        self._placed = gpu.empty((people, joints, 2), np.float32)
        self._scores = gpu.empty((people, joints), np.float32)
        self._depths = gpu.empty((people if with_depths else 1, joints), np.float32)
        self._person = gpu.empty(people, np.float32)
        self._suppress = GpuOksNms(gpu, people, skeleton.sigmas, threshold)
        self._rows = gpu.empty((1 + people, 2 + (3 + with_depths) * joints), np.float32)

    @property
    def first(self) -> DeviceArray:
        """The rows that hold everybody in most pictures."""
        return self._rows[: 1 + EXPECTED]

    def place(
        self,
        at: int,
        keypoints: DeviceArray,
        scores: DeviceArray,
        affines: DeviceArray,
        found: DeviceArray,
        depths: DeviceArray | None = None,
    ) -> None:
        """Take people number `at` and on: N of them.

        keypoints (N, K, 2) crop pixels, scores (N, K), found (N,), the boxes' scores, and depths (N, K) in
        metres, float32; affines (N, 2, 3) float64 from source to crop pixels.
        """
        count = len(keypoints)
        if count:
            rows = slice(at, at + count)
            given = keypoints, scores, affines, found, self._depths if depths is None else depths
            own = self._placed[rows], self._scores[rows], self._person[rows], self._depths[rows]
            sizes = count, self._joints, int(self._with_depths), self._least
            self._gpu.launch(PLACE, (blocks(count * 32, THREADS),), (THREADS,), *given, *own, *sizes)

    def keep(self, count: int, areas: DeviceArray) -> None:
        """Suppress who is there twice among the first `count` people, and write the others' rows.

        areas (N,) float32, of the crops in pixels of the picture.
        """
        placed, scores, person = self._placed[:count], self._scores[:count], self._person[:count]
        kept = self._suppress(placed, scores, person, areas)
        arrays = kept, person, placed, scores, self._depths, self._rows
        sizes = count, self._joints, int(self._with_depths)
        self._gpu.launch(GATHER, (blocks(count, 1, 1024),), (THREADS,), *arrays, *sizes)

    def unpack(self, first: Floats) -> KeptPeople:
        """The people of a copy of `first`; what it does not hold is copied."""
        count = int(first[0, :1].view(np.int32)[0])
        rows = first if count < len(first) else self._gpu.download(self._rows[: 1 + count])
        rows, joints = rows[1 : 1 + count], self._joints
        ends = np.cumsum([1, 1, 2 * joints, joints])
        number, score, keypoints, scores, depths = np.split(rows, ends, axis=1)
        return KeptPeople(
            number=np.ascontiguousarray(number).view(np.int32)[:, 0].astype(np.intp),
            score=score[:, 0].copy(),
            keypoints=keypoints.reshape(count, joints, 2).copy(),
            scores=scores.copy(),
            depths=depths.copy() if self._with_depths else None,
        )
