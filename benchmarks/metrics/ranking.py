"""Average precision and recall as COCO has them, of all pictures or of any resample of them at once.

AP is no sum over pictures: predictions of all of them are ranked together. But which prediction is right is
decided within its picture, and the order of the ranks is that of the scores, whichever pictures are drawn.
So a resample is a weight for each picture, and its AP one pass over the ranked predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RANKED", "THRESHOLDS", "Ranking", "ranked_figures"]

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int32]
Ranks = NDArray[np.intp]
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of OKS
AT_50, AT_75 = 0, 5
RECALLS = np.linspace(0, 1, 101)
RANKED = ("ap", "ap_50", "ap_75", "ar")
BLOCK = 64  # resamples at once: their weights stay in the cache


@dataclass(frozen=True, eq=False)
class Ranking:
    """What the P predictions of one picture are at each of `THRESHOLDS`.

    score    (P,)
    right    (T, P) bool: matched with a truth
    counted  (T, P) bool: right or wrong; the others are not judged
    truths   how many are to be found
    """

    score: NDArray[Any]
    right: Bools
    counted: Bools
    truths: int


@dataclass(frozen=True, eq=False)
class _Pool:
    """The predictions of all pictures, best score first, and of which picture each is."""

    picture: Ranks
    right: Bools
    counted: Bools
    truths: Doubles

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> _Pool:
        score = np.concatenate([r.score for r in rankings])
        order = np.argsort(-score, kind="stable")
        picture = np.repeat(np.arange(len(rankings)), [len(r.score) for r in rankings])
        right, counted = (
            np.concatenate([getattr(r, name) for r in rankings], axis=1)[:, order]
            for name in ("right", "counted")
        )
        truths = np.array([r.truths for r in rankings], np.float64)
        return cls(picture[order], right & counted, counted, truths)


def ranked_figures(rankings: Sequence[Ranking], weights: NDArray[Any]) -> dict[str, Doubles]:
    """By name of `RANKED`, (R,): AP at OKS 0.50:0.05:0.95, at 0.50 and 0.75, and AR.

    rankings of N pictures; weights (R, N), how many times each resample holds each picture: whole numbers.
    NaN where a resample has nothing to be found. Equal to pycocotools on pictures repeated so.
    """
    pool = _Pool.of(rankings)
    blocks = [_block(pool, weights[i : i + BLOCK]) for i in range(0, len(weights), BLOCK)]
    precision, recall = (np.concatenate(each, axis=1) for each in zip(*blocks, strict=True))
    figures = precision.mean(axis=0), precision[AT_50], precision[AT_75], recall.mean(axis=0)
    return dict(zip(RANKED, figures, strict=True))


def _block(pool: _Pool, weights: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Precision, mean over 101 recalls, and recall, each (T, R)."""
    truths = weights.astype(np.float64) @ pool.truths
    drawn = weights.astype(np.int32)[:, pool.picture]
    through = np.cumsum(drawn, axis=1, dtype=np.int32)
    levels = [
        _level(drawn, through, np.flatnonzero(right), np.flatnonzero(~counted), truths)
        for right, counted in zip(pool.right, pool.counted, strict=True)
    ]
    precision, recall = (np.stack(each) for each in zip(*levels, strict=True))
    return precision, recall


def _level(
    drawn: Counts, through: Counts, right: Ranks, ignored: Ranks, truths: Doubles
) -> tuple[Doubles, Doubles]:
    """At one threshold, over R resamples: precision is best, and recall grows, at the right ones alone."""
    found = np.cumsum(drawn[:, right], axis=1, dtype=np.int32)
    passed = np.zeros((len(drawn), len(ignored) + 1), np.int32)
    np.cumsum(drawn[:, ignored], axis=1, out=passed[:, 1:])
    judged = through[:, right] - passed[:, np.searchsorted(ignored, right)]
    precision = np.zeros((len(drawn), len(right) + 1))  # the last: of a recall that is never reached
    np.divide(found, judged, out=precision[:, :-1], where=judged > 0)
    best = _best_from(precision, _first_with(found, truths)).mean(axis=1)
    recall = found[:, -1] / np.maximum(truths, 1) if len(right) else np.zeros(len(drawn))
    return np.where(truths > 0, best, np.nan), np.where(truths > 0, recall, np.nan)


def _first_with(found: Counts, truths: Doubles) -> Ranks:
    """(R, 101): from which of the D right ones on a recall is reached, 0 for the first recall; D if never.

    Recall is found / truths in doubles, as pycocotools compares it; found (R, D) grows along its rows.
    """
    total = np.maximum(truths, 1)[:, None]
    enough = np.ceil(RECALLS * total)
    enough -= (enough - 1) / total >= RECALLS
    enough += enough / total < RECALLS
    width, rows = found.shape[1], np.arange(len(found))[:, None]
    apart = int(found.max(initial=0) + total.max(initial=0) + 2) * rows
    flat = np.searchsorted((found + apart).ravel(), (enough.astype(np.int64) + apart).ravel())
    first: Ranks = flat.reshape(enough.shape) - width * rows
    return first


def _best_from(precision: Doubles, first: Ranks) -> Doubles:
    """(R, 101) the best precision from each of these places to the end of the row.

    `first` (R, 101) begins at 0 and never falls, so that its places cut the rows into segments.
    """
    starts = (first + precision.shape[1] * np.arange(len(precision))[:, None]).ravel()
    segments = np.maximum.reduceat(precision.ravel(), starts).reshape(first.shape)
    best: Doubles = np.maximum.accumulate(segments[:, ::-1], axis=1)[:, ::-1]
    return best
