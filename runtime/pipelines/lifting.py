"""Keypoints in metres from keypoints in pixels and depths in metres (RTMW3D).

The network tells how many metres a keypoint lies behind the hips, and at which pixel. How many metres a pixel
is, no picture tells. The published code takes the camera of its training set (a focal length of 1145 pixels,
hips 5.14 m away): a person of 100 pixels becomes 0.45 m tall, with the depth of an adult. Here the person
decides: a pixel is as wide as makes the bones, with the depths they have, most nearly as long as an adult's
(weak perspective; a child comes out too large in x and y).
"""

from __future__ import annotations

import numpy as np

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Lifter"]

# Metres at a stature of 1.70 m; Drillis and Contini, "Body segment parameters", 1966.
BONES = (
    ("shoulder", "elbow", 0.316),
    ("elbow", "wrist", 0.248),
    ("shoulder", "hip", 0.490),
    ("hip", "knee", 0.417),
    ("knee", "ankle", 0.418),
)


class Lifter:
    """`keypoints3d = lift(keypoints, depths)` for the people of one skeleton.

    Raises ArtefactError for a skeleton without shoulders, elbows, wrists, hips, knees and ankles.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        index = {name: number for number, name in enumerate(skeleton.joints)}
        try:
            self._hips = [index["left_hip"], index["right_hip"]]
            bones = [
                (index[f"{side}_{a}"], index[f"{side}_{b}"], metres)
                for a, b, metres in BONES
                for side in ("left", "right")
            ]
        except KeyError as joint:
            raise ArtefactError(f"{skeleton.name} has no {joint}: 3D needs a whole body") from None
        starts, ends, lengths = zip(*bones, strict=True)
        self._starts, self._ends = list(starts), list(ends)
        self._lengths = np.array(lengths, np.float32)

    def __call__(self, keypoints: Floats, depths: Floats) -> Floats:
        """(N, K, 3) float32 metres, x right, y down, z away from the camera, the middle of the hips at 0.

        keypoints (N, K, 2) source pixels, NaN where unseen; depths (N, K) metres. All of a person is NaN
        where a hip was not seen, or no bone that tells the scale.
        """
        flat = keypoints * self._metres_per_pixel(keypoints, depths)[:, None, None]
        points = np.concatenate([flat, depths[..., None]], axis=2)
        points[np.isnan(points).any(axis=2)] = np.nan
        lifted: Floats = points - points[:, self._hips].mean(axis=1, keepdims=True)
        return lifted

    def _metres_per_pixel(self, keypoints: Floats, depths: Floats) -> Floats:
        """(N,) the scale s with the least sum of ((s² pixels² + depth²) / length² - 1)² over the bones."""
        apart = keypoints[:, self._ends] - keypoints[:, self._starts]
        deep = depths[:, self._ends] - depths[:, self._starts]
        pixels = (apart * apart).sum(axis=2) / self._lengths**2
        missing = 1 - (deep / self._lengths) ** 2  # of the squared length, to be found across the picture
        square = np.nansum(pixels * pixels, axis=1)
        scale = np.divide(
            np.nansum(pixels * missing, axis=1), square, out=np.zeros_like(square), where=square > 0
        )
        metres: Floats = np.sqrt(np.where(scale > 0, scale, np.nan)).astype(np.float32)
        return metres
