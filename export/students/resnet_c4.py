"""ResNet bottleneck trunk, split as DOPE uses it: C1..C4 on the picture, C5 on each region of interest.

He et al., "Deep residual learning for image recognition", 2016; the stride sits on the 3x3 convolution (as in
every published DOPE checkpoint).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ResNetC4"]

EXPANSION = 4
HEAD_CELLS = 4  # C5 of a 7 x 7 region is 4 x 4


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand, plus the shortcut: (B, C, H, W) -> (B, 4 width, H / s, W / s)."""

    def __init__(self, channels: int, width: int, stride: int, eps: float) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out, eps)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out, eps))
            if stride != 1 or channels != out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNetC4(nn.Module):
    """`features` gives C4 of the picture, `head` gives one vector per pooled region.

    width is 64 and blocks are (3, 4, 6, 3) in ResNet-50. c4_stride 16 is the published network; 8 keeps the
    third stage at the second's resolution, for small students whose hands would else fall into one cell.
    """

    def __init__(
        self,
        width: int,
        blocks: tuple[int, int, int, int],
        c4_stride: int,
        eps: float,
        cell_width: int | None = None,
    ) -> None:
        super().__init__()
        if c4_stride not in (8, 16):
            raise ValueError(f"c4_stride must be 8 or 16, got {c4_stride}")
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.layer1 = _stage(width, width, blocks[0], 1, eps)
        self.layer2 = _stage(width * 4, width * 2, blocks[1], 2, eps)
        self.layer3 = _stage(width * 8, width * 4, blocks[2], c4_stride // 8, eps)
        self.layer4 = _stage(width * 16, width * 8, blocks[3], 2, eps)
        self.c4_channels = width * 16
        self.head_channels = width * 32 if cell_width is None else cell_width * HEAD_CELLS**2
        self.cells = None if cell_width is None else nn.Conv2d(width * 32, cell_width, 1)

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised picture -> (B, 16 * width, H / c4_stride, W / c4_stride)."""
        x = torch.relu(self.bn1(self.conv1(image)))
        x = nn.functional.max_pool2d(x, 3, 2, padding=1)
        c4: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return c4

    def head(self, regions: Tensor) -> Tensor:
        """(N, 16 * width, 7, 7) pooled regions -> (N, head_channels)."""
        x: Tensor = self.layer4(regions)
        if self.cells is not None:
            x = self.cells(x)
            return x.flatten(1)
        return nn.functional.avg_pool2d(x, x.shape[2:]).flatten(1)


def _stage(channels: int, width: int, blocks: int, stride: int, eps: float) -> nn.Sequential:
    first = Bottleneck(channels, width, stride, eps)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, 1, eps) for _ in range(blocks - 1)))
