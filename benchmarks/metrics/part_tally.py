"""What one picture's bodies, hands or faces add to the figures of a part.

recall, precision  found / truths, found / predictions; f1: twice the found / (truths + predictions)
pck                PCK@0.1 (body) or PCK@0.2 (hand) of the longer side of the true box, visible joints
nme                of faces
side               found / (found + those found but for the side), of hands
pck3d              at 150 mm, of bodies, all joints, centred between the hips
mpjpe              all joints; bodies centred between the hips, hands and faces at their mean
pa_mpjpe           the same after Procrustes alignment
recall_…           of small, medium and large ones

All but recall, precision and f1 are of the found ones alone. A joint without coordinates is wrong in every
share; who has one is left out of the errors, which no number could stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Metric, Tally
from wholebody.benchmarks.metrics.judging import Judgement, longer_side
from wholebody.benchmarks.metrics.matching import UNMATCHED
from wholebody.benchmarks.metrics.pixels import landmark_size
from wholebody.benchmarks.metrics.ranking import Ranking
from wholebody.benchmarks.metrics.space import aligned, centred

__all__ = ["part_metrics", "part_ranking", "part_tally"]

Cells = tuple[NDArray[np.float64], NDArray[np.float64]]
HIPS = (4, 5)
NETWORK_TO_CAMERA = np.array([-1, -1, 1])  # a true body has x and y negated
PCK_FRACTION = {"body": 0.1, "hand": 0.2}  # of the longer side of the true box
PCK3D_MM = 150.0
SIZE_EDGES = {"body": (128, 256), "hand": (24, 48), "face": (24, 48)}  # pixels, longer side of the true box
SIZES = ("small", "medium", "large")


def part_metrics(part: str) -> tuple[Metric, ...]:
    """Those of `part_tally` and, for bodies, `part_ranking`, in the order of the table."""
    rows = [("recall", "recall", "share"), ("precision", "precision", "share")]
    if part == "body":
        rows += [("ap", "AP, OKS 0.5 to 0.95", "share"), ("ap_50", "AP, OKS 0.5", "share")]
        rows += [("pck", "PCK@0.1 of the person's box", "share"), ("pck3d", "PCK3D@150 mm", "share")]
    if part == "hand":
        rows += [("pck", "PCK@0.2 of the hand's box", "share"), ("side", "right or left", "share")]
    if part == "face":
        rows += [("nme", "NME", "share")]
    rows += [("mpjpe", "MPJPE", "mm"), ("pa_mpjpe", "PA-MPJPE", "mm")]
    low, high = SIZE_EDGES[part]
    spans = f"under {low} px", f"{low} to {high} px", f"from {high} px"
    rows += [(f"recall_{size}", f"recall, {span}", "share") for size, span in zip(SIZES, spans, strict=True)]
    return tuple(_metric(part, *row) for row in rows)


def _metric(part: str, name: str, title: str, unit: Any) -> Metric:
    lower = name == "nme" or unit == "mm"
    return Metric(f"{part}/{name}", f"{part}: {title}", unit, "lower" if lower else "higher")


def part_tally(part: str, judgement: Judgement) -> Tally:
    """By name, as `part_metrics` names them."""
    truths, found = len(judgement.truth.boxes), int((judgement.matched[0] != UNMATCHED).sum())
    counted = int(judgement.counted[0].sum())
    cells = {
        "recall": _share(found, truths),
        "precision": _share(found, counted),
        "f1": _share(2 * found, truths + counted),
        **_sizes(part, judgement),
        **_poses(part, _Pairs.of(part, judgement)),
    }
    if part == "hand":
        cells["side"] = _share(found, found + judgement.wrong_side)
    return {f"{part}/{name}": cell for name, cell in cells.items()}


def part_ranking(judgement: Judgement) -> Ranking:
    """At every threshold, what each prediction is. Of bodies alone: the scores of hands and faces in people
    stop at 1, and ties have no order."""
    right = judgement.matched != UNMATCHED
    return Ranking(judgement.predictions.score, right, judgement.counted, len(judgement.truth.boxes))


def _share(part: float, whole: float) -> Cells:
    return np.array([float(part)]), np.array([float(whole)])


def _mean(values: NDArray[Any], counts: NDArray[Any]) -> Cells:
    """Of those values that count."""
    return _share(float(values[counts].sum()), int(counts.sum()))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """M matched predictions and truths: (M, J, 2) pixels, (M, J, 3) metres centred at the root."""

    predicted2d: NDArray[Any]
    truth2d: NDArray[Any]
    predicted3d: NDArray[Any]
    truth3d: NDArray[Any]
    visible: NDArray[np.bool_]
    side: NDArray[Any]

    @classmethod
    def of(cls, part: str, judgement: Judgement) -> _Pairs:
        predictions, truth, matched = judgement.predictions, judgement.truth, judgement.matched[0]
        p = np.flatnonzero(matched != UNMATCHED)
        t = matched[p]
        root = HIPS if part == "body" else None
        turn = NETWORK_TO_CAMERA if part == "body" else 1
        return cls(
            predictions.pose2d[p].astype(np.float64),
            truth.pose2d[t],
            centred(predictions.pose3d[p], root),
            centred(truth.pose3d[t] * turn, root),
            truth.visible[t],
            longer_side(truth.boxes[t]),
        )


def _poses(part: str, pairs: _Pairs) -> dict[str, Cells]:
    apart = np.linalg.norm(pairs.predicted2d - pairs.truth2d, axis=2)
    errors = 1000 * np.linalg.norm(pairs.predicted3d - pairs.truth3d, axis=2)
    whole = np.isfinite(errors).all(axis=1)
    solid = aligned(pairs.predicted3d[whole], pairs.truth3d[whole])
    pa_errors = 1000 * np.linalg.norm(solid - pairs.truth3d[whole], axis=2)
    cells = {
        "mpjpe": _mean(errors[whole], np.ones_like(errors[whole], np.bool_)),
        "pa_mpjpe": _mean(pa_errors, np.ones_like(pa_errors, np.bool_)),
    }
    if part == "face":
        relative = apart.mean(axis=1) / landmark_size(pairs.truth2d)
        return {"nme": _mean(relative, np.isfinite(relative)), **cells}
    if part == "body":
        cells["pck3d"] = _mean(errors < PCK3D_MM, np.ones_like(errors, np.bool_))
    return {"pck": _mean(apart <= PCK_FRACTION[part] * pairs.side[:, None], pairs.visible), **cells}


def _sizes(part: str, judgement: Judgement) -> dict[str, Cells]:
    side = longer_side(judgement.truth.boxes)
    found = np.isin(np.arange(len(side)), judgement.matched[0])
    size = np.searchsorted(SIZE_EDGES[part], side, side="right")
    return {f"recall_{name}": _mean(found, size == i) for i, name in enumerate(SIZES)}
