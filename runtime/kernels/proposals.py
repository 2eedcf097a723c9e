"""From the scores and poses of a proposal network to the candidates and detections of one part.

A network gives each of N boxes a distribution over K anchor-pose classes (and background, class 0), and one
refined pose per class. A candidate is one (box, class) pair; a detection is one person's body, hand or face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import DOPE_BODY, DOPE_FACE, DOPE_HAND

__all__ = ["JOINTS", "PARTS", "Candidates", "Detections", "Part", "select_best_class", "select_candidates"]

Part = Literal["body", "hand", "face"]
PARTS: tuple[Part, ...] = ("body", "hand", "face")
JOINTS: Mapping[Part, int] = MappingProxyType(
    {"body": len(DOPE_BODY), "hand": len(DOPE_HAND), "face": len(DOPE_FACE)}
)


@dataclass(frozen=True, eq=False)
class Candidates:
    """M (box, class) pairs in box-major order.

    score   (M,) float32
    label   (M,) int64, class without background, from 0
    box     (M, 4) float32, x0 y0 x1 y1 in pixels
    pose2d  (M, J, 2) float32, pixels
    pose3d  (M, J, 3) float32, metres, in the network's own axes
    """

    score: Floats
    label: NDArray[np.int64]
    box: Floats
    pose2d: Floats
    pose3d: Floats

    def __len__(self) -> int:
        return len(self.score)

    def scaled(self, sx: float, sy: float) -> Candidates:
        """The same candidates with pixels multiplied by (sx, sy): network input to source picture."""
        scale = np.array([sx, sy], np.float32)
        box = self.box * np.concatenate([scale, scale])
        return Candidates(self.score, self.label, box, self.pose2d * scale, self.pose3d)


@dataclass(frozen=True, eq=False)
class Detections:
    """P bodies, hands or faces, best score first.

    score     (P,) float32; pose-proposal integration sums scores, so that it may exceed 1
    pose2d    (P, J, 2) float32, pixels
    pose3d    (P, J, 3) float32, metres, in the network's own axes
    label     (P,) int64, the class of the best-scored candidate in it
    is_right  (P,) bool for hands, else None
    box       (P, 4) float32, the extent of pose2d
    """

    score: Floats
    pose2d: Floats
    pose3d: Floats
    label: NDArray[np.int64]
    is_right: NDArray[np.bool_] | None
    box: Floats

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls, part: Part) -> Detections:
        """None found: every array has length zero."""
        return cls(
            score=np.zeros(0, np.float32),
            pose2d=np.zeros((0, JOINTS[part], 2), np.float32),
            pose3d=np.zeros((0, JOINTS[part], 3), np.float32),
            label=np.zeros(0, np.int64),
            is_right=np.zeros(0, np.bool_) if part == "hand" else None,
            box=np.zeros((0, 4), np.float32),
        )


def select_candidates(
    scores: NDArray[Any],
    boxes: NDArray[Any],
    pose2d: NDArray[Any],
    pose3d: NDArray[Any],
    score_th: float | None = None,
) -> Candidates:
    """Every (box, class) whose score reaches `score_th` (None: 0.1 / number of classes without background).

    scores (N, K+1) with background first, boxes (N, 4), pose2d (N, K, J, 2), pose3d (N, K, J, 3), in pixels
    and metres. Only the chosen poses are copied.
    """
    threshold = 0.1 / (scores.shape[1] - 1) if score_th is None else score_th
    box, label = np.nonzero(scores[:, 1:] >= np.float32(threshold))
    return _gather(box, label, scores, boxes, pose2d, pose3d)


def select_best_class(
    scores: NDArray[Any],
    boxes: NDArray[Any],
    pose2d: NDArray[Any],
    pose3d: NDArray[Any],
    score_th: float = 0.3,
) -> Candidates:
    """The best class of every box, if its score reaches `score_th`; arrays as for `select_candidates`."""
    label = scores[:, 1:].argmax(axis=1)
    box = np.flatnonzero(scores[np.arange(len(scores)), label + 1] >= np.float32(score_th))
    return _gather(box, label[box], scores, boxes, pose2d, pose3d)


def _gather(
    box: NDArray[np.intp],
    label: NDArray[np.intp],
    scores: NDArray[Any],
    boxes: NDArray[Any],
    pose2d: NDArray[Any],
    pose3d: NDArray[Any],
) -> Candidates:
    return Candidates(
        score=scores[box, label + 1].astype(np.float32, copy=False),
        label=label.astype(np.int64, copy=False),
        box=boxes[box].astype(np.float32, copy=False),
        pose2d=pose2d[box, label].astype(np.float32, copy=False),
        pose3d=pose3d[box, label].astype(np.float32, copy=False),
    )
