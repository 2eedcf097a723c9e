"""How a student, and its reference in the same way, is asked for the people of a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.runtime.media import Image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import TopDownPose

__all__ = ["Boxes", "Pose", "ask", "boxes_of", "has_3d", "kind_of_boxes"]

Pose = DopePose | TopDownPose
Boxes = Literal["true", "detected"]


def kind_of_boxes(pose: Pose) -> Boxes | None:
    """Where a top-down student's boxes come from: its detector, or the truth. None: it needs no boxes."""
    if isinstance(pose, DopePose):
        return None
    return "true" if pose.detector is None else "detected"


def has_3d(pose: Pose) -> bool:
    """Whether its people have keypoints in space."""
    return isinstance(pose, DopePose) or pose.spec.depth is not None


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes (N, 4) in pixels and score (N,)."""

    boxes: Floats
    score: Floats


def boxes_of(pose: Pose, image: Image, picture: Picture) -> Found | None:
    """A picture's boxes, all with an area; the detector is asked once for student and reference."""
    if isinstance(pose, DopePose):
        return None
    if pose.detector is not None:
        return Found(*pose.detect(image))
    boxes = np.asarray(picture.truth.boxes, np.float32).reshape(-1, 4)
    whole = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Found(boxes[whole], np.ones(int(whole.sum()), np.float32))


def ask(pose: Pose, image: Image, found: Found | None) -> People:
    """The people of a picture: of DOPE all that it finds, else those in the boxes.

    Where a network failed and says infinite, it says nothing: NaN, as for what was not seen.
    """
    if isinstance(pose, DopePose):
        return _finite(pose(image))
    assert found is not None
    people, _ = pose.estimate(image, found.boxes, found.score)
    return _finite(people)


def _finite(people: People) -> People:
    points, solid = people.keypoints, people.keypoints3d
    if not np.isinf(points).any() and (solid is None or not np.isinf(solid).any()):
        return people
    flat = np.where(np.isinf(points), np.float32(np.nan), points)
    return replace(
        people,
        keypoints=flat,
        keypoints3d=None if solid is None else np.where(np.isinf(solid), np.float32(np.nan), solid),
    )
