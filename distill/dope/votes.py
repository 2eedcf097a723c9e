"""A second task besides the network's own: cells inside a body, hand or face say where its joints are.

Each cell learns the whole pose, in 2D relative to itself and in 3D, so that what a region averages is worth
averaging. Dropped after the training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.distill.dope.choice import choose, rows
from wholebody.distill.dope.targets import PartTensors
from wholebody.export.students.dope import DELTA_SCALE, JOINTS, PARTS

__all__ = ["VoteHead", "vote_loss"]

CELLS = 96  # voters a picture and part


class VoteHead(nn.Module):
    """(..., C) features of single cells -> (..., J, 5) votes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({part: nn.Linear(channels, JOINTS[part] * 5) for part in PARTS})

    def forward(self, cells: Tensor, part: str) -> Tensor:
        votes: Tensor = self.parts[part](cells)
        return votes.reshape(*cells.shape[:-1], JOINTS[part], 5)


def vote_loss(
    head: VoteHead, features: Tensor, truth: PartTensors, stride: int, part: str, metric_weight: float
) -> Tensor:
    """Smooth L1 of the votes of some cells of each picture: features (B, C, h, w), one part's truth."""
    if not truth.boxes.shape[1]:
        nothing: Tensor = head(features[:1, :, 0, 0].float(), part).sum() * 0
        return nothing
    cells = _cells(features, stride)
    inside, whose = _voters(cells, truth.boxes)
    chosen, real = choose(inside, CELLS)  # (B, CELLS)
    at, instance = cells[chosen], whose.gather(1, chosen)
    flat = features.flatten(2).transpose(1, 2)  # (B, h * w, C)
    votes = head(rows(flat, chosen).float(), part)
    boxes = rows(truth.boxes, instance)
    extent = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1)[:, :, None]
    pose2d = (rows(truth.pose2d, instance) - at[:, :, None]) / extent
    target = torch.cat([pose2d, rows(truth.pose3d, instance)], dim=-1) * DELTA_SCALE
    each = F.smooth_l1_loss(votes, target, beta=0.1, reduction="none")
    joint = each[..., :2].mean(dim=-1) + metric_weight * each[..., 2:].mean(dim=-1)
    weight = rows(truth.weight, instance) * real[..., None]
    return (joint * weight).sum() / weight.sum().clamp(min=1)


def _cells(features: Tensor, stride: int) -> Tensor:
    """(h * w, 2) pixels x, y of the cells: padded as it is, the trunk puts cell i at stride * i."""
    rows, columns = (torch.arange(n, device=features.device) * float(stride) for n in features.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def _voters(cells: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(B, h * w) whether a cell lies inside a box, and in whose: of boxes that overlap, the smallest."""
    at, boxes = cells[None, :, None], boxes[:, None]
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    inside = ((at >= boxes[..., :2]) & (at <= boxes[..., 2:])).all(dim=-1) & (area > 0)
    smallest, whose = torch.where(inside, area, torch.inf).min(dim=2)
    return smallest.isfinite(), whose
