"""Object keypoint similarity, COCO's measure of how alike two poses are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["oks"]


def oks(
    predicted: NDArray[Any],
    truth: NDArray[Any],
    visible: NDArray[np.bool_],
    area: NDArray[Any],
    sigmas: Sequence[float],
) -> NDArray[np.float64]:
    """(P, G) in 0..1: mean over the visible joints of exp(-d² / (2 · area · (2σ)²)).

    predicted (P, J, 2) and truth (G, J, 2) pixels, visible (G, J), area (G,) square pixels, J sigmas. A joint
    that was not predicted (NaN) adds 0; a truth without a visible joint is like nobody. COCO and
    COCO-WholeBody (xtcocotools), where `area` is the person's segment. Only truths with a segment have that:
    say which area you give.
    """
    squared = ((predicted[:, None].astype(np.float64) - truth[None]) ** 2).sum(axis=3)
    spread = 2 * (area.astype(np.float64)[:, None] + np.spacing(1)) * (2 * np.asarray(sigmas)) ** 2
    similarity = np.where(visible, np.exp(-np.nan_to_num(squared, nan=np.inf) / spread), 0)
    alike: NDArray[np.float64] = similarity.sum(axis=2) / np.maximum(visible.sum(axis=1), 1)
    return alike
