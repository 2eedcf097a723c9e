"""RoIAlign as two small matrix products: bilinear sampling is separable.

He et al., "Mask R-CNN", 2017, with the conventions of the published DOPE network: no half-pixel shift of the
box (`aligned=False`, ONNX `output_half_pixel`), at least one feature cell per side, samples more than a cell
outside count as zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bin_weights", "pool", "roi_align"]

CHUNK = 64  # regions at a time: bounds memory at about 64 * 7 * W * C floats


@torch.library.custom_op("wholebody::roi_align", mutates_args=())
def _roi_align_op(features: Tensor, boxes: Tensor, bins: int, samples: int, scale: float) -> Tensor:
    return pool(features, boxes, bins, samples, scale).contiguous()


@_roi_align_op.register_fake
def _(features: Tensor, boxes: Tensor, bins: int, samples: int, scale: float) -> Tensor:
    return features.new_empty(boxes.shape[0], features.shape[1], bins, bins)


def roi_align(features: Tensor, boxes: Tensor, bins: int, samples: int, scale: float) -> Tensor:
    """(1, C, h, w) features, (N, 4) boxes in network pixels -> (N, C, bins, bins); `scale` is 1 / stride.

    One operator in an exported graph (ONNX RoiAlign), plain differentiable arithmetic everywhere else.
    """
    if torch.compiler.is_exporting():
        operator: Tensor = _roi_align_op(features, boxes, bins, samples, scale)
        return operator
    return pool(features, boxes, bins, samples, scale)


def pool(features: Tensor, boxes: Tensor, bins: int, samples: int, scale: float) -> Tensor:
    """The arithmetic of `roi_align`; differentiable in the features."""
    _, channels, height, width = features.shape
    if not len(boxes):
        return features.new_zeros(0, channels, bins, bins)
    rows = bin_weights(boxes[:, 1] * scale, boxes[:, 3] * scale, bins, samples, height)  # (N, bins, h)
    columns = bin_weights(boxes[:, 0] * scale, boxes[:, 2] * scale, bins, samples, width)  # (N, bins, w)
    by_row = features[0].permute(1, 2, 0).reshape(height, width * channels)
    pooled = []
    for r, c in zip(torch.split(rows, CHUNK), torch.split(columns, CHUNK), strict=True):
        strips = (r.reshape(-1, height) @ by_row).reshape(-1, width, channels)  # (n * bins, w, C)
        pooled.append(torch.bmm(c.repeat_interleave(bins, dim=0), strips).reshape(-1, bins, bins, channels))
    return torch.cat(pooled).permute(0, 3, 1, 2)


def bin_weights(start: Tensor, stop: Tensor, bins: int, samples: int, cells: int) -> Tensor:
    """(N,) sides in feature cells -> (N, bins, cells): each cell's weight in the mean of a bin's samples."""
    step = (stop - start).clamp(min=1.0) / bins
    offset = (torch.arange(bins * samples, device=start.device, dtype=start.dtype) + 0.5) / samples
    position = start[:, None] + offset * step[:, None]  # (N, bins * samples)
    inside = (position >= -1.0) & (position <= cells)
    position = position.clamp(0, cells - 1)
    distance = (position[..., None] - torch.arange(cells, device=start.device, dtype=start.dtype)).abs()
    weight = (1 - distance).clamp(min=0) * inside[..., None]
    return weight.reshape(len(start), bins, samples, cells).mean(dim=2)
