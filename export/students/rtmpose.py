"""RTMPose and DWPose: one person's crop to a distribution of each keypoint over the crop's columns and rows.

Jiang et al., "RTMPose: real-time multi-person pose estimation based on MMPose", 2023 (network); Yang et al.,
"Effective whole-body pose estimation with two-stages distillation", 2023 (DWPose: the same network, better
taught); Li et al., "SimCC", 2022 (coordinates as classification). Keys of the `state_dict` are the published
ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wholebody.export.students.cspnext import STRIDE, CspNext, channels_of

__all__ = ["MEAN", "RTMPOSE", "STD", "RtmPose", "RtmPoseConfig", "SimCC"]

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of RGB in 0..255
NORM_FLOOR = 1e-5  # least norm that ScaleNorm divides by
FRACTIONS = ("deepen", "widen", "split", "expansion", "bn_eps")
MOST, MOST_FRACTION = 10_000, 16  # nothing is larger; a damaged number would only fill the memory


@dataclass(frozen=True)
class RtmPoseConfig:
    """Size and conventions of the network; the defaults are those of every published one.

    deepen, widen     factors of the trunk's blocks and channels
    height, width     of the crop in pixels, multiples of 32
    split             SimCC bins a pixel
    kernel            of the convolution that makes one map a keypoint, odd
    hidden, key       channels of a keypoint's vector, and of its query and key in the attention
    expansion         how much wider the attention's values are than `hidden`

    Raises ValueError, naming the field, for a number that is none or out of range.
    """

    deepen: float
    widen: float
    height: int
    width: int
    joints: int = 133
    split: float = 2.0
    kernel: int = 7
    hidden: int = 256
    key: int = 128
    expansion: float = 2.0
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check_number(entry.name, getattr(self, entry.name))
        if self.height % STRIDE or self.width % STRIDE:
            raise ValueError(f"the crop is {self.height}x{self.width}; allowed are multiples of {STRIDE}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; allowed is an odd number")
        if min(channels_of(self.widen)) < 2:
            raise ValueError(f"widen is {self.widen}; allowed is {2 / 64} or more")

    @property
    def cells(self) -> int:
        """Of the trunk's last map."""
        return (self.height // STRIDE) * (self.width // STRIDE)

    @property
    def bins(self) -> tuple[int, int]:
        """SimCC bins in x and in y."""
        return int(self.width * self.split), int(self.height * self.split)


def _check_number(name: str, value: float) -> None:
    """Above zero; the fields of FRACTIONS need not be whole."""
    kinds, most = ((int, float), MOST_FRACTION) if name in FRACTIONS else ((int,), MOST)
    if type(value) not in kinds or not 0 < value <= most:
        raise ValueError(f"{name} is {value!r:.80}; allowed is {kinds[-1].__name__} above 0, to {most}")


SIZES = {"t": (0.167, 0.375), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
RTMPOSE: Mapping[str, RtmPoseConfig] = MappingProxyType({
    f"{size}-{height}x{width}": RtmPoseConfig(deepen, widen, height, width)
    for height, width in ((256, 192), (384, 288))
    for size, (deepen, widen) in SIZES.items()
})  # fmt: skip


class SimCC(NamedTuple):
    """Logits of N crops: bin b of K keypoints stands for coordinate b / split in crop pixels."""

    simcc_x: Tensor  # (N, K, split * width)
    simcc_y: Tensor  # (N, K, split * height)


class ScaleNorm(nn.Module):
    """A vector divided by its root mean square, times one learnt number; in FP32 whatever comes in.

    The sum of squares of a long vector leaves FP16's range.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = channels**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        norm: Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True) * self.scale
        scaled: Tensor = wide / norm.clamp(min=NORM_FLOOR) * self.g
        return scaled.to(x.dtype)


class Scale(nn.Module):
    """A learnt factor of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class GatedAttentionUnit(nn.Module):
    """Self-attention among keypoints: (N, K, hidden) -> (N, K, hidden).

    Hua et al., "Transformer quality in linear time", 2022; with relu squared instead of a softmax, and
    neither dropout nor a position bias, as in every published checkpoint.
    """

    def __init__(self, hidden: int, key: int, expansion: float) -> None:
        super().__init__()
        self.widths = int(hidden * expansion), int(hidden * expansion), key
        self.gamma = nn.Parameter(torch.rand(2, key))
        self.beta = nn.Parameter(torch.rand(2, key))
        self.uv = nn.Linear(hidden, sum(self.widths), bias=False)
        self.o = nn.Linear(self.widths[0], hidden, bias=False)
        self.ln = ScaleNorm(hidden)
        self.res_scale = Scale(hidden)

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = torch.split(nn.functional.silu(self.uv(self.ln(x))), list(self.widths), dim=2)
        query, key = (base * gamma + beta for gamma, beta in zip(self.gamma, self.beta, strict=True))
        y: Tensor = self.o(gate * attend(query, key, value))
        shortcut: Tensor = self.res_scale(x)
        return shortcut + y


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(N, K, s), (N, K, s), (N, K, e) -> (N, K, e) in value's type; a sum over all keypoints, not a mean.

    Its weights are squares, so it computes in FP32 under autocast too.
    """
    with _no_autocast(query):
        products = torch.bmm(query.float(), key.float().transpose(1, 2))
        similar = torch.relu(products / math.sqrt(query.shape[2]))
        return torch.bmm(similar * similar, value.float()).to(value.dtype)


def _no_autocast(x: Tensor) -> AbstractContextManager[object]:
    if torch.compiler.is_exporting() or not torch.amp.is_autocast_available(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


class RtmccHead(nn.Module):
    """(N, C, H / 32, W / 32) -> `SimCC`: a map a keypoint, a vector a map, attention, two classifiers."""

    def __init__(self, config: RtmPoseConfig, channels: int) -> None:
        super().__init__()
        c, (bins_x, bins_y) = config, config.bins
        self.final_layer = nn.Conv2d(channels, c.joints, c.kernel, padding=c.kernel // 2)
        self.mlp = nn.Sequential(ScaleNorm(c.cells), nn.Linear(c.cells, c.hidden, bias=False))
        self.gau = GatedAttentionUnit(c.hidden, c.key, c.expansion)
        self.cls_x = nn.Linear(c.hidden, bins_x, bias=False)
        self.cls_y = nn.Linear(c.hidden, bins_y, bias=False)
        self.apply(_initialise)

    def forward(self, features: Tensor) -> SimCC:
        vectors = self.gau(self.mlp(self.final_layer(features).flatten(2)))
        return SimCC(self.cls_x(vectors), self.cls_y(vectors))


def _initialise(module: nn.Module) -> None:
    """As published: narrow normal distributions."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class RtmPose(nn.Module):
    """Crops of people -> `SimCC`; `backbone` and `head` apart, for those who distil between them."""

    def __init__(self, config: RtmPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = CspNext(config.deepen, config.widen, config.bn_eps)
        self.head = RtmccHead(config, self.backbone.channels)

    def forward(self, image: Tensor) -> SimCC:
        """image (N, 3, height, width): RGB crops, normalised by MEAN and STD."""
        outputs: SimCC = self.head(self.backbone(image))
        return outputs
