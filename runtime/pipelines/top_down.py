"""One picture through a detector and a top-down student: every person's keypoints, in 2D and where it has a
depth in 3D (RTMPose and DWPose, 2023; SimpleBaselines, ECCV 2018)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.kernels.crop import Affines, Cropper, check_boxes, crop_affines, to_source
from wholebody.runtime.kernels.heatmap import decode_heatmaps
from wholebody.runtime.kernels.oks import oks_nms
from wholebody.runtime.kernels.simcc import decode_depth, decode_simcc
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.batches import run_in_batches
from wholebody.runtime.pipelines.checks import check_answers, check_input_type, check_number
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.flip import flip_back
from wholebody.runtime.pipelines.lifting import Lifter
from wholebody.runtime.pipelines.picture import check_picture
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import CropInput, TopDownSpec

__all__ = ["TopDownPose", "crop_areas", "mean_above"]

Rows = NDArray[np.intp]

STAGES = ("detect", "preprocess", "network", "postprocess")
NO_ROWS = np.zeros(0, np.intp)


class TopDownPose:
    """`people = pose(image_bgr)`, or `people = pose(image_bgr, boxes)` where the people are already found.

    student             the loaded student: normalised crops in, SimCC or heatmaps out
    detector            finds the boxes; None where they are always given, or with `full_frame`
    max_people          of the detected boxes only so many are looked into, the best ones; None: all
    full_frame          without boxes and detector, take the whole picture for one person
    flip_test           ask the student twice, the second time about the mirrored crop, and take the mean
    min_keypoint_score  keypoints above it make up the person's score: the box's times their mean
    nms_threshold       of two poses more alike than this (OKS) the better is kept
    buckets             the sizes of a batch, for a backend to which each size is new work; None: any size
    metadata            entries that every answer carries besides its own

    Every answer's metadata holds `backend`, `detector` and `times_ms`: detect, preprocess, network and
    postprocess. One TopDownPose serves several threads at once where its backends do. Raises ValueError for a
    number that is not allowed, ArtefactError where the student's outputs are not those of its description.
    """

    def __init__(
        self,
        student: Backend,
        spec: TopDownSpec,
        detector: PersonDetector | None = None,
        *,
        max_people: int | None = None,
        full_frame: bool = False,
        flip_test: bool = False,
        min_keypoint_score: float = 0.2,
        nms_threshold: float = 0.9,
        buckets: Sequence[int] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        check_number(
            "max_people", max_people, max_people is None or max_people >= 1, "1 or more, or None for everyone"
        )
        check_number("nms_threshold", nms_threshold, 0 <= nms_threshold <= 1, "0 to 1")
        check_number("min_keypoint_score", min_keypoint_score, math.isfinite(min_keypoint_score), "a number")
        check_number(
            "buckets", buckets, buckets is None or _are_buckets(buckets), "sizes of 1 or more, ascending"
        )
        check_input_type(spec.name, student, spec.input)
        self.student = student
        self.spec = spec
        self.detector = detector
        self.skeleton = SKELETONS[spec.skeleton]
        self.max_people = max_people
        self.full_frame = full_frame
        self.flip_test = flip_test
        self.min_keypoint_score = min_keypoint_score
        self.nms_threshold = nms_threshold
        self.buckets = buckets
        self._order = _order(student, spec)
        self._crop = Cropper(spec.input)
        self._lift = Lifter(self.skeleton) if spec.depth is not None else None
        names = {"backend": student.name} | ({"detector": detector.spec.name} if detector else {})
        self._metadata = {**names, **(metadata or {})}

    def __call__(self, image_bgr: Pixels, boxes: ArrayLike | None = None) -> People:
        """Find everyone in a picture: (H, W, 3) uint8 in OpenCV's order of blue, green, red.

        boxes (N, 4), x0 y0 x1 y1 in pixels of the picture, are taken as they are and all of them, each with
        score 1. No boxes, given or found, means no people.

        Raises ValueError for a picture of another shape or dtype, for a box that is inverted, without area,
        not finite or outside the picture, and where there are neither boxes nor detector nor `full_frame`;
        BackendError where a backend fails.
        """
        began = time.perf_counter()
        found, score = self.detect(image_bgr) if boxes is None else _given(boxes, self._size(image_bgr))
        detect_ms = (time.perf_counter() - began) * 1e3
        people, _ = self.estimate(image_bgr, found, score)
        return people.with_metadata(times_ms={**people.metadata["times_ms"], "detect": detect_ms})

    def detect(self, image_bgr: Pixels) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the picture and score (N,), best first, at most `max_people`."""
        height, width = self._size(image_bgr)
        if self.detector is not None:
            boxes, score = self.detector(image_bgr)
            return boxes[: self.max_people], score[: self.max_people]
        if not self.full_frame:
            raise ValueError("no boxes and no detector: give boxes, a detector, or full_frame=True")
        return np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)

    def _size(self, image_bgr: Pixels) -> tuple[int, int]:
        """(height, width) of a picture; ValueError where it is none."""
        check_picture(image_bgr)
        height, width = image_bgr.shape[:2]
        return height, width

    def estimate(self, image_bgr: Pixels, boxes: Floats, score: Floats) -> tuple[People, Rows]:
        """The people in these boxes, best first, and for each of them which box it is from.

        boxes (N, 4) in pixels of the picture and all with an area, score (N,) how sure it is that somebody is
        there; neither is checked. Of two people with the same pose the better is kept.
        """
        if len(boxes) == 0:
            nobody = People.empty(self.skeleton, with_3d=self._lift is not None)
            return nobody.with_metadata(**self._metadata, times_ms=dict.fromkeys(STAGES, 0.0)), NO_ROWS
        began = time.perf_counter()
        size = self.spec.input.width, self.spec.input.height
        affines = crop_affines(boxes, size, self.spec.padding, udp=self.spec.udp)
        crops = self._crop(image_bgr, affines)
        ready = time.perf_counter()
        answers = self._ask(crops)
        answered = time.perf_counter()
        people, kept = self._people(answers, affines, boxes, score)
        done = time.perf_counter()
        seconds = 0.0, ready - began, answered - ready, done - answered
        times_ms = {stage: s * 1e3 for stage, s in zip(STAGES, seconds, strict=True)}
        return people.with_metadata(**self._metadata, times_ms=times_ms), kept

    def _ask(self, crops: Floats) -> list[Floats]:
        """The student's answers in the order x, y and z of SimCC, or its heatmaps."""
        answers = self._network(crops)
        if not self.flip_test:
            return answers
        mirrored = self._network(np.ascontiguousarray(crops[..., ::-1]))
        plain = self.spec.head == "heatmap" and not self.spec.udp
        flipped = flip_back(mirrored, self.skeleton, shift=plain)
        return [(answer + other) * 0.5 for answer, other in zip(answers, flipped, strict=True)]

    def _network(self, crops: Floats) -> list[Floats]:
        given = run_in_batches(self.student, crops, self.buckets)
        answers = [np.asarray(given[output], np.float32) for output in self._order]
        check_answers(self.spec.name, self.spec.head, answers, self.spec.outputs, count=len(crops))
        return answers

    def _people(
        self, answers: Sequence[Floats], affines: Affines, boxes: Floats, score: Floats
    ) -> tuple[People, Rows]:
        keypoints, scores = self._decode(answers)
        keypoints = to_source(keypoints, affines)
        score = score * mean_above(self.min_keypoint_score, scores)
        areas = crop_areas(self.spec.input, affines)
        kept = oks_nms(keypoints, scores, score, areas, self.skeleton.sigmas, self.nms_threshold)
        keypoints3d = None
        if self._lift is not None and self.spec.depth is not None:
            keypoints3d = self._lift(keypoints[kept], decode_depth(answers[2][kept], self.spec.depth))
        people = People(keypoints[kept], scores[kept], keypoints3d, boxes[kept], score[kept], self.skeleton)
        return people, kept

    def _decode(self, answers: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Keypoints (N, K, 2) in crop pixels and scores (N, K)."""
        if self.spec.head == "simcc":
            return decode_simcc(answers[0], answers[1], self.spec.split)
        size = self.spec.input.width, self.spec.input.height
        return decode_heatmaps(answers[0], size, udp=self.spec.udp)

    def __repr__(self) -> str:
        spec = self.spec
        size = f"{spec.input.width}x{spec.input.height}"
        return f"TopDownPose({spec.name!r}, {size}, {spec.precision}, {self.student.name}, {self.detector!r})"


def _given(boxes: ArrayLike, image_hw: tuple[int, int]) -> tuple[Floats, Floats]:
    array = np.asarray(boxes)
    if array.size == 0:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    check_boxes(array, image_hw)
    return array.astype(np.float32), np.ones(len(array), np.float32)


def crop_areas(crop: CropInput, affines: Affines) -> NDArray[np.float64]:
    """(N,) what the crops cover, in square pixels of the picture: a person's area, as mmpose has it."""
    areas: NDArray[np.float64] = crop.width * crop.height / affines[:, 0, 0] ** 2
    return areas


def mean_above(least: float, scores: Floats) -> Floats:
    """(N,) mean of each person's scores above `least`, 0 where there are none."""
    above = scores > least
    mean: Floats = np.where(above, scores, 0).sum(axis=1) / np.maximum(above.sum(axis=1), 1)
    return mean.astype(np.float32)


def _order(student: Backend, spec: TopDownSpec) -> list[int]:
    """Where the outputs that the description names stand among the student's."""
    names = [output.name for output in student.outputs]
    if missing := [name for name in spec.outputs if name not in names]:
        raise ArtefactError(
            f"{spec.name} has the outputs {', '.join(names)}; its description names {', '.join(missing)}: "
            "describe it anew"
        )
    return [names.index(name) for name in spec.outputs]


def _are_buckets(sizes: Sequence[int]) -> bool:
    return len(sizes) > 0 and sizes[0] >= 1 and all(a < b for a, b in pairwise(sizes))
