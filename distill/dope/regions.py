"""The regions a batch learns from: proposals as they stand, true boxes, and true boxes shaken."""

from __future__ import annotations

import torch
from torch import Tensor

from wholebody.distill.dope.choice import choose, rows
from wholebody.export.students.dope import ROI_BINS, ROI_SAMPLES, DopeConfig
from wholebody.export.students.roi_align import bin_weights
from wholebody.export.students.rpn import MIN_BOX_SIDE, box_iou, decode_boxes

__all__ = ["POSITIVE_REGIONS", "REGIONS", "REGION_ABOVE", "pool_regions", "proposals", "sample_regions"]

SHAKE = 0.06  # of a side
LEAST_SIDE, SOMEWHERE = 2.0, 64.0  # pixels
REGION_ABOVE = 0.5
REGIONS, POSITIVE_REGIONS = 64, 40
CHAIN = 16  # rounds of suppression; a box suppressed by one suppressed by one ... is longer only by accident


def proposals(
    logits: Tensor, deltas: Tensor, anchors: Tensor, size: tuple[int, int], config: DopeConfig
) -> Tensor:
    """(B, R) logits, (B, R, 4) deltas, (R, 4) anchors -> (B, N, 4) boxes; those that are none have no area.

    What the exported network's selection gives, for all pictures at once.
    """
    _, index = logits.topk(min(config.candidates, logits.shape[1]), dim=1)
    boxes = decode_boxes(rows(deltas, index), anchors[index]).clamp(min=0)
    boxes = torch.stack([boxes[..., i].clamp(max=size[1 - i % 2]) for i in range(4)], dim=-1)
    thick = ((boxes[..., 2:] - boxes[..., :2]) >= MIN_BOX_SIDE).all(dim=-1)
    above = (box_iou(boxes, boxes) > config.rpn_threshold).tril(diagonal=-1)  # by a better one
    kept = thick
    for _ in range(CHAIN):  # keeps what no kept box suppresses, until that no longer changes
        kept = thick & ~(above & kept[:, None]).any(dim=2)
    count = min(config.proposals, kept.shape[1])
    rank = torch.arange(kept.shape[1], 0, -1, device=kept.device)
    first = (kept * rank).topk(count, dim=1)
    return rows(boxes, first.indices) * (first.values > 0)[..., None]


def sample_regions(proposed: Tensor, boxes: Tensor) -> Tensor:
    """(B, N, 4) proposals, (B, n, 4) true boxes -> (B, REGIONS, 4) regions to learn from."""
    true = boxes.repeat(1, 4, 1)
    sides = (true[..., 2:] - true[..., :2]).repeat(1, 1, 2)
    shaken = true + SHAKE * sides * torch.randn_like(true)
    somewhere = proposed.new_zeros(len(proposed), 1, 4)  # never without any
    somewhere[..., 2:] = SOMEWHERE
    regions = torch.cat([proposed, boxes, shaken, somewhere], dim=1)
    valid = ((regions[..., 2:] - regions[..., :2]) > LEAST_SIDE).all(dim=-1)
    positive = valid & (box_iou(regions, boxes) >= REGION_ABOVE).any(dim=2)
    near, of_near = choose(positive, POSITIVE_REGIONS)
    far, of_far = choose(valid & ~positive, REGIONS)
    index, real = torch.cat([near, far], dim=1), torch.cat([of_near, of_far], dim=1)
    # The real ones first, in a circle: a changing number would have every convolution prepared anew.
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)
    circle = torch.arange(REGIONS, device=index.device) % real.sum(dim=1, keepdim=True)
    return rows(regions, index.gather(1, order.gather(1, circle)))


def pool_regions(features: Tensor, regions: Tensor, stride: int) -> Tensor:
    """RoIAlign of (B, C, h, w) features in (B, n, 4) regions -> (B * n, C, 7, 7)."""
    batch, channels, height, width = features.shape
    flat = (regions / stride).reshape(-1, 4)
    across = bin_weights(flat[:, 0], flat[:, 2], ROI_BINS, ROI_SAMPLES, width).to(features.dtype)
    down = bin_weights(flat[:, 1], flat[:, 3], ROI_BINS, ROI_SAMPLES, height).to(features.dtype)
    by_row = features.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    strips = down.reshape(batch, -1, height) @ by_row  # (B, n * 7, w * C)
    strips = strips.reshape(len(flat), ROI_BINS, width, channels)
    pooled = across[:, None] @ strips  # (B * n, 7, 7, C): rows of bins, columns of bins
    return pooled.permute(0, 3, 1, 2)
