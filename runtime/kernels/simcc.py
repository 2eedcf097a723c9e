"""SimCC: a keypoint's x and y (and z) are each a classification over the bins of one axis.

SimCC (ECCV 2022) as RTMPose, DWPose and RTMW decode it (mmpose, Apache-2.0: `SimCCLabel`, `SimCC3DLabel`):
the best bin of each axis, without refinement and without half a bin added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats
from wholebody.runtime.spec import DepthSpec

__all__ = ["decode_depth", "decode_simcc"]


def decode_simcc(simcc_x: NDArray[Any], simcc_y: NDArray[Any], split: float) -> tuple[Floats, Floats]:
    """Keypoints (N, K, 2) in crop pixels and their scores (N, K), float32.

    simcc_x (N, K, split * width), simcc_y (N, K, split * height), raw logits with `split` bins a pixel. A
    score is the lesser of the two best logits, as it is: it may exceed 1. A keypoint whose score is not above
    0 was not seen: score 0, NaN coordinates.
    """
    (x, best_x), (y, best_y) = _peaks(simcc_x), _peaks(simcc_y)
    keypoints = np.stack([x, y], axis=-1).astype(np.float32) / np.float32(split)
    scores: Floats = np.minimum(best_x, best_y).astype(np.float32, copy=False)
    unseen = ~(scores > 0)  # a NaN among the logits as well
    keypoints[unseen], scores[unseen] = np.nan, 0
    return keypoints, scores


def decode_depth(simcc_z: NDArray[Any], depth: DepthSpec) -> Floats:
    """(N, K) float32 metres behind the middle of the hips, negative in front; simcc_z (N, K, bins).

    The bins span -range to +range, the middle one is 0 (RTMW3D). A popular port divides by the crop's height
    where training took the depth of the crop's own volume: it flattens people to 3/4 and moves them towards
    the camera.
    """
    z: Floats = (simcc_z.argmax(axis=2) * np.float32(2 / depth.bins) - 1) * np.float32(depth.range)
    return z.astype(np.float32, copy=False)


def _peaks(simcc: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """(N, K) best bin of every keypoint and its logit; of equal ones the first."""
    bins = simcc.argmax(axis=2)
    return bins, np.take_along_axis(simcc, bins[..., None], axis=2)[..., 0]
