"""A task besides the network's own, dropped after the training: where every joint is, as heat maps over C4.

A region teaches the trunk through one averaged vector; a heat map teaches every cell of it. Loss: Zhou et
al., "Objects as points", 2019, equation 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.runtime.skeletons import DOPE

__all__ = ["HeatmapHead", "heatmap_loss", "heatmaps"]

SPREAD = 0.05  # of the part's longer side: the deviation of a joint's bump
LEAST_SPREAD = 0.6  # cells
RARE = -4.6  # the logit of one joint in a hundred cells
WEIGHT = 0.3


class HeatmapHead(nn.Module):
    """(B, C, h, w) features -> (B, 139, h, w) logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, len(DOPE), 1)
        nn.init.normal_(self.conv.weight, std=0.01)
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, RARE)

    def forward(self, features: Tensor) -> Tensor:
        heat: Tensor = self.conv(features)
        return heat


def heatmaps(keypoints: Tensor, visible: Tensor, rows: int, columns: int, stride: int) -> Tensor:
    """(B, P, 139, 2) pixels, (B, P, 139) bool -> (B, 139, rows, columns): 1 where a visible joint is."""
    batch, people = visible.shape[:2]
    heat = keypoints.new_zeros(batch, len(DOPE), rows, columns)
    if not people:
        return heat
    spread = torch.empty_like(keypoints[..., 0])
    for where in DOPE.parts.values():
        part = keypoints[:, :, where]
        side = (part.amax(dim=2) - part.amin(dim=2)).amax(dim=2, keepdim=True)
        spread[:, :, where] = (SPREAD * side / stride).clamp(min=LEAST_SPREAD)
    # Padded as it is, the trunk puts cell i at pixel stride * i. The peak lies on a cell, so that it is 1.
    nearest = (keypoints / stride).round()
    x = _bumps(columns, nearest[..., 0].clamp(0, columns - 1), spread)
    y = _bumps(rows, nearest[..., 1].clamp(0, rows - 1), spread) * visible[..., None]
    for person in range(people):
        heat = torch.maximum(heat, y[:, person, :, :, None] * x[:, person, :, None, :])
    return heat


def _bumps(cells: int, peak: Tensor, spread: Tensor) -> Tensor:
    """(B, P, 139, cells): Gaussians of height 1 along one axis."""
    distance = (torch.arange(cells, device=peak.device) - peak[..., None]) / spread[..., None]
    return (-(distance**2) / 2).exp()


def heatmap_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Penalty-reduced focal loss of (B, 139, h, w) logits, per joint in the picture."""
    peak = truth > 0.999
    probability = logits.sigmoid()
    found = -F.logsigmoid(logits) * (1 - probability) ** 2 * peak
    absent = -F.logsigmoid(-logits) * probability**2 * (1 - truth) ** 4 * ~peak
    return WEIGHT * (found + absent).sum() / peak.sum().clamp(min=1)
