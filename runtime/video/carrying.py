"""Boxes carried from frame to frame by the keypoints in them, while the detector rests."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.boxes import box_iou, grow_boxes
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.top_down import TopDownPose

__all__ = ["Carrier"]

CLEAR = 0.2  # keypoints above it span the next box
LEAST_CLEAR = 3  # keypoints; a person with fewer is lost
GROWTH = 0.125  # of the span on each side: 1.25 times as large, as mmdeploy's and rtmlib's trackers have it
FADED = 0.5  # of the body's mean score when last detected; a person below it is lost
SAME = 0.3  # IoU from which a detected box and a carried one are of the same person
LENIENCY = 1  # detections in a row that may miss somebody whose keypoints are clear


class _Carried(NamedTuple):
    """M boxes to look into, x0 y0 x1 y1 in pixels."""

    boxes: Floats  # (M, 4)
    score: Floats  # (M,) the detector's
    clarity: Floats  # (M,) the body's mean score when last detected, NaN before the student looked
    missed: NDArray[np.int64]  # (M,) detections that did not find the person

    def rows(self, which: NDArray[Any]) -> _Carried:
        return _Carried(self.boxes[which], self.score[which], self.clarity[which], self.missed[which])


NOBODY = _Carried(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
)


class Carrier:
    """`people = carry(image_bgr)` for one frame after the other, with a detection in every N-th only.

    In between, the clear keypoints of the last frame span the boxes; somebody whose keypoints fade is lost,
    and somebody new waits for the next detection. There, a detected box replaces the carried one.
    """

    def __init__(self, pose: TopDownPose, detect_every: int) -> None:
        self.pose = pose
        self.detect_every = detect_every
        self.forget()

    def forget(self) -> None:
        """Detect in the next frame, and carry nobody into it."""
        self._resting = 0  # frames until the next detection
        self._carried = NOBODY

    def __call__(self, image_bgr: Pixels) -> People:
        """As `TopDownPose` answers; a frame without detection has 0 for its time."""
        if self._resting:
            self._resting -= 1
            return self._look(image_bgr, self._carried)
        began = time.perf_counter()
        boxes, score = self.pose.detect(image_bgr)
        detect_ms = (time.perf_counter() - began) * 1e3
        people = self._look(image_bgr, self._join(boxes, score))
        self._resting = self.detect_every - 1
        return people.with_metadata(times_ms={**people.metadata["times_ms"], "detect": detect_ms})

    def _join(self, boxes: Floats, score: Floats) -> _Carried:
        """The detected boxes, then the carried ones of people whom the detector missed."""
        found = box_iou(self._carried.boxes, boxes).max(axis=1, initial=0) >= SAME
        missed = self._carried.rows(~found & (self._carried.missed < LENIENCY))
        unclear, never = np.full(len(boxes), np.nan, np.float32), np.zeros(len(boxes), np.int64)
        joined = _Carried(
            np.concatenate([boxes, missed.boxes]),
            np.concatenate([score, missed.score]),
            np.concatenate([unclear, missed.clarity]),
            np.concatenate([never, missed.missed + 1]),
        )
        return joined.rows(np.arange(len(joined.boxes))[: self.pose.max_people])

    def _look(self, image_bgr: Pixels, into: _Carried) -> People:
        """The people in these boxes, less those who are lost."""
        people, kept = self.pose.estimate(image_bgr, into.boxes, into.score)
        into = into.rows(kept)
        body = people.skeleton.parts.get("body", slice(None))
        clarity = people.scores[:, body].mean(axis=1)
        detected = np.isnan(into.clarity)
        clear = (people.scores > CLEAR).sum(axis=1) >= LEAST_CLEAR
        lasting = clear & (detected | (clarity >= FADED * into.clarity))
        spans = _spans(people.keypoints[lasting], people.scores[lasting])
        carried = into._replace(clarity=np.where(detected, clarity, into.clarity)).rows(lasting)
        self._carried = carried._replace(boxes=spans).rows(_in_picture(spans, image_bgr.shape))
        return people if (detected | lasting).all() else _select(people, detected | lasting)


def _spans(keypoints: Floats, scores: Floats) -> Floats:
    """(N, 4) boxes around each person's clear keypoints, grown."""
    clear = np.where(scores[..., None] > CLEAR, keypoints, np.float32(np.nan))
    corners = np.concatenate([np.nanmin(clear, axis=1), np.nanmax(clear, axis=1)], axis=1)
    return grow_boxes(corners, GROWTH)


def _in_picture(boxes: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(N,) whether a box is large enough to look into, and not all outside the picture."""
    x0, y0, x1, y1 = boxes.T
    height, width = shape[:2]
    large = (x1 - x0 >= 1) & (y1 - y0 >= 1)
    inside: NDArray[np.bool_] = large & (x1 > 0) & (y1 > 0) & (x0 < width - 1) & (y0 < height - 1)
    return inside


def _select(people: People, which: NDArray[np.bool_]) -> People:
    return replace(
        people,
        keypoints=people.keypoints[which],
        scores=people.scores[which],
        keypoints3d=None if people.keypoints3d is None else people.keypoints3d[which],
        boxes=people.boxes[which],
        score=people.score[which],
    )
