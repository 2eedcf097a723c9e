"""Anchor poses by clustering: K typical poses per part, each a normalised 2D pose and a centred 3D pose.

LCR-Net's idea, which DOPE keeps (section 3): a class is a cluster of poses. Bodies are clustered apart where
the legs are outside the picture (K full, then K upper-body classes), hands by side (K right, then K left).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.truth import PartTruth

__all__ = ["GROUPS", "anchor_poses", "nearest_anchor", "pose_features"]

Floats = NDArray[np.float32]
GROUPS = {"body": 2, "hand": 2, "face": 1}
METRES = {"body": 1.0, "hand": 0.1, "face": 0.1}  # what counts as much in 3D as a box side in 2D


def pose_features(truth: PartTruth) -> Floats:
    """(n, J, 5): the 2D pose in units of its box, then the 3D pose in metres: the layout of anchor poses."""
    corner, extent = (
        truth.boxes[:, None, :2],
        np.maximum(truth.boxes[:, None, 2:] - truth.boxes[:, None, :2], 1),
    )
    return np.concatenate([(truth.pose2d - corner) / extent, truth.pose3d], axis=2).astype(np.float32)


def anchor_poses(part: str, truths: Sequence[PartTruth], classes: int, seed: int) -> Floats:
    """(K, J, 5) cluster centres over many pictures, group by group (k-means++).

    Raises ValueError where a group has fewer poses than classes.
    """
    poses = np.concatenate([pose_features(t)[~t.ignore] for t in truths])
    groups = np.concatenate([t.group[~t.ignore] for t in truths])
    each = classes // GROUPS[part]
    centres = []
    for group in range(GROUPS[part]):
        members = poses[groups == group]
        if len(members) < each:
            raise ValueError(
                f"{part}: {len(members)} poses of group {group} for {each} classes; cluster more scenes"
            )
        cv2.setRNGSeed(seed + group)
        rule = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)
        data = _flat(part, members)
        labels = np.zeros((len(members), 1), np.int32)
        _, labels, _ = cv2.kmeans(data, each, labels, rule, 4, cv2.KMEANS_PP_CENTERS)  # type: ignore[assignment]
        centres += [members[labels[:, 0] == k].mean(axis=0) for k in range(each)]
    return np.stack(centres).astype(np.float32)


def nearest_anchor(part: str, truth: PartTruth, anchors: Floats) -> NDArray[np.int64]:
    """(n,) the class of each instance: the nearest anchor pose of its own group."""
    each = len(anchors) // GROUPS[part]
    poses, centres = _flat(part, pose_features(truth)), _flat(part, anchors)
    distance = ((poses[:, None] - centres) ** 2).sum(axis=2)
    distance[np.arange(len(anchors))[None] // each != truth.group[:, None]] = np.inf
    nearest: NDArray[np.int64] = distance.argmin(axis=1)
    return nearest


def _flat(part: str, poses: Floats) -> Floats:
    """(n, J, 5) poses as (n, J * 5) vectors whose plain distance counts."""
    weights = np.array([1, 1, *[1 / METRES[part]] * 3], np.float32)
    flat: Floats = (poses * weights).reshape(len(poses), poses.shape[1] * 5)
    return flat
