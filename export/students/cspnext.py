"""CSPNeXt-P5, the trunk of RTMDet, RTMPose and DWPose: a picture to one map of a 32nd of its size.

Lyu et al., "RTMDet: an empirical study of designing real-time object detectors", 2022, section 3.1:
cross-stage-partial stages of a 3x3 convolution, then a depthwise 5x5, with channel attention. The names of
modules are those of the published checkpoints' keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["STRIDE", "CspNext", "blocks_of", "channels_of"]

STRIDE = 32  # of the last stage
CHANNELS = (64, 128, 256, 512, 1024)  # of the stem and the four stages, at width 1
BLOCKS = (3, 6, 6, 3)  # of the four stages, at depth 1
SPP_KERNELS = (5, 9, 13)


def channels_of(widen: float) -> tuple[int, ...]:
    """Channels of the stem and of the four stages."""
    return tuple(int(channels * widen) for channels in CHANNELS)


def blocks_of(deepen: float) -> tuple[int, ...]:
    """Blocks of the four stages."""
    return tuple(max(round(blocks * deepen), 1) for blocks in BLOCKS)


class ConvModule(nn.Module):
    """Convolution without bias, BatchNorm, SiLU; padded so that only the stride changes the size."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1, eps: float
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out, eps)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


class DepthwiseSeparable(nn.Module):
    """A 5x5 convolution of each channel alone, then a 1x1 across them."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(channels, channels, 5, groups=channels, eps=eps)
        self.pointwise_conv = ConvModule(channels, channels, 1, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return y


class Block(nn.Module):
    """3x3, depthwise 5x5, pointwise; plus the shortcut, which the last stage goes without."""

    def __init__(self, channels: int, shortcut: bool, eps: float) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3, eps=eps)
        self.conv2 = DepthwiseSeparable(channels, eps)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class ChannelAttention(nn.Module):
    """Each channel times a weight in 0..1, which all channels' means decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * nn.functional.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class CspLayer(nn.Module):
    """Half of the channels go through the blocks, half around them; attention weighs both."""

    def __init__(self, channels: int, blocks: int, shortcut: bool, eps: float) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvModule(channels, half, 1, eps=eps)
        self.short_conv = ConvModule(channels, half, 1, eps=eps)
        self.final_conv = ConvModule(2 * half, channels, 1, eps=eps)
        self.blocks = nn.Sequential(*(Block(half, shortcut, eps) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        y: Tensor = self.final_conv(self.attention(both))
        return y


class SpatialPyramidPooling(nn.Module):
    """The maxima of ever larger neighbourhoods beside the features themselves."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvModule(channels, half, 1, eps=eps)
        self.conv2 = ConvModule(half * (1 + len(SPP_KERNELS)), channels, 1, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pools = [nn.functional.max_pool2d(x, kernel, 1, kernel // 2) for kernel in SPP_KERNELS]
        y: Tensor = self.conv2(torch.cat([x, *pools], dim=1))
        return y


class CspNext(nn.Module):
    """(B, 3, H, W) normalised picture -> (B, int(1024 * widen), H / 32, W / 32), the last stage's."""

    def __init__(self, deepen: float, widen: float, eps: float = 1e-5) -> None:
        super().__init__()
        first, *wider = channels_of(widen)
        thin = int(CHANNELS[0] * widen / 2)
        self.stem = nn.Sequential(
            ConvModule(3, thin, 3, 2, eps=eps),
            ConvModule(thin, thin, 3, eps=eps),
            ConvModule(thin, first, 3, eps=eps),
        )
        stages = zip([first, *wider], wider, blocks_of(deepen), strict=False)
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            _stage(channels, out, blocks, out == wider[-1], eps) for channels, out, blocks in stages
        )
        self.channels = wider[-1]

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(image)))))
        return features


def _stage(channels: int, out: int, blocks: int, last: bool, eps: float) -> nn.Sequential:
    pooling = [SpatialPyramidPooling(out, eps)] if last else []
    return nn.Sequential(
        ConvModule(channels, out, 3, 2, eps=eps),
        *pooling,
        CspLayer(out, blocks, shortcut=not last, eps=eps),
    )
