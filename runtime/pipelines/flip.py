"""The flip test: a student's answers about mirrored crops, turned back to compare with those about the crops.

As mmpose does it (Apache-2.0: `flip_heatmaps`, `flip_vectors`, `shift_heatmap`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import Skeleton

__all__ = ["flip_back"]


def flip_back(answers: Sequence[Floats], skeleton: Skeleton, *, shift: bool = False) -> list[Floats]:
    """The same answers as if the crops had not been mirrored: left and right trade places, x runs backwards.

    answers  SimCC's (N, K, bins) of x, y and perhaps z, or one (N, K, h, w) of heatmaps
    shift    move heatmaps by one pixel to the right: plain ones, as pixel p of the crop is p * map / crop of
             the map, come back from the mirror almost one too far to the left
    """
    across, *others = (answer[:, list(skeleton.flip_index)] for answer in answers)
    across = across[..., ::-1]
    if shift:
        across = np.concatenate([across[..., :1], across[..., :-1]], axis=-1)
    return [across, *others]
