"""Which predicted person is which true one, by how many joints are near in the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.joint_errors import known
from wholebody.benchmarks.metrics.matching import UNMATCHED, match

__all__ = ["match_as_mupots", "match_by_joints", "true_order"]

Numbers = NDArray[Any]
Indices = NDArray[np.intp]
NEAR = 0.2  # of the longer side of the true person's box


def match_by_joints(predicted: Numbers, score: Numbers, truth: Numbers, boxes: Numbers) -> Indices:
    """(G,) the prediction that is each truth, or UNMATCHED: half of the labelled joints are near it.

    predicted (P, J, 2) and truth (G, J, 2) pixels, NaN: not seen, not labelled; score (P,), boxes (G, 4).
    Near is a fifth of the longer side of the true box. One to one, best score first, as COCO's evaluation.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    near = _apart(predicted, truth) <= NEAR * size[:, None]
    share = near.sum(axis=2) / np.maximum(known(truth).sum(axis=1), 1)
    return true_order(match(share, score, 0.5), len(truth))


def match_as_mupots(predicted: Numbers, truth: Numbers, pixels: float = 40.0) -> Indices:
    """(G,) the prediction that is each truth, or UNMATCHED, as MuPoTS-3D's publishers match.

    predicted (P, J, 2) and truth (G, J, 2) pixels. One truth after the other takes, of the predictions that
    are free, the first with the most joints nearer than 40 pixels in x and in y; none where that is nought.
    """
    apart = np.abs(predicted[:, None].astype(np.float64) - truth[None])
    near = (apart < pixels).all(axis=3).sum(axis=2)
    taken = np.full(len(truth), UNMATCHED)
    for person in range(len(truth) if len(predicted) else 0):
        best = int(near[:, person].argmax())
        if near[best, person] > 0:
            taken[person] = best
            near[best] = 0
    return taken


def true_order(matched: Indices, truths: int) -> Indices:
    """(G,) the prediction of each truth, from (P,) the truth of each prediction."""
    taken = np.full(truths, UNMATCHED)
    predictions = np.flatnonzero(matched != UNMATCHED)
    taken[matched[predictions]] = predictions
    return taken


def _apart(predicted: Numbers, truth: Numbers) -> NDArray[np.float64]:
    """(P, G, J) pixels; NaN where a joint is not known in both."""
    apart: NDArray[np.float64] = np.linalg.norm(predicted[:, None].astype(np.float64) - truth[None], axis=3)
    return apart
