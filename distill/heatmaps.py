"""A task besides the network's own, dropped after the training: where every joint is, as heat maps over C4.

A region teaches the trunk through one averaged vector; a heat map teaches every cell of it. Loss: Zhou et
al., "Objects as points", 2019, equation 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.runtime.skeletons import DOPE

__all__ = ["HeatmapHead", "heatmap_loss", "heatmaps"]

Floats = NDArray[np.float32]
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


def heatmaps(keypoints: Floats, visible: NDArray[np.bool_], rows: int, columns: int, stride: int) -> Tensor:
    """(P, 139, 2) pixels, (P, 139) bool -> (139, rows, columns): a bump of 1 at every visible joint."""
    spread = np.empty(keypoints.shape[:2], np.float32)
    for where in DOPE.parts.values():
        part = keypoints[:, where]
        side = (part.max(axis=1) - part.min(axis=1)).max(axis=1, keepdims=True)
        spread[:, where] = np.maximum(SPREAD * side / stride, LEAST_SPREAD)
    last = np.array([columns - 1, rows - 1], np.float32)
    # Padded as it is, the trunk puts cell i at pixel stride * i. The peak lies on a cell, so that it is 1.
    nearest = np.clip(np.round(keypoints / stride), 0, last).astype(np.float32)
    x = _bumps(columns, nearest[..., :1], spread)
    y = _bumps(rows, nearest[..., 1:], spread) * visible[..., None]
    heat = np.zeros((len(DOPE), rows, columns), np.float32)
    for down, across in zip(y, x, strict=True):
        np.maximum(heat, down[:, :, None] * across[:, None, :], out=heat)
    return torch.from_numpy(heat)


def _bumps(cells: int, peak: Floats, spread: Floats) -> Floats:
    """(P, 139, cells): Gaussians of height 1 along one axis."""
    distance = (np.arange(cells, dtype=np.float32) - peak) / spread[..., None]
    bumps: Floats = np.exp(-(distance**2) / 2)
    return bumps


def heatmap_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Penalty-reduced focal loss of (B, 139, h, w) logits, per joint in the picture."""
    peak = truth > 0.999
    probability = logits.sigmoid()
    found = -F.logsigmoid(logits) * (1 - probability) ** 2 * peak
    absent = -F.logsigmoid(-logits) * probability**2 * (1 - truth) ** 4 * ~peak
    return WEIGHT * (found + absent).sum() / peak.sum().clamp(min=1)
