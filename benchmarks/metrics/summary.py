"""All pictures' judgements of a part in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.average_precision import average_precision
from wholebody.benchmarks.metrics.judging import RULES, Judgement, longer_side
from wholebody.benchmarks.metrics.matching import UNMATCHED
from wholebody.benchmarks.metrics.pixels import nme, pck
from wholebody.benchmarks.metrics.space import centred, mpjpe, pa_mpjpe, pck3d

__all__ = ["PCK_FRACTION", "PartAccuracy", "SizeBin", "summarise"]

Bools = NDArray[np.bool_]
HIPS = (4, 5)
NETWORK_TO_CAMERA = np.array([-1, -1, 1])  # a true body has x and y negated
PCK_FRACTION = {"body": 0.1, "hand": 0.2}  # of the longer side of the true box
SIZE_EDGES = {"body": (128, 256), "hand": (24, 48), "face": (24, 48)}  # pixels, longer side of the true box
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class SizeBin:
    """How many of the truths in a range of sizes were found; pixels, `high` excluded (None: no end)."""

    name: str
    low: int
    high: int | None
    truths: int
    found: int


@dataclass(frozen=True)
class PartAccuracy:
    """One part over all pictures.

    truths, predictions   those that are judged; `ignored_...` are not
    found                 truths that a prediction was matched with
    metrics               by name; shares in 0..1, lengths in mm; NaN where there was nothing to measure:
        recall, precision  found / truths, found / predictions
        ap_50, ap_50_95    average precision of bodies at OKS 0.5, and its mean over OKS 0.5 to 0.95
        pck                PCK@0.1 (body) or PCK@0.2 (hand) of the longer side of the true box, visible joints
        nme                of faces
        side_accuracy      found / (found + those found but for the side), of hands
        pck3d_150mm        of bodies, all joints, centred between the hips
        mpjpe_mm           all joints; bodies centred between the hips, hands and faces at their mean
        pa_mpjpe_mm        the same after Procrustes alignment
    by_size               recall of small, medium and large ones

    All but recall, precision and AP are of the found ones alone.
    """

    truths: int
    ignored_truths: int
    predictions: int
    ignored_predictions: int
    found: int
    metrics: dict[str, float]
    by_size: tuple[SizeBin, ...]


def summarise(part: str, judgements: Sequence[Judgement]) -> PartAccuracy:
    """Pool the judgements of one or more pictures: every instance weighs the same, wherever it is."""
    truths = sum(len(j.truth.boxes) for j in judgements)
    counted = sum(int(j.counted[0].sum()) for j in judgements)
    found = sum(int((j.matched[0] != UNMATCHED).sum()) for j in judgements)
    return PartAccuracy(
        truths=truths,
        ignored_truths=sum(j.ignored for j in judgements),
        predictions=counted,
        ignored_predictions=sum(len(j.predictions.score) for j in judgements) - counted,
        found=found,
        metrics={
            "recall": _share(found, truths),
            "precision": _share(found, counted),
            **(_average_precisions(judgements, truths) if part == "body" else {}),
            **_pose_metrics(part, _Pairs.of(part, judgements)),
            **(_side_accuracy(judgements, found) if part == "hand" else {}),
        },
        by_size=_by_size(part, judgements),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _average_precisions(judgements: Sequence[Judgement], truths: int) -> dict[str, float]:
    """Of bodies alone: the scores of hands and faces in people stop at 1, and ties have no order."""
    values = []
    for level in range(len(RULES["body"].thresholds)):
        score = np.concatenate([j.predictions.score[j.counted[level]] for j in judgements])
        correct = np.concatenate([j.matched[level][j.counted[level]] != UNMATCHED for j in judgements])
        values.append(average_precision(score, correct, truths))
    return {"ap_50": values[0], "ap_50_95": float(np.mean(values))}


@dataclass(frozen=True, eq=False)
class _Pairs:
    """M matched predictions and truths: (M, J, 2) pixels, (M, J, 3) metres centred at the root."""

    predicted2d: NDArray[Any]
    truth2d: NDArray[Any]
    predicted3d: NDArray[Any]
    truth3d: NDArray[Any]
    visible: Bools
    side: NDArray[Any]

    @classmethod
    def of(cls, part: str, judgements: Sequence[Judgement]) -> _Pairs:
        columns = zip(*map(_pairs, judgements), strict=True)
        predicted2d, truth2d, predicted3d, truth3d, visible, side = map(np.concatenate, columns)
        root = HIPS if part == "body" else None
        if part == "body":
            truth3d = truth3d * NETWORK_TO_CAMERA
        return cls(predicted2d, truth2d, centred(predicted3d, root), centred(truth3d, root), visible, side)


def _pairs(judgement: Judgement) -> tuple[NDArray[Any], ...]:
    predictions, truth, matched = judgement.predictions, judgement.truth, judgement.matched[0]
    p = np.flatnonzero(matched != UNMATCHED)
    t = matched[p]
    poses = predictions.pose2d[p], truth.pose2d[t], predictions.pose3d[p], truth.pose3d[t]
    return *poses, truth.visible[t], longer_side(truth.boxes[t])


def _pose_metrics(part: str, pairs: _Pairs) -> dict[str, float]:
    flat, solid = (pairs.predicted2d, pairs.truth2d), (pairs.predicted3d, pairs.truth3d)
    metrics = {"mpjpe_mm": mpjpe(*solid), "pa_mpjpe_mm": pa_mpjpe(*solid)}
    if part == "face":
        return {"nme": nme(*flat), **metrics}
    if part == "body":
        metrics["pck3d_150mm"] = pck3d(*solid)
    return {"pck": pck(*flat, pairs.visible, pairs.side, PCK_FRACTION[part]), **metrics}


def _side_accuracy(judgements: Sequence[Judgement], found: int) -> dict[str, float]:
    return {"side_accuracy": _share(found, found + sum(j.wrong_side for j in judgements))}


def _by_size(part: str, judgements: Sequence[Judgement]) -> tuple[SizeBin, ...]:
    sides = np.concatenate([longer_side(j.truth.boxes) for j in judgements])
    found = np.concatenate([np.isin(np.arange(len(j.truth.boxes)), j.matched[0]) for j in judgements])
    low_edge, high_edge = SIZE_EDGES[part]
    bins = []
    for name, low, high in zip(SIZES, (0, low_edge, high_edge), (low_edge, high_edge, None), strict=True):
        inside = (sides >= low) & (sides < (np.inf if high is None else high))
        bins.append(SizeBin(name, low, high, int(inside.sum()), int(found[inside].sum())))
    return tuple(bins)
