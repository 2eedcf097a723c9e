"""The truth of one picture as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wholebody.benchmarks.synthetic.truth import PartTruth
from wholebody.distill.anchor_poses import nearest_anchor
from wholebody.export.students.dope import PARTS, Dope

__all__ = ["PartTensors", "PictureTruth"]

HIDDEN_WEIGHT = 0.4  # of a joint that cannot be seen


class PartTensors(NamedTuple):
    boxes: Tensor  # (n, 4)
    pose2d: Tensor  # (n, J, 2) pixels
    pose3d: Tensor  # (n, J, 3) metres
    weight: Tensor  # (n, J) 1 where visible
    label: Tensor  # (n,) class, 0-based
    ignored: Tensor  # (m, 4) boxes that count neither way


@dataclass(frozen=True)
class PictureTruth:
    """The truth of one picture as tensors, with each instance's anchor pose class."""

    parts: dict[str, PartTensors]

    @classmethod
    def of(cls, truths: dict[str, PartTruth], network: Dope) -> PictureTruth:
        parts = {}
        for name, truth in truths.items():
            keep, anchors = ~truth.ignore, getattr(network, f"{name}_anchor_poses").numpy()
            weight = np.where(truth.visible[keep], 1.0, HIDDEN_WEIGHT).astype(np.float32)
            arrays = (truth.boxes[keep], truth.pose2d[keep], truth.pose3d[keep], weight)
            label = nearest_anchor(name, truth, anchors)[keep]
            hidden = ~truth.visible.any(axis=1)  # nothing of it is in the picture: background
            ignored = torch.from_numpy(truth.boxes[truth.ignore & ~hidden])
            boxes, pose2d, pose3d, weights = (torch.from_numpy(array) for array in arrays)
            parts[name] = PartTensors(boxes, pose2d, pose3d, weights, torch.from_numpy(label), ignored)
        return cls(parts)

    @property
    def boxes(self) -> Tensor:
        return torch.cat([self.parts[p].boxes for p in PARTS])

    @property
    def ignored(self) -> Tensor:
        return torch.cat([self.parts[p].ignored for p in PARTS])
