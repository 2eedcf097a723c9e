"""Which prediction is which truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNMATCHED", "match"]

UNMATCHED = -1


def match(similarity: NDArray[Any], score: NDArray[Any], threshold: float) -> NDArray[np.intp]:
    """(P,) the truth of each prediction, or UNMATCHED: one to one, greedily, best score first.

    similarity (P, G), score (P,). Each prediction takes, of the truths that are free and at least `threshold`
    alike, the one most alike: COCO's evaluation of one picture.
    """
    matched = np.full(len(score), UNMATCHED)
    free = np.array(similarity, np.float64)
    for prediction in np.argsort(-score, kind="stable"):
        if not free.shape[1]:
            break
        best = int(free[prediction].argmax())
        if free[prediction, best] >= threshold:
            matched[prediction] = best
            free[:, best] = -np.inf
    return matched
