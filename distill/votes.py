"""A second task besides the network's own: cells inside a body, hand or face say where its joints are.

Each cell learns the whole pose, in 2D relative to itself and in 3D, so that what a region averages is worth
averaging. Dropped after the training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.distill.targets import PartTensors
from wholebody.export.students.dope import DELTA_SCALE, JOINTS, PARTS

__all__ = ["VoteHead", "vote_losses"]

CELLS = 96  # voters a picture and part


class VoteHead(nn.Module):
    """(n, C) features of single cells -> (n, J, 5) votes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({part: nn.Linear(channels, JOINTS[part] * 5) for part in PARTS})

    def forward(self, cells: Tensor, part: str) -> Tensor:
        votes: Tensor = self.parts[part](cells)
        return votes.reshape(len(cells), JOINTS[part], 5)


def vote_losses(
    head: VoteHead, features: Tensor, truths: list[PartTensors], stride: int, part: str, metric_weight: float
) -> Tensor:
    """Smooth L1 of the votes of some cells of each picture: features (B, C, h, w), one part's truths."""
    _, channels, height, width = features.shape
    rows = [_voters(truth, height, width, stride) for truth in truths]
    index = [i * height * width + cell[:, 1] * width + cell[:, 0] for i, (cell, _) in enumerate(rows)]
    chosen = features.permute(0, 2, 3, 1).reshape(-1, channels)[torch.cat(index)]
    votes: Tensor = head(chosen.float(), part)
    if not len(chosen):
        return votes.sum()  # zero, but every process has the same gradients to average
    flat, solid, weight = [], [], []
    for truth, (cell, instance) in zip(truths, rows, strict=True):
        extent = (truth.boxes[instance, 2:] - truth.boxes[instance, :2])[:, None]
        flat.append((truth.pose2d[instance] - _pixels(cell, stride)[:, None]) / extent)
        solid.append(truth.pose3d[instance])
        weight.append(truth.weight[instance])
    target = torch.cat([torch.cat(flat), torch.cat(solid)], dim=2) * DELTA_SCALE
    each = F.smooth_l1_loss(votes, target, beta=0.1, reduction="none")
    joint = each[..., :2].mean(dim=2) + metric_weight * each[..., 2:].mean(dim=2)
    weights = torch.cat(weight)
    return (joint * weights).sum() / weights.sum()


def _voters(truth: PartTensors, rows: int, columns: int, stride: int) -> tuple[Tensor, Tensor]:
    """Up to CELLS cells (x, y) inside a box, and whose: of boxes that overlap, the smallest."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cells = torch.stack([x, y], dim=-1).reshape(-1, 2)
    if not len(truth.boxes):
        return cells[:0], torch.zeros(0, dtype=torch.int64)
    at = _pixels(cells, stride)[:, None]
    inside = ((at >= truth.boxes[None, :, :2]) & (at <= truth.boxes[None, :, 2:])).all(dim=2)
    area = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(dim=1)
    smallest, whose = torch.where(inside, area[None], torch.inf).min(dim=1)
    hit = torch.nonzero(torch.isfinite(smallest))[:, 0]
    hit = hit[torch.randperm(len(hit))[:CELLS]]
    return cells[hit], whose[hit]


def _pixels(cells: Tensor, stride: int) -> Tensor:
    """The centres of cells in pixels of the picture: padded as it is, the trunk puts cell i at stride * i."""
    return cells * float(stride)
