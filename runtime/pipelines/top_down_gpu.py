"""A top-down student from the boxes in a picture to people on the GPU: only who is kept is copied back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wholebody.runtime.backends.backend import GpuBackend
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError
from wholebody.runtime.foreign import is_device_array
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.kernels.crop import crop_affines
from wholebody.runtime.kernels.crop_gpu import GpuCropper
from wholebody.runtime.kernels.heatmap_gpu import HeatmapDecoder
from wholebody.runtime.kernels.people_gpu import GpuPeople
from wholebody.runtime.kernels.pixels import source_size
from wholebody.runtime.kernels.simcc_gpu import DepthDecoder, SimccDecoder
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.checks import check_answers
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.detector_gpu import GpuPersonDetector
from wholebody.runtime.pipelines.on_gpu import OnGpu, Replay, Stages, Upload, as_picture, check_types
from wholebody.runtime.pipelines.top_down import TopDownPose, crop_areas
from wholebody.runtime.spec import TopDownSpec

__all__ = ["GpuTopDownPose"]

Rows = NDArray[np.intp]


class GpuTopDownPose(OnGpu, TopDownPose):
    """`people = pose(image)`: a TopDownPose whose crops and keypoints never leave the GPU.

    student  the loaded student
    options  those of TopDownPose

    A picture may also be NV12, as decoders and cameras have it: (3H/2, W) uint8, H and W even; and either may
    be on the GPU already, as an array of PyTorch or CuPy (runtime/foreign.py).

    The people are those of TopDownPose; times are those on the GPU. With a GpuPersonDetector the picture goes
    up once, for both; boxes come through the CPU, as their number decides what is asked of the student. Calls
    from several threads take turns. A call that fails loses its frame only. Raises BackendError where kernels
    cannot be compiled, and for `flip_test`, as crops are not mirrored here.
    """

    def __init__(
        self, student: GpuBackend, spec: TopDownSpec, detector: PersonDetector | None = None, **options: Any
    ) -> None:
        super().__init__(student, spec, detector, buckets=student.buckets, **options)
        if self.flip_test:
            raise BackendError("crops are not mirrored on the GPU: leave out flip_test, or do it in NumPy")
        check_types([*student.inputs, *(student.outputs[i] for i in self._order)], np.float32, np.float16)
        self._begin(student)
        self._compile()

    def _open(self) -> None:
        cuda, largest = self._cuda, self._engine.buckets[-1]
        self._upload, self._up_affines, self._up_found, self._up_areas = (Upload(cuda) for _ in range(4))
        self._crops = GpuCropper(cuda, self.spec.input, largest, self._engine.inputs[0].dtype)
        self._decoder = _Decoder(cuda, self.spec, largest, len(self.skeleton))
        self._replay, self._stages = Replay(cuda), Stages(cuda)
        self._make_room(largest)

    def __call__(self, image: Any, boxes: ArrayLike | None = None) -> People:
        """Find everyone in a picture, as TopDownPose does.

        Raises ValueError also for a picture on another GPU, and for one that is NV12 or on the GPU where the
        detector runs on the CPU.
        """
        if boxes is not None or not isinstance(self.detector, GpuPersonDetector):
            return super().__call__(image, boxes)
        with self._turn():
            there: Any = self._there(image)
            return super().__call__(there)  # for the detector and the crops

    def detect(self, image_bgr: Any) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the picture and score (N,), best first, at most `max_people`."""
        if isinstance(self.detector, GpuPersonDetector):
            with self._turn():
                boxes, score = self.detector(self._there(image_bgr), after=self._cuda)
            return boxes[: self.max_people], score[: self.max_people]
        if self.detector is not None and (is_device_array(image_bgr) or np.ndim(image_bgr) == 2):
            raise ValueError(
                f"{self.detector.spec.name} runs on the CPU and takes a (height, width, 3) array that is "
                "here: build it with `wholebody build`, or give boxes"
            )
        return super().detect(image_bgr)

    def _there(self, image: Any) -> DeviceArray:
        """A picture on the GPU, or on its way there."""
        picture = as_picture(image, self._cuda)
        source_size(picture)  # or it is no picture
        return picture if isinstance(picture, DeviceArray) else self._upload(picture)

    def estimate(self, image_bgr: Any, boxes: Floats, score: Floats) -> tuple[People, Rows]:
        """The people in these boxes, as TopDownPose answers."""
        if len(boxes) == 0:
            return super().estimate(image_bgr, boxes, score)
        with self._turn():
            began = time.perf_counter()
            if len(boxes) > self._gathered.most:
                self._make_room(len(boxes))
            crowd = self._prepared(image_bgr, boxes, score)
            staged_ms = (time.perf_counter() - began) * 1e3
            times = self._run(crowd)
            answered = time.perf_counter()
            people, kept = self._kept(boxes)
        times["preprocess"] += staged_ms
        times["postprocess"] += (time.perf_counter() - answered) * 1e3
        times = {"detect": 0.0, **times}
        return people.with_metadata(**self._metadata, times_ms=times), kept

    def _size(self, image_bgr: Any) -> tuple[int, int]:
        return source_size(as_picture(image_bgr, self._cuda))

    def _compile(self) -> None:
        """Run once, so that the first picture does not wait for compilers, or fail for want of one."""
        crop = self.spec.input
        nobody = np.zeros((crop.height, crop.width, 3), np.uint8)
        self.estimate(nobody, np.array([[0, 0, crop.width, crop.height]], np.float32), np.ones(1, np.float32))

    def _make_room(self, people: int) -> None:
        """For so many people in one picture."""
        self._replay.forget()
        self._gathered = GpuPeople(
            self._cuda, self.skeleton, people, threshold=self.nms_threshold, least=self.min_keypoint_score,
            with_depths=self.spec.depth is not None,
        )  # fmt: skip
        self._first: Floats = self._cuda.pinned(self._gathered.first.shape, np.float32)

    def _prepared(self, image: Any, boxes: Floats, score: Floats) -> _Crowd:
        """What the kernels need to know of a picture and its boxes, on its way to the GPU."""
        crop, count = self.spec.input, len(boxes)
        affines = crop_affines(boxes, (crop.width, crop.height), self.spec.padding, udp=self.spec.udp)
        areas = crop_areas(crop, affines).astype(np.float32)
        batches = list(_batches(count, self._engine.buckets))
        filled = np.zeros((batches[-1].first + batches[-1].size, 2, 3))  # what fills a batch is one pixel
        filled[:count] = affines
        return _Crowd(
            picture=self._there(image),
            affines=self._up_affines(filled),
            found=self._up_found(score.astype(np.float32)),
            areas=self._up_areas(areas),
            batches=batches,
        )

    def _run(self, crowd: _Crowd) -> dict[str, float]:
        """Ask for everything, and wait; how long each stage took, in milliseconds."""
        stages = self._stages
        stages.begin()
        for batch in crowd.batches:
            crops = self._crops(crowd.picture, crowd.affines[batch.first : batch.first + batch.size])
            stages.done("preprocess")
            given = self._engine.enqueue(crops)
            stages.done("network")
            ordered = [given[output] for output in self._order]
            check_answers(self.spec.name, self.spec.head, ordered, self.spec.outputs, count=batch.size)
            answers = [answer[: batch.people] for answer in ordered]
            arrays = *answers, crowd.affines, crowd.found, crowd.areas
            key = batch, *((array.pointer, array.shape) for array in arrays)
            self._replay(key, partial(self._read, crowd, batch, answers))
            stages.done("postprocess")
        return stages.milliseconds()

    def _read(self, crowd: _Crowd, batch: _Batch, answers: Sequence[DeviceArray]) -> None:
        """A batch's keypoints into the picture; after the last one, who is kept."""
        keypoints, scores, depths = self._decoder(answers)
        rows = slice(batch.first, batch.first + batch.people)
        self._gathered.place(batch.first, keypoints, scores, crowd.affines[rows], crowd.found[rows], depths)
        if batch is crowd.batches[-1]:
            self._gathered.keep(len(crowd.found), crowd.areas)
            self._cuda.copy_out(self._gathered.first, self._first)

    def _kept(self, boxes: Floats) -> tuple[People, Rows]:
        found = self._gathered.unpack(self._first)
        keypoints3d = None
        if self._lift is not None and found.depths is not None:
            keypoints3d = self._lift(found.keypoints, found.depths)
        people = People(
            found.keypoints, found.scores, keypoints3d, boxes[found.number], found.score, self.skeleton
        )
        return people, found.number


@dataclass(frozen=True)
class _Batch:
    """People number `first` and on, `people` of them, in a batch of `size`."""

    first: int
    people: int
    size: int


@dataclass(frozen=True, eq=False)
class _Crowd:
    """A picture with N boxes on the GPU; affines also of what fills the last batch."""

    picture: DeviceArray
    affines: DeviceArray
    found: DeviceArray
    areas: DeviceArray
    batches: list[_Batch]


def _batches(people: int, buckets: Sequence[int]) -> Iterator[_Batch]:
    """As few as hold everyone, each of the smallest size that does."""
    for first in range(0, people, buckets[-1]):
        here = min(people - first, buckets[-1])
        yield _Batch(first, here, next(size for size in buckets if size >= here))


class _Decoder:
    """A student's answers as keypoints in crop pixels, scores and, where it has any, depths."""

    def __init__(self, cuda: Cuda, spec: TopDownSpec, people: int, joints: int) -> None:
        size = spec.input.width, spec.input.height
        self._decode: SimccDecoder | HeatmapDecoder
        if spec.head == "simcc":
            self._decode = SimccDecoder(cuda, people, joints, spec.split)
        else:
            self._decode = HeatmapDecoder(cuda, people, joints, size, udp=spec.udp)
        depth = spec.depth
        self._depth = depth and DepthDecoder(cuda, people, joints, depth.bins, depth.range)

    def __call__(self, answers: Sequence[DeviceArray]) -> tuple[DeviceArray, DeviceArray, DeviceArray | None]:
        depths = self._depth(answers[2]) if self._depth else None
        keypoints, scores = self._decode(*answers[: 2 if isinstance(self._decode, SimccDecoder) else 1])
        return keypoints, scores, depths
