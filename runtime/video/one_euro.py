"""The One-Euro filter over people: less jitter where they rest, little lag where they move.

Casiez, Roussel and Vogel, "1€ filter: a simple speed-based low-pass filter for noisy input in interactive
systems", CHI 2012, algorithm 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats

__all__ = ["OneEuro"]

SHORTEST_STEP = 1e-3  # seconds: two frames of the same time are no infinite speed


class _Past(NamedTuple):
    """What is remembered of M people of K points: NaN where a point was never seen."""

    ids: NDArray[np.int64]  # (M,)
    points: Floats  # (M, K, D) as last answered
    speeds: Floats  # (M, K, D) a second, filtered
    times: NDArray[np.float64]  # (M, K) seconds, when last seen


class OneEuro:
    """`smooth = filter(points, ids, sizes, time_s)`: every point of every person has a filter of its own.

    min_cutoff  Hz that pass where nothing moves; fewer mean less jitter
    beta        by how many Hz the filter opens for a speed of one person's size a second; more mean less lag
    d_cutoff    Hz of the low-pass on the speed itself
    gap         seconds; a point unseen for longer begins anew

    Speed counts in sizes of the person a second, so that people near and far, in small and large pictures,
    are treated alike. A point that moves steadily lags by less than size / (2 pi beta) at any speed.
    """

    def __init__(
        self, *, min_cutoff: float = 1.0, beta: float = 10.0, d_cutoff: float = 1.0, gap: float = 0.25
    ) -> None:
        self.min_cutoff, self.beta, self.d_cutoff, self.gap = min_cutoff, beta, d_cutoff, gap
        self._past: _Past | None = None

    def reset(self) -> None:
        """Forget everyone."""
        self._past = None

    def __call__(self, points: Floats, ids: NDArray[np.int64], sizes: Floats, time_s: float) -> Floats:
        """Smooth the points of one frame.

        points  (N, K, D) float32 in any unit; NaN where unseen, which stays NaN and leaves no trace
        ids     (N,) int64 who they are, each once
        sizes   (N,) float32 how large each person is, in the unit of the points
        time_s  seconds; not before the last call's

        Returns (N, K, D) float32.
        """
        past = self._recall(ids, points.shape)
        seen = np.isfinite(points.sum(axis=2))
        elapsed = time_s - past.times
        known = (seen & (elapsed <= self.gap))[..., None]
        step = np.maximum(elapsed, SHORTEST_STEP).astype(np.float32)[..., None]
        filtered, speeds = self._filter(points, past, step, sizes[:, None, None])
        smooth: Floats = np.where(known, filtered, points).astype(np.float32)
        now = _Past(
            ids,
            np.where(seen[..., None], smooth, past.points),
            np.where(seen[..., None], np.where(known, speeds, np.float32(0)), past.speeds),
            np.where(seen, time_s, past.times),
        )
        self._remember(now, time_s)
        return smooth

    def _filter(self, points: Floats, past: _Past, step: Floats, sizes: Floats) -> tuple[Floats, Floats]:
        """Algorithm 1 of the paper, the speed taken over all axes of a point together."""
        speed_now: Floats = (points - past.points) / step
        speeds = _towards(past.speeds, speed_now, _alpha(self.d_cutoff, step))
        speed = np.sqrt((speeds * speeds).sum(axis=2, keepdims=True)) / sizes
        cutoff = np.float32(self.min_cutoff) + np.float32(self.beta) * speed
        return _towards(past.points, points, _alpha(cutoff, step)), speeds

    def _recall(self, ids: NDArray[np.int64], shape: tuple[int, ...]) -> _Past:
        """These people's past, in their order."""
        points, speeds = np.full((2, *shape), np.nan, np.float32)
        times = np.full(shape[:2], np.nan)
        if self._past is not None:
            row, column = np.nonzero(ids[:, None] == self._past.ids)
            points[row], speeds[row] = self._past.points[column], self._past.speeds[column]
            times[row] = self._past.times[column]
        return _Past(ids, points, speeds, times)

    def _remember(self, now: _Past, time_s: float) -> None:
        """Keep those in the picture, and those who left it less than a gap ago."""
        if self._past is not None:
            recent = (time_s - self._past.times <= self.gap).any(axis=1)
            away = recent & ~np.isin(self._past.ids, now.ids)
            now = _Past(
                np.concatenate([now.ids, self._past.ids[away]]),
                np.concatenate([now.points, self._past.points[away]]),
                np.concatenate([now.speeds, self._past.speeds[away]]),
                np.concatenate([now.times, self._past.times[away]]),
            )
        self._past = now


def _towards(old: Floats, new: Floats, share: Floats) -> Floats:
    return np.asarray(old + share * (new - old), np.float32)


def _alpha(cutoff: float | Floats, step: Floats) -> Floats:
    """The weight of a new value after `step` seconds in a first-order low-pass of `cutoff` Hz."""
    turns: Floats = np.float32(2 * math.pi) * cutoff * step
    return turns / (turns + 1)
