"""The truth of a batch of pictures as tensors of one shape: pictures with fewer instances are filled up.

A filling box has no area, so that nothing overlaps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wholebody.benchmarks.synthetic.truth import PartTruth
from wholebody.distill.dope.anchor_poses import Floats, nearest_anchor
from wholebody.export.students.dope import PARTS

__all__ = ["PartTensors", "Truth", "all_boxes", "all_ignored", "picture_truth", "stack", "to_device"]

HIDDEN_WEIGHT = 0.4  # of a joint that cannot be seen


class PartTensors(NamedTuple):
    """One part's n instances a picture; without the leading B where it is of a single picture."""

    boxes: Tensor  # (B, n, 4)
    pose2d: Tensor  # (B, n, J, 2) pixels
    pose3d: Tensor  # (B, n, J, 3) metres
    weight: Tensor  # (B, n, J) 1 where visible
    label: Tensor  # (B, n) class, 0-based
    ignored: Tensor  # (B, m, 4) boxes that count neither way


Truth = dict[str, PartTensors]


def picture_truth(truths: Mapping[str, PartTruth], anchors: Mapping[str, Floats]) -> Truth:
    """One picture's truth with each instance's class, the nearest anchor pose of (K, J, 5) per part."""
    return {part: _tensors(part, truths[part], anchors[part]) for part in PARTS}


def _tensors(part: str, truth: PartTruth, anchors: Floats) -> PartTensors:
    keep = ~truth.ignore
    hidden = ~truth.visible.any(axis=1)  # nothing of it is in the picture: background
    arrays = (
        truth.boxes[keep],
        truth.pose2d[keep],
        truth.pose3d[keep],
        np.where(truth.visible[keep], 1.0, HIDDEN_WEIGHT).astype(np.float32),
        nearest_anchor(part, truth, anchors)[keep],
        truth.boxes[truth.ignore & ~hidden],
    )
    return PartTensors(*(torch.from_numpy(array) for array in arrays))


def stack(truths: Sequence[Truth]) -> Truth:
    """One truth of many pictures."""
    return {
        part: PartTensors(*(pad_sequence(list(f), batch_first=True) for f in zip(*parts, strict=True)))
        for part in PARTS
        for parts in [[truth[part] for truth in truths]]
    }


def to_device(truth: Truth, device: torch.device) -> Truth:
    return {part: PartTensors(*(t.to(device, non_blocking=True) for t in truth[part])) for part in PARTS}


def all_boxes(truth: Truth) -> Tensor:
    """(B, n, 4): every part's."""
    return torch.cat([truth[part].boxes for part in PARTS], dim=1)


def all_ignored(truth: Truth) -> Tensor:
    """(B, m, 4): every part's."""
    return torch.cat([truth[part].ignored for part in PARTS], dim=1)
