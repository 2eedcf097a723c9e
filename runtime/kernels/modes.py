"""The best-scored cluster of 3D poses in each group of candidates: the core of pose-proposal integration.

A group's modes are found one after the other: the best-scored candidate that is in no mode yet starts one,
and every candidate of the group within `th_pose3D` of it is a member, of an earlier mode or not. A mode's
score is the sum of its members'. Only the best mode of a group is wanted, and a mode depends on its starter
alone. So once every group has its first mode, bounds that no later one can exceed settle most groups. All
shortcuts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats

__all__ = ["Indices", "Mask", "Modes", "best_modes", "mean_joint_distance"]

Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

SHELLS = 16  # of th_pose3D / 8 each; the outermost is open
PAIRS = 2**18  # poses compared at once
CACHED = 2**17  # coordinates worked on at once


@dataclass(frozen=True, eq=False)
class Modes:
    """The best mode of each of G groups.

    score    (G,) float64, sum of the members' scores
    head     (G,) the candidate that started it
    members  the candidates of all G modes, group after group
    starts   (G,) where each mode's members begin
    """

    score: NDArray[np.float64]
    head: Indices
    members: Indices
    starts: Indices


def best_modes(
    pose3d: Floats,
    score: Floats,
    label: NDArray[np.int64],
    group: Indices,
    th_pose3D: float,
    min_mode_score: float,
) -> Modes:
    """The best mode of every group of M > 0 candidates: pose3d (M, J, 3), the others (M,), groups 0 .. G-1.

    A candidate below `min_mode_score` starts no further mode. `label` (the class) only makes bounds tight.
    """
    order = np.lexsort((-score, group))  # group after group, best score first: as modes are started
    search = _Search(pose3d.take(order, axis=0), score[order], group[order], th_pose3D)
    search.next_modes(np.arange(len(order)))
    starters = np.flatnonzero(search.free & (search.score >= min_mode_score))
    reach = _Reach(search, label[order], starters)
    while pairs := reach.pairs(search):
        rows = search.undecided(starters, reach.bound)
        search.next_modes(rows)
        if pairs - reach.pairs(search) < 2 * len(rows):
            break  # a further mode would cost more than the comparisons it spares
    reach.compare(search)
    while len(rows := search.undecided(starters, reach.bound)):
        search.next_modes(rows)
    members = np.flatnonzero(search.winning)
    starts = np.flatnonzero(_changes(search.group[members]))
    return Modes(search.best, order[search.head], order[members], starts)


class _Search:
    """The modes found so far among M candidates, which are sorted by group and score."""

    def __init__(self, pose3d: Floats, score: Floats, group: Indices, th_pose3D: float) -> None:
        self.pose3d, self.score, self.group, self.th_pose3D = pose3d, score, group, th_pose3D
        self.thirds = _sum_of_three(pose3d)
        self.free = np.ones(len(score), np.bool_)  # in no mode yet
        self.winning = np.zeros(len(score), np.bool_)  # in the best mode of its group
        self.best = np.full(group[-1] + 1, -1.0)  # that mode's score
        self.head = np.zeros(group[-1] + 1, np.intp)  # that mode's starter

    def distance(self, a: Indices, b: Indices) -> Floats:
        return mean_joint_distance(self.pose3d, a, self.pose3d, b)

    def near(self, a: Indices, b: Indices) -> Indices:
        """Positions i where a[i] and b[i] are within th_pose3D."""
        # A sum of joint differences is no longer than their lengths together: a third of the work rules out
        # nearly all pairs.
        least = mean_joint_distance(self.thirds, a, self.thirds, b) * np.float32(0.99999)
        near = np.flatnonzero(least < self.th_pose3D)
        return near[self.distance(a[near], b[near]) < self.th_pose3D]

    def next_modes(self, rows: Indices) -> None:
        """Make one more mode in each of the groups that consist of these rows."""
        index = np.cumsum(_changes(self.group[rows])) - 1
        free = rows[self.free[rows]]
        heads = free[_changes(self.group[free])]
        member = self.distance(rows, heads[index]) < self.th_pose3D
        member |= rows == heads[index]
        self.free[rows[member]] = False

        total, group = np.bincount(index, weights=self.score[rows] * member), self.group[heads]
        better = total > self.best[group]
        self.best[group[better]], self.head[group[better]] = total[better], heads[better]
        self.winning[rows[better[index]]] = member[better[index]]

    def able(self, starters: Indices, bound: NDArray[np.float64]) -> Mask:
        """(S,) bool: which starters are free and could make a mode better than their group's best."""
        able: Mask = self.free[starters] & (bound > self.best[self.group[starters]])
        return able

    def undecided(self, starters: Indices, bound: NDArray[np.float64]) -> Indices:
        """The rows of all groups with an able starter."""
        groups = np.zeros(len(self.best), np.bool_)
        groups[self.group[starters[self.able(starters, bound)]]] = True
        return np.flatnonzero(groups[self.group])


class _Reach:
    """Which candidates each of S starters could have as members, and so the score its mode cannot exceed.

    Mean joint distance is a metric: a starter that lies D from a ball's pivot has no member nearer to that
    pivot than D - th_pose3D. Only the shells beyond count, of every ball of its group.
    """

    def __init__(self, search: _Search, label: NDArray[np.int64], starters: Indices) -> None:
        self._starters, self._balls = starters, _Balls(search, label)
        self._starter, self._ball = self._balls.of_groups(search.group[starters])
        away = search.distance(starters[self._starter], self._balls.pivot[self._ball])
        away *= np.float32(0.99999)  # inwards by more than rounding
        self._shell = self._balls.shell(away - search.th_pose3D)
        self._members = self._sum(self._starter, self._balls.count_from[self._ball, self._shell])
        self.bound = self._sum(self._starter, self._balls.score_from[self._ball, self._shell])

    def pairs(self, search: _Search) -> int:
        """How many pairs of candidates `compare` would look at."""
        return int(self._members[search.able(self._starters, self.bound)].sum())

    def compare(self, search: _Search) -> None:
        """Replace the bounds of able starters by the scores of their modes."""
        able = search.able(self._starters, self.bound)
        pairs = np.flatnonzero(able[self._starter])
        starter, ball = self._starter[pairs], self._ball[pairs]
        count = self._balls.count_from[ball, self._shell[pairs]]
        self.bound[able] = 0
        for part in _portions(count, PAIRS):
            a = np.repeat(starter[part], count[part])
            b = self._balls.order[_ranges(self._balls.start[ball[part]], count[part])]
            near = search.near(self._starters[a], b)
            self.bound += self._sum(a[near], search.score[b[near]])

    def _sum(self, starter: Indices, values: NDArray[Any]) -> NDArray[np.float64]:
        """(S,) sums per starter, greater by more than another order of summation could make them."""
        sums = np.bincount(starter, values, len(self._starters)).astype(np.float64)
        sums *= 1 + 1e-9
        return sums


class _Balls:
    """The candidates of one class in one group, in shells around the best-scored of them, the pivot."""

    def __init__(self, search: _Search, label: NDArray[np.int64]) -> None:
        rows, classes = np.arange(len(label)), int(label.max()) + 1
        code = search.group * classes + label
        used = np.bincount(code, minlength=len(search.best) * classes) > 0
        self._table = np.where(used, np.cumsum(used) - 1, -1).reshape(-1, classes)  # (group, class) -> ball
        ball = self._table.ravel()[code]
        self.pivot = np.empty(used.sum(), np.intp)
        self.pivot[ball[::-1]] = rows[::-1]  # the first of each ball is written last
        self._width = search.th_pose3D / 8

        radius = search.distance(rows, self.pivot[ball])
        radius *= np.float32(1.00001)  # outwards by more than rounding
        slot = ball * SHELLS + SHELLS - 1 - self.shell(radius)
        self.order = np.argsort(slot, kind="stable")  # ball after ball, the outermost shell first
        self.start = np.searchsorted(ball[self.order], np.arange(len(self.pivot)))
        self.count_from = self._from_outside(np.bincount(slot, minlength=len(self.pivot) * SHELLS))
        self.score_from = self._from_outside(np.bincount(slot, search.score, len(self.pivot) * SHELLS))

    def of_groups(self, groups: Indices) -> tuple[Indices, Indices]:
        """Every ball of each group: (P,) position in `groups`, (P,) ball."""
        position, label = np.nonzero(self._table[groups] >= 0)
        return position, self._table[groups[position], label]

    def shell(self, radius: Floats) -> Indices:
        shell: Floats = (radius / self._width).clip(0, SHELLS - 1)
        return np.nan_to_num(shell, nan=SHELLS - 1).astype(np.intp)  # near nothing: outermost

    @staticmethod
    def _from_outside(slots: NDArray[Any]) -> NDArray[Any]:
        """(B, SHELLS): the sum from the outermost shell in to each."""
        sums: NDArray[Any] = slots.reshape(-1, SHELLS).cumsum(axis=1)[:, ::-1]
        return sums


def _sum_of_three(pose: Floats) -> Floats:
    """Joints 0+1+2, 3+4+5, ... of (M, J, D) poses, scaled so that a mean over them is one over J joints."""
    summed = pose[:, 0::3].copy()
    for first in (1, 2):
        others = pose[:, first::3]
        summed[:, : others.shape[1]] += others
    summed *= np.float32(summed.shape[1] / pose.shape[1])
    return summed


def mean_joint_distance(pose: Floats, a: Indices, other: Floats, b: Indices) -> Floats:
    """(P,) mean over J joints of the distance between pose[a[i]] and other[b[i]], of (M, J, D) poses."""
    distance = np.empty(len(a), np.float32)
    weights = np.full(pose.shape[1], 1 / pose.shape[1], np.float32)
    step = max(1, CACHED // (pose.shape[1] * pose.shape[2]))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        apart = pose.take(a[part], axis=0)
        apart -= other.take(b[part], axis=0)
        apart *= apart
        squared = apart[..., 0] + apart[..., 1]
        for axis in range(2, pose.shape[2]):
            squared += apart[..., axis]
        distance[part] = np.sqrt(squared, out=squared) @ weights
    return distance


def _changes(values: NDArray[Any]) -> Mask:
    """(N,) bool: where a run of equal values begins."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _ranges(starts: Indices, lengths: Indices) -> Indices:
    """The ranges start .. start+length-1, one after the other."""
    before = np.cumsum(lengths) - lengths
    ranges: Indices = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
    return ranges


def _portions(sizes: Indices, limit: int) -> Iterator[slice]:
    """Slices of consecutive sizes that sum up to about `limit`."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] - sizes[first] + limit)))
        yield slice(first, last)
        first = last
