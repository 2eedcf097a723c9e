"""Which of the people found in one picture are right, as COCO's evaluation decides it (pycocotools)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.coco_ap import FoundPeople, Joints, TruePeople
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.ranking import THRESHOLDS, Ranking

__all__ = ["MOST", "rank_people"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST = 20  # people of a picture, the best ones
LEVELS = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]


def rank_people(
    truth: TruePeople, found: FoundPeople, sigmas: Sequence[float], joints: Joints = slice(None)
) -> Ranking:
    """One picture's people, judged by some of their joints, of which `sigmas` are the OKS constants.

    Who is judged is matched first; a person who is not (no labelled joint, or a crowd) takes what is left,
    which then counts neither way, a crowd any number of times. Of equally good truths the last is taken.
    """
    predicted = found.keypoints[:, joints]
    some = np.flatnonzero(np.asarray(np.isfinite(predicted).all(axis=2)).any(axis=1))
    best = some[np.argsort(-found.score[some], kind="stable")][:MOST]
    judged = truth.judged(joints)
    alike = _likeness(truth, predicted[best], np.asarray(sigmas)[joints], joints)
    right, counted = _match(alike, judged, truth.crowd)
    return Ranking(found.score[best], right, counted, int(judged.sum()))


def _match(alike: Doubles, judged: Bools, crowd: Bools) -> tuple[Bools, Bools]:
    """Of (P, G) likeness, best prediction first: (T, P) right, and (T, P) right or wrong."""
    right = np.zeros((len(LEVELS), len(alike)), np.bool_)
    counted = np.ones_like(right)
    free = np.ones((len(LEVELS), alike.shape[1]), np.bool_)
    everyone = judged.all()
    for p, likeness in enumerate(alike) if alike.shape[1] else ():
        fits = free & (likeness >= LEVELS)
        right[:, p] = _take(free, fits & judged, likeness)
        if not everyone:
            left = fits & ~judged & ~right[:, p, None]
            counted[:, p] = ~_take(free, left, likeness)
            free |= crowd
    return right, counted


def _take(free: Bools, fits: Bools, likeness: Doubles) -> Bools:
    """(T,) whether a truth of (T, G) fits; the one most alike, the last of several, is no longer free."""
    taken = np.asarray(fits.any(axis=1))
    if taken.any():
        last = fits.shape[1] - 1 - np.where(fits, likeness, -1)[:, ::-1].argmax(axis=1)
        free[np.flatnonzero(taken), last[taken]] = False
    return taken


def _likeness(truth: TruePeople, predicted: NDArray[Any], sigmas: Doubles, joints: Joints) -> Doubles:
    """(P, G) OKS; with a person without a labelled joint, how near the pose is to the doubled box."""
    labelled = truth.labelled[:, joints]
    alike = oks(predicted, truth.keypoints[:, joints], labelled, truth.area, list(sigmas))
    bare = np.flatnonzero(~labelled.any(axis=1))
    if len(bare) and len(predicted):
        alike[:, bare] = _nearness(truth.boxes[bare], truth.area[bare], predicted, sigmas)
    return alike


def _nearness(boxes: NDArray[Any], area: NDArray[Any], predicted: NDArray[Any], sigmas: Doubles) -> Doubles:
    """(P, G) mean over the joints of exp(-d² / (2 · area · (2σ)²)), d to the box of twice the size."""
    low, high = boxes[:, None, :2].astype(np.float64), boxes[:, None, 2:].astype(np.float64)
    side = high - low
    points = predicted.astype(np.float64)[:, None]
    outside = np.maximum(low - side - points, 0) + np.maximum(points - high - side, 0)
    squared = np.nan_to_num((outside**2).sum(axis=3), nan=np.inf)
    spread = 2 * (area.astype(np.float64)[:, None] + np.spacing(1)) * (2 * sigmas) ** 2
    near: Doubles = np.exp(-squared / spread).mean(axis=2)
    return near
