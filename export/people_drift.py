"""Whether two networks' answers become the same people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wholebody.export.certificate import Matching
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import StudentSpec

__all__ = ["match_people", "same_people"]

APART = 0.05  # of a person's size: further apart, on average, two poses are of two people


def same_people(
    expected: Mapping[str, Floats], got: Mapping[str, Floats], spec: StudentSpec, image: Pixels
) -> Matching:
    """Both networks' outputs for a picture, in network pixels, through the pipeline; NaN gives nobody."""
    return match_people(_people(expected, spec, image), _people(got, spec, image))


def match_people(a: People, b: People) -> Matching:
    """The people of `b` that are those of `a`: each other's nearest in mean keypoint distance, and near."""
    if not len(a) or not len(b):
        return Matching(0, len(a), len(b))
    distance = np.array([[_distance(a, i, b, j) for j in range(len(b))] for i in range(len(a))])
    nearest, rows = distance.argmin(axis=1), np.arange(len(a))
    mutual = distance.argmin(axis=0)[nearest] == rows
    found = int((mutual & (distance[rows, nearest] <= APART)).sum())
    return Matching(found, len(a) - found, len(b) - found)


def _distance(a: People, i: int, b: People, j: int) -> float:
    """Mean keypoint distance, as a share of the longer side of a's box; infinite where a part is missing."""
    seen = a.scores[i] > 0
    if (seen != (b.scores[j] > 0)).any():
        return np.inf
    x0, y0, x1, y1 = a.boxes[i]
    apart = np.linalg.norm(a.keypoints[i, seen] - b.keypoints[j, seen], axis=1).mean()
    return float(apart / max(x1 - x0, y1 - y0, 1.0))


def _people(outputs: Mapping[str, Floats], spec: StudentSpec, image: Pixels) -> People:
    if not all(np.isfinite(array).all() for array in outputs.values()):
        return People.empty(SKELETONS[spec.skeleton])
    return DopePose(FakeBackend((), outputs), spec)(image)
