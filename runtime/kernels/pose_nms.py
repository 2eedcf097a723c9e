"""Non-maximum suppression of poses: the quick alternative to pose-proposal integration (DOPE, ECCV 2020)."""

from __future__ import annotations

from wholebody.runtime.boxes import grow_boxes, pose_extent, suppress
from wholebody.runtime.kernels.proposals import Candidates, Detections, Part

__all__ = ["pose_nms"]

MARGIN = 0.1  # of a pose's width and height, on every side


def pose_nms(candidates: Candidates, part: Part, K: int, iou_threshold: float = 0.1) -> Detections:
    """The best of every set of candidates whose poses' boxes overlap by more than `iou_threshold`.

    `candidates` are those of `select_best_class`; hands of a class below K are right hands.
    """
    boxes = pose_extent(candidates.pose2d)
    kept = suppress(grow_boxes(boxes, MARGIN), candidates.score, iou_threshold)
    label = candidates.label[kept]
    return Detections(
        score=candidates.score[kept],
        pose2d=candidates.pose2d[kept],
        pose3d=candidates.pose3d[kept],
        label=label,
        is_right=label < K if part == "hand" else None,
        box=boxes[kept],
    )
