"""What a DOPE network should find in a picture: a box, pose and class group for every body, hand and face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.skeletons import DOPE

__all__ = ["PartTruth", "part_truths"]

Floats = NDArray[np.float32]
BOX_MARGIN = 0.1  # of the pose's extent, on every side: the margin DOPE's own pose boxes have

# Smaller or more hidden than this, an instance is neither to be found nor to be punished when found.
MIN_SIDE = {"body": 32.0, "hand": 20.0, "face": 16.0}  # pixels, longer side of the box
MIN_VISIBLE = {"body": 0.2, "hand": 0.35, "face": 0.3}  # share of the joints
TORSO = [4, 5, 10, 11]
LEGS = [0, 1, 2, 3]


@dataclass(frozen=True, eq=False)
class PartTruth:
    """The n instances of one part in one picture.

    boxes (n, 4) and pose2d (n, J, 2) in pixels; pose3d (n, J, 3) metres around the part's centre in the
    network's convention (body x and y negated: y up); visible (n, J) bool; group (n,) int64: the body's 0
    full, 1 legs outside the picture, the hand's 0 right, 1 left; ignore (n,) bool: too small or too hidden to
    judge.
    """

    boxes: Floats
    pose2d: Floats
    pose3d: Floats
    visible: NDArray[np.bool_]
    group: NDArray[np.int64]
    ignore: NDArray[np.bool_]


def part_truths(
    keypoints: Floats, keypoints3d: Floats, visible: NDArray[np.bool_], height: int, width: int
) -> dict[str, PartTruth]:
    """(P, 139, 2) pixels, (P, 139, 3) metres in the camera's axes and (P, 139) bool -> truth per part."""
    body, face, left, right = (DOPE.parts[name] for name in ("body", "face", "left_hand", "right_hand"))
    inside = np.all((keypoints >= 0) & (keypoints <= (width - 1, height - 1)), axis=-1)

    def part(name: str, where: slice, group: NDArray[np.int64]) -> PartTruth:
        pose2d, pose3d, seen = keypoints[:, where], keypoints3d[:, where], visible[:, where]
        centre = pose3d[:, TORSO] if name == "body" else pose3d
        pose3d = pose3d - centre.mean(axis=1, keepdims=True)
        if name == "body":
            pose3d = pose3d * np.array([-1, -1, 1], np.float32)
        boxes = _boxes(pose2d, height, width)
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        ignore = (sides < MIN_SIDE[name]) | (seen.mean(axis=1) < MIN_VISIBLE[name])
        return PartTruth(boxes, pose2d, pose3d, seen, group, ignore)

    people = np.zeros(len(keypoints), np.int64)
    legless = (~inside[:, body][:, LEGS]).all(axis=1).astype(np.int64)
    return {
        "body": part("body", body, legless),
        "hand": _join(part("hand", right, people), part("hand", left, np.ones_like(people))),
        "face": part("face", face, people),
    }


def _boxes(pose2d: Floats, height: int, width: int) -> Floats:
    low, high = pose2d.min(axis=1), pose2d.max(axis=1)
    margin = BOX_MARGIN * (high - low)
    boxes = np.concatenate([low - margin, high + margin], axis=1)
    clipped: Floats = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return clipped.astype(np.float32)


def _join(a: PartTruth, b: PartTruth) -> PartTruth:
    return PartTruth(
        *(
            np.concatenate([getattr(a, f), getattr(b, f)])
            for f in ("boxes", "pose2d", "pose3d", "visible", "group", "ignore")
        )
    )
