"""Average precision of scored detections."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision"]

RECALLS = np.linspace(0, 1, 101)


def average_precision(score: NDArray[Any], correct: NDArray[np.bool_], truths: int) -> float:
    """Mean over recalls 0, 0.01 … 1 of the best precision at that recall or a higher one; NaN without truths.

    score (P,) and correct (P,) of the predictions of all pictures together, `truths` of them to be found.
    COCO's 101-point interpolation (pycocotools).
    """
    if not truths:
        return float("nan")
    right = np.cumsum(correct[np.argsort(-score, kind="stable")])
    recall, precision = right / truths, right / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(best_from_here, 0)[reached].mean())
