"""The hands and faces a student found in a picture, each true one beside the one that was found of it.

A found hand or face is a true one's if, over the joints that are labelled, it is nearest to it: nearest pairs
first, one to one, at most half the longer side of the true one's extent away. Hands are paired by side too
where both data set and student tell it. A true one that is left over was missed, and all its joints with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Truth
from wholebody.benchmarks.datasets.joint_orders import FACE_PARTS, HAND_PARTS
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.runtime.people import People

__all__ = ["Found", "Pairs", "extents", "found_faces", "found_hands", "labelled", "pair", "right_sides"]

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
REACH = 0.5  # of the longer side of the true extent


@dataclass(frozen=True, eq=False)
class Found:
    """P hands or faces: (P, K, 2) pixels, (P, K, 3) metres or None, and each hand's side or ""."""

    keypoints: Doubles
    keypoints3d: Doubles | None
    sides: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """G true hands or faces and what was found of each.

    keypoints    (G, K, 2) pixels, NaN where not found
    keypoints3d  (G, K, 3) metres, NaN where not found; None where the student has no 3D
    found        (G,) bool
    """

    truth: Truth
    keypoints: Doubles
    keypoints3d: Doubles | None
    found: Mask

    @property
    def judged(self) -> Mask:
        """(G,) bool: whether anything of it is labelled."""
        return np.asarray(labelled(self.truth.keypoints).any(axis=1))

    @property
    def pixels(self) -> Doubles:
        """(G, K) pixels between found and true joints: infinite where missed, NaN where not labelled."""
        return distances(self.keypoints, self.truth.keypoints)


def found_hands(people: People) -> Found:
    """Everybody's hands, in the order of COCO_HAND21. Raises KeyError for a skeleton without hands."""
    parts = HAND_PARTS[people.skeleton.name]
    hands = [_part(people, joints, side) for side, joints in parts]
    points = [hand.keypoints3d for hand in hands if hand.keypoints3d is not None]
    return Found(
        np.concatenate([hand.keypoints for hand in hands]),
        np.concatenate(points) if points else None,
        tuple(side for hand in hands for side in hand.sides),
    )


def found_faces(people: People) -> Found:
    """Everybody's 68 landmarks of iBUG. Raises KeyError for a skeleton without a face."""
    return _part(people, FACE_PARTS[people.skeleton.name], "")


def _part(people: People, joints: NDArray[np.intp], side: str) -> Found:
    keypoints = people.keypoints[:, joints].astype(np.float64)
    seen = labelled(keypoints).any(axis=1)
    points = people.keypoints3d
    return Found(
        keypoints[seen],
        None if points is None else points[seen][:, joints].astype(np.float64),
        (side,) * int(seen.sum()),
    )


def pair(found: Found, truth: Truth) -> Pairs:
    """Each true hand or face beside the one that was found of it, as the module says."""
    theirs = truth.sides or ("",) * len(truth.keypoints)
    agree = np.array(
        [[ours in (side, "") or not side for side in theirs] for ours in found.sides], np.bool_
    ).reshape(len(found.sides), len(theirs))
    nearest = _nearest(np.where(agree, _similarity(found, truth), -np.inf))
    of = np.flatnonzero(nearest != UNMATCHED)
    keypoints = np.full(truth.keypoints.shape, np.nan)
    keypoints[nearest[of]] = found.keypoints[of]
    points = None
    if found.keypoints3d is not None:
        points = np.full((*truth.keypoints.shape[:2], 3), np.nan)
        points[nearest[of]] = found.keypoints3d[of]
    seen = np.zeros(len(keypoints), np.bool_)
    seen[nearest[of]] = True
    return Pairs(truth, keypoints, points, seen)


def right_sides(found: Found, truth: Truth) -> tuple[Doubles, Doubles]:
    """Of the true hands that were found whatever their side, how many have the right one, and how many."""
    nearest = _nearest(_similarity(found, truth))
    pairs = [(found.sides[p], truth.sides[g]) for p, g in enumerate(nearest) if g != UNMATCHED]
    told = [ours == theirs for ours, theirs in pairs if ours and theirs]
    return np.array([float(sum(told))]), np.array([float(len(told))])


def distances(predicted: Doubles, truth: Doubles) -> Doubles:
    """(..., K) between (..., K, d) points: infinite where none is predicted, NaN where none is labelled."""
    apart = np.linalg.norm(predicted - truth, axis=-1)
    return np.where(labelled(truth), np.where(np.isfinite(apart), apart, np.inf), np.nan)


def labelled(keypoints: Doubles) -> Mask:
    """(..., K) whether (..., K, d) keypoints have all their coordinates."""
    return np.asarray(np.isfinite(keypoints).all(axis=-1))


def extents(keypoints: Doubles) -> Doubles:
    """(G, 4) x0 y0 x1 y1 around what is labelled of (G, K, 2) keypoints; zeros where nothing is."""
    known = np.isfinite(keypoints)
    low = np.where(known, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(known, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    boxes = np.concatenate([low, high], axis=1)
    return np.where(np.isfinite(boxes), boxes, 0)


def _nearest(similarity: Doubles) -> NDArray[np.intp]:
    """(P,) the truth of each found part: greedily, the nearest pair first."""
    return match(similarity, similarity.max(axis=1, initial=-np.inf), -REACH)


def _similarity(found: Found, truth: Truth) -> Doubles:
    """(P, G) minus the mean distance over labelled joints, in longer sides of the true extent."""
    apart = np.linalg.norm(found.keypoints[:, None] - truth.keypoints[None], axis=3)
    both = np.isfinite(apart)
    count = both.sum(axis=2)
    mean = np.where(both, apart, 0).sum(axis=2) / np.maximum(count, 1)
    boxes = extents(truth.keypoints)
    size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1)
    return np.where(count > 0, -mean / size, -np.inf)
