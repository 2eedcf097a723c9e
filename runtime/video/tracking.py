"""Ids that persist: everyone in a frame is matched with somebody seen before, by pose.

Similarity is OKS over the body, as in mmpose's tracker; poses that share too few keypoints, such as a hand
alone, are compared by their boxes. Everyone is expected one step further the way they went, which tells
people apart who cross.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.boxes import box_iou
from wholebody.runtime.kernels.oks import oks
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Tracker"]

Ids = NDArray[np.int64]
Rows = NDArray[np.intp]

LEAST_SHARED = 5  # keypoints for a comparison by pose
LEAST_SIMILARITY = 0.3  # OKS or IoU; people who are less alike are not the same
STEERING = np.float32(0.5)  # share of a surprise in position that goes into the velocity
FRICTION = np.float32(0.9)  # what remains of the velocity of somebody unseen after a frame
BLUR = np.float32(0.05)  # growth of the tolerance in distance with each frame unseen


class _Tracks(NamedTuple):
    """M people, as they were last seen or as they are expected now."""

    ids: Ids  # (M,)
    points: Floats  # (M, J, 2) pixels, NaN where unseen
    boxes: Floats  # (M, 4) pixels
    velocity: Floats  # (M, 2) pixels a frame
    unseen: Ids  # (M,) frames

    def rows(self, which: Rows) -> _Tracks:
        return _Tracks(
            self.ids[which], self.points[which], self.boxes[which], self.velocity[which], self.unseen[which]
        )

    def and_also(self, others: _Tracks) -> _Tracks:
        return _Tracks(
            np.concatenate([self.ids, others.ids]),
            np.concatenate([self.points, others.points]),
            np.concatenate([self.boxes, others.boxes]),
            np.concatenate([self.velocity, others.velocity]),
            np.concatenate([self.unseen, others.unseen]),
        )


class Tracker:
    """`ids = tracker(people)`, frame after frame.

    patience  frames for which somebody may be away and come back as the same person

    Ids count from 1; none is given twice. Whoever comes back far from where they left, or after more than
    `patience` frames, is somebody new: nobody is recognised by their looks.
    """

    def __init__(self, *, patience: int = 30) -> None:
        self.patience = patience
        self.reset()

    def reset(self) -> None:
        """Another video: forget everyone and count from 1 again."""
        self._next = 1
        self.forget()

    def forget(self) -> None:
        """Another scene: forget everyone, but count on."""
        self._tracks: _Tracks | None = None

    def __call__(self, people: People) -> Ids:
        """(N,) int64: who the people of the next frame are."""
        seen = _observe(people)
        known = seen.rows(np.zeros(0, np.intp)) if self._tracks is None else _advance(self._tracks)
        mine, theirs = _match(_similarity(seen, known, _sigmas(people.skeleton)))
        seen.ids[mine] = known.ids[theirs]
        seen.velocity[mine] = known.velocity[theirs] + _turn(seen.rows(mine), known.rows(theirs))
        self._name_newcomers(seen.ids)
        away = np.setdiff1d(np.flatnonzero(known.unseen <= self.patience), theirs)
        self._tracks = seen.and_also(known.rows(away))
        return seen.ids.copy()

    def _name_newcomers(self, ids: Ids) -> None:
        new = np.flatnonzero(ids == 0)
        ids[new] = self._next + np.arange(len(new))
        self._next += len(new)


def _observe(people: People) -> _Tracks:
    """The people of a frame, without ids and at rest."""
    body = _body(people.skeleton)
    points = np.where(people.scores[:, body, None] > 0, people.keypoints[:, body], np.float32(np.nan))
    n = len(people)
    return _Tracks(
        np.zeros(n, np.int64), points, people.boxes, np.zeros((n, 2), np.float32), np.zeros(n, np.int64)
    )


def _advance(tracks: _Tracks) -> _Tracks:
    """The same people one frame later."""
    step = tracks.velocity
    return _Tracks(
        tracks.ids,
        tracks.points + step[:, None],
        tracks.boxes + np.tile(step, 2),
        step * np.where(tracks.unseen > 0, FRICTION, np.float32(1))[:, None],
        tracks.unseen + 1,
    )


def _similarity(seen: _Tracks, known: _Tracks, sigmas: Floats) -> Floats:
    """(N, M): OKS where two share enough keypoints, else the IoU of their boxes."""
    shared = _are_seen(seen.points)[:, None] & _are_seen(known.points)
    sides = known.boxes[:, 2:] - known.boxes[:, :2]
    areas = sides.prod(axis=1) * (1 + BLUR * (known.unseen - 1)) ** 2
    by_pose = oks(seen.points, known.points, areas, sigmas, shared)
    by_box = box_iou(seen.boxes, known.boxes)
    return np.where(shared.sum(axis=2) >= LEAST_SHARED, by_pose, by_box)


def _match(similarity: Floats) -> tuple[Rows, Rows]:
    """Pairs of a row and a column, each in one pair at most, the most similar pair first."""
    left = np.where(similarity >= LEAST_SIMILARITY, similarity, -1)
    pairs: list[tuple[np.intp, np.intp]] = []
    while left.size and left.max() >= 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        pairs.append((row, column))
        left[row], left[:, column] = -1, -1
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    return rows, columns


def _turn(seen: _Tracks, known: _Tracks) -> Floats:
    """(P, 2) by how much P people's velocity differs from what was known."""
    apart = seen.points - known.points
    shared = _are_seen(apart)[..., None]
    count = shared.sum(axis=1)
    by_pose = np.where(shared, apart, 0).sum(axis=1) / np.maximum(count, 1)
    by_box = (seen.boxes - known.boxes).reshape(-1, 2, 2).mean(axis=1)
    surprise = np.where(count > 0, by_pose, by_box)
    turn: Floats = STEERING * surprise / known.unseen[:, None].astype(np.float32)
    return turn


def _are_seen(points: Floats) -> NDArray[np.bool_]:
    seen: NDArray[np.bool_] = np.isfinite(points.sum(axis=-1))
    return seen


def _body(skeleton: Skeleton) -> slice:
    return skeleton.parts.get("body", slice(None))


def _sigmas(skeleton: Skeleton) -> Floats:
    return np.array(skeleton.sigmas, np.float32)[_body(skeleton)]
