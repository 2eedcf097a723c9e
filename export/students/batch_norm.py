"""BatchNorm is frozen at inference, so it can be written into the convolution before it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

__all__ = ["fold_batch_norm"]


def fold_batch_norm(module: nn.Module) -> None:
    """Write every BatchNorm's running statistics into the convolution before it, in place; float64 inside."""
    for (name, child), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, _folded(child, norm))
            setattr(module, norm_name, nn.Identity())
    for _, child in module.named_children():
        fold_batch_norm(child)


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    folded = nn.Conv2d(
        conv.in_channels, conv.out_channels, _pair(conv.kernel_size), _pair(conv.stride), _pair(conv.padding),
        groups=conv.groups,
    )  # fmt: skip
    with torch.no_grad():
        folded.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        assert folded.bias is not None
        folded.bias.copy_(norm.bias.double() - norm.running_mean.double() * scale)
    return folded.train(conv.training)


def _pair(value: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(value, str)
    return value[0], value[1]
