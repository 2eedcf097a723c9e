"""A pipeline on the frames of a video: fewer detections, ids that persist, keypoints without jitter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import WholebodyError
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.picture import check_picture
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.video.carrying import Carrier
from wholebody.runtime.video.one_euro import OneEuro
from wholebody.runtime.video.scenes import SceneCuts
from wholebody.runtime.video.tracking import Tracker

__all__ = ["Follow"]

FRAME_S = 1 / 30  # seconds between frames whose times are not given
STATURE = 1.7  # metres: the size of a person in 3D, whose speed is measured by it


class Pose(Protocol):
    """`people = pose(image_bgr)`, as DopePose and TopDownPose answer."""

    def __call__(self, image_bgr: Pixels) -> People: ...


class Follow:
    """`follow = Follow(pose, ids=True)`, then `people = follow(image_bgr)` for one frame after the other.

    pose          a pipeline: DopePose or TopDownPose
    detect_every  look for people in every so many frames, and carry their boxes along in between; only a
                  top-down student with a detector can do with less than all
    ids           say who is who: `people.ids`, the same number for the same person
    smooth        take the jitter out of keypoints, in 2D and 3D (One-Euro)

    With detect_every=1 and the others off, the answers are those of the bare pipeline. A Follow follows one
    video: it remembers frames, and is not for several threads. At a scene cut it forgets everyone, but no id
    is given twice. Raises WholebodyError where detect_every is not allowed.
    """

    def __init__(self, pose: Pose, *, detect_every: int = 1, ids: bool = False, smooth: bool = False) -> None:
        self.pose = pose
        self.detect_every = detect_every
        self.ids = ids
        self.smooth = smooth
        self._carrier = _carrier(pose, detect_every)
        self._is_cut = SceneCuts()
        self._tracker = Tracker()
        self._smooth_pixels, self._smooth_metres = OneEuro(), OneEuro()
        self.reset()

    def reset(self) -> None:
        """Begin another video: nobody is known, and ids start from 1."""
        self._time = 0.0
        self._tracker.reset()
        self._forget()

    def _forget(self) -> None:
        self._tracker.forget()
        self._smooth_pixels.reset()
        self._smooth_metres.reset()
        if self._carrier is not None:
            self._carrier.forget()

    def __call__(self, image_bgr: Pixels, time_s: float | None = None) -> People:
        """The people of the next frame, (H, W, 3) uint8 in OpenCV's order of blue, green, red.

        time_s  seconds since the video began; without it frames are taken to be 1/30 s apart

        Raises what the pipeline raises, and ValueError for a time that is no number.
        """
        if self._carrier is None and not self.ids and not self.smooth:
            return self.pose(image_bgr)
        check_picture(image_bgr)
        if time_s is not None and not math.isfinite(time_s):
            raise ValueError(f"time_s is {time_s}; allowed is a finite number of seconds")
        before, self._time = self._time, self._time + FRAME_S if time_s is None else time_s
        if self._is_cut(image_bgr) or self._time < before:
            self._forget()
        people = self.pose(image_bgr) if self._carrier is None else self._carrier(image_bgr)
        return self._told_apart(people) if self.ids or self.smooth else people

    def _told_apart(self, people: People) -> People:
        ids = self._tracker(people)
        if self.smooth:
            people = self._smoothed(people, ids)
        return replace(people, ids=ids) if self.ids else people

    def _smoothed(self, people: People, ids: NDArray[np.int64]) -> People:
        sides = (people.boxes[:, 2:] - people.boxes[:, :2]).max(axis=1)
        keypoints = self._smooth_pixels(people.keypoints, ids, np.maximum(sides, 1), self._time)
        if people.keypoints3d is None:
            return replace(people, keypoints=keypoints)
        stature = np.full(len(people), STATURE, np.float32)
        keypoints3d = self._smooth_metres(people.keypoints3d, ids, stature, self._time)
        return replace(people, keypoints=keypoints, keypoints3d=keypoints3d)


def _carrier(pose: Pose, detect_every: int) -> Carrier | None:
    """What carries boxes along, where not every frame is looked through for people."""
    if detect_every < 1 or detect_every % 1:
        raise WholebodyError(f"detect_every is {detect_every}; allowed is a whole number, 1 or more")
    if detect_every == 1:
        return None
    if not isinstance(pose, TopDownPose) or pose.detector is None:
        raise WholebodyError(
            f"detect_every is {detect_every}, but this {type(pose).__name__} has no detector to spare: "
            "leave it at 1, or take a top-down student with a detector"
        )
    return Carrier(pose, detect_every)
