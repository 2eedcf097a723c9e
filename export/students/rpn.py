"""Region proposal network of fixed shapes: anchors, box decoding, one TopK, suppression filled up to a count.

Ren et al., "Faster R-CNN", 2015, with the published checkpoint's conventions: anchors by ratio, then size,
rounded to whole pixels around (0, 0); box deltas clipped at log(1000 / 16).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["RegionProposals", "anchor_grid", "box_iou", "decode_boxes", "encode_boxes", "propose", "suppress"]

MAX_LOG_SCALE = math.log(1000.0 / 16)
MIN_BOX_SIDE = 1e-3  # pixels; anything smaller is no proposal


def anchor_grid(
    sizes: tuple[int, ...], ratios: tuple[float, ...], rows: int, columns: int, stride: int
) -> Tensor:
    """(rows * columns * A, 4) float32 x0 y0 x1 y1 in network pixels, A = ratios x sizes, position-major."""
    roots = torch.tensor(ratios).sqrt()[:, None]
    side = torch.tensor(sizes, dtype=torch.float32)[None]
    w, h = (side / roots).flatten(), (side * roots).flatten()
    base = torch.stack([-w, -h, w, h], dim=1).div(2).round()
    y, x = torch.meshgrid(torch.arange(rows) * stride, torch.arange(columns) * stride, indexing="ij")
    shift = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shift + base).reshape(-1, 4)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """(..., 4) deltas (dx, dy, log w, log h) on (..., 4) anchors -> (..., 4) boxes x0 y0 x1 y1."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + 0.5 * size + deltas[..., :2] * size
    half = 0.5 * size * deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat([centre - half, centre + half], dim=-1)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The deltas that `decode_boxes` turns into these boxes: its inverse."""
    size, target = anchors[..., 2:] - anchors[..., :2], boxes[..., 2:] - boxes[..., :2]
    shift = (boxes[..., :2] + 0.5 * target - anchors[..., :2] - 0.5 * size) / size
    return torch.cat([shift, (target / size).log()], dim=-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., N, 4), (..., M, 4) boxes -> (..., N, M) intersection over union; zero where a box has no area."""
    a, b = a[..., :, None, :], b[..., None, :, :]
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    intersection = width.clamp(min=0) * height.clamp(min=0)
    areas = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1)
    return intersection / (areas - intersection).clamp(min=1e-12)


@torch.library.custom_op("wholebody::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, threshold: float, count: int) -> tuple[Tensor, Tensor]:
    """Greedy suppression, its answer of fixed shape: (count,) int64 indices, best first, and (count,) bool.

    boxes (N, 4), scores (N,); a box goes when its IoU with a kept one exceeds the threshold, or its score is
    not above zero. Where fewer than `count` stay, the rest is index 0 and False. Exported as ONNX
    NonMaxSuppression.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[scores[order] > 0]
    overlaps = (box_iou(boxes[order], boxes[order]) > threshold).numpy()
    kept: list[int] = []
    gone = np.zeros(len(order), bool)
    for i in range(len(order)):
        if len(kept) == count:
            break
        if not gone[i]:
            kept.append(i)
            gone |= overlaps[i]
    indices = torch.zeros(count, dtype=torch.int64)
    indices[: len(kept)] = order[torch.tensor(kept, dtype=torch.int64)]
    return indices, torch.arange(count) < len(kept)


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float, count: int) -> tuple[Tensor, Tensor]:
    return boxes.new_empty(count, dtype=torch.int64), boxes.new_empty(count, dtype=torch.bool)


class RegionProposals(nn.Module):
    """A 3x3 convolution and two 1x1 heads over C4, and the selection of proposals."""

    def __init__(self, channels: int, width: int, anchors_per_cell: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.cls_logits = nn.Conv2d(width, anchors_per_cell, 1)
        self.bbox_pred = nn.Conv2d(width, anchors_per_cell * 4, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> (B, h * w * A) objectness logits and (B, h * w * A, 4) deltas, in anchor order."""
        x = torch.relu(self.conv(features))
        logits = self.cls_logits(x).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)
        return logits, deltas


def propose(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: Tensor,
    candidates: int,
    count: int,
    threshold: float,
) -> tuple[Tensor, Tensor]:
    """One picture's proposals: (count, 4) boxes in network pixels, clipped to the picture, and (count,) bool.

    logits (R,), deltas (R, 4), anchors (R, 4), size (2,) height and width without the padding. The best
    `candidates` by logit are decoded; boxes thinner than MIN_BOX_SIDE go; then suppression at `threshold`.
    Where fewer than `count` remain, the rest are empty boxes with False.
    """
    best, index = torch.topk(logits, min(candidates, logits.shape[0]))
    boxes = decode_boxes(deltas.index_select(0, index), anchors.index_select(0, index))
    limit = torch.stack([size[1], size[0], size[1], size[0]])
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    sides = boxes[:, 2:] - boxes[:, :2]
    thick = (sides[:, 0] >= MIN_BOX_SIDE) & (sides[:, 1] >= MIN_BOX_SIDE)
    # Suppression needs order only, and a sigmoid would saturate and make ties: ranks keep the logits' order.
    # -1 is below the threshold of zero, whether a runtime includes that threshold or not.
    rank = torch.arange(best.shape[0], 0, -1, device=best.device).to(best.dtype)
    kept, real = suppress(boxes, torch.where(thick, rank, -torch.ones_like(rank)), threshold, count)
    return boxes.index_select(0, kept) * real[:, None], real
