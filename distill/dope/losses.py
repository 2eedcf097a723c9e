"""The losses of a DOPE network: objectness and boxes of the RPN, classes and poses of every part.

Regions count from an IoU of 0.5, as published. Two things are ours: every instance, body or hand, teaches the
RPN by as many anchors; and a pose is regressed not by its own class alone but by every class in proportion to
its score, because the integration of proposals averages over exactly those.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.distill.dope.choice import few_each, rows
from wholebody.distill.dope.heatmaps import HeatmapHead, heatmap_loss
from wholebody.distill.dope.regions import REGION_ABOVE, pool_regions, proposals, sample_regions
from wholebody.distill.dope.targets import PartTensors, Truth, all_boxes, all_ignored
from wholebody.distill.dope.votes import VoteHead, vote_loss
from wholebody.export.students.dope import DELTA_SCALE, PARTS, Dope
from wholebody.export.students.rpn import anchor_grid, box_iou, encode_boxes

__all__ = ["AuxiliaryHeads", "batch_losses", "region_losses", "rpn_losses"]

RPN_SAMPLES = 256
RPN_ABOVE, RPN_BELOW = 0.5, 0.3  # 0.7 as published leaves most hands one anchor, or none
RPN_LEAST = 0.2  # the best anchor of an instance counts from here
RPN_PER_INSTANCE = 8
IGNORED_ABOVE = 0.3
METRIC_WEIGHT = {"body": 1.0, "hand": 8.0, "face": 8.0}  # hands and faces are ten times smaller, in metres
BOX_WEIGHT = 4.0
FLAT_WEIGHT = 2.0


class AuxiliaryHeads(nn.Module):
    """What the training adds to the network and drops at its end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heatmaps = HeatmapHead(channels)
        self.votes = VoteHead(channels)


def batch_losses(
    network: Dope, images: Tensor, truth: Truth, auxiliary: AuxiliaryHeads, heat: Tensor
) -> dict[str, Tensor]:
    """All losses of a batch of pictures (B, 3, H, W); convolutions run in bfloat16, losses in float32.

    auxiliary, heat: the tasks dropped after training, and the truth (B, 139, h, w) of the first.
    """
    network.train()
    stride = network.config.c4_stride
    with torch.autocast(images.device.type, torch.bfloat16):
        features = network.backbone.features(images)
        logits, deltas = network.rpn(features)
        heat_logits = auxiliary.heatmaps(features)
    logits, deltas, anchors = logits.float(), deltas.float(), _anchors(network, images)
    objectness, box = rpn_losses(logits, deltas, anchors, truth)
    with torch.no_grad():
        proposed = proposals(logits, deltas, anchors, (images.shape[2], images.shape[3]), network.config)
        regions = sample_regions(proposed, all_boxes(truth))
    with torch.autocast(images.device.type, torch.bfloat16):
        pooled = pool_regions(features, regions, stride)
        vectors = network.backbone.head(pooled.contiguous(memory_format=torch.channels_last))
        losses = region_losses(network, vectors, regions, truth)
    votes = {
        f"{part}_votes": vote_loss(auxiliary.votes, features, truth[part], stride, part, METRIC_WEIGHT[part])
        for part in PARTS
    }
    heatmap = heatmap_loss(heat_logits.float(), heat)
    return {
        "heatmaps": heatmap, **votes, "rpn_object": objectness, "rpn_box": box * BOX_WEIGHT, **losses,
    }  # fmt: skip


def _anchors(network: Dope, images: Tensor) -> Tensor:
    """The network's anchors, sent to a GPU once: sending stops it."""
    c = network.config
    rows, columns = images.shape[2] // c.c4_stride, images.shape[3] // c.c4_stride
    return _sent_anchors(c.anchor_sizes, c.anchor_ratios, rows, columns, c.c4_stride, images.device)


@cache
def _sent_anchors(
    sizes: tuple[int, ...],
    ratios: tuple[float, ...],
    rows: int,
    columns: int,
    stride: int,
    device: torch.device,
) -> Tensor:
    return anchor_grid(sizes, ratios, rows, columns, stride).to(device)


def rpn_losses(logits: Tensor, deltas: Tensor, anchors: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Objectness and box loss, the mean over pictures: logits (B, R), deltas (B, R, 4), anchors (R, 4)."""
    boxes = all_boxes(truth)
    if not boxes.shape[1]:
        boxes = boxes.new_zeros(len(boxes), 1, 4)
    overlap = box_iou(anchors[None], boxes)  # (B, R, n)
    best, match = overlap.max(dim=2)
    top = overlap.amax(dim=1, keepdim=True)  # every instance has at least its best anchors
    positive = (best >= RPN_ABOVE) | ((overlap == top) & (top > RPN_LEAST)).any(dim=2)
    negative = (best < RPN_BELOW) & ~positive & ~_overlaps(anchors[None], all_ignored(truth))
    positive = few_each(positive, match, RPN_PER_INSTANCE)
    room = RPN_SAMPLES - positive.sum(dim=1, keepdim=True)
    order = torch.where(negative, torch.rand_like(best), 2.0).argsort(dim=1).argsort(dim=1)
    chosen = positive | (negative & (order < room))
    count = chosen.sum(dim=1).clamp(min=1)
    each = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    objectness = ((each * chosen).sum(dim=1) / count).mean()
    wanted = torch.where(positive[..., None], rows(boxes, match), anchors)
    apart = F.smooth_l1_loss(deltas, encode_boxes(wanted, anchors), beta=1 / 9, reduction="none")
    box = ((apart.sum(dim=2) * positive).sum(dim=1) / count).mean()
    return objectness, box


def region_losses(network: Dope, vectors: Tensor, regions: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Class, 2D and 3D losses per part of (B * n, C) vectors of (B, n, 4) regions."""
    losses = {}
    for part in PARTS:
        logits, deltas = network.predictor(vectors, part)
        logits, deltas = logits.float(), deltas.float()
        label, weight, match = _assign(regions, truth[part])
        each = F.cross_entropy(logits, label.flatten(), reduction="none").reshape(label.shape)
        losses[f"{part}_class"] = (each * weight).sum() / weight.sum().clamp(min=1)
        flat, solid = _pose_losses(network, part, (logits, deltas), regions, (label, match), truth[part])
        losses[f"{part}_2d"], losses[f"{part}_3d"] = flat, solid * METRIC_WEIGHT[part]
    return losses


def _assign(regions: Tensor, truth: PartTensors) -> tuple[Tensor, Tensor, Tensor]:
    """(B, n) labels with 0 as background, weights, and the instance of each region."""
    if not truth.boxes.shape[1]:
        label = torch.zeros(regions.shape[:2], dtype=torch.int64, device=regions.device)
        return label, (~_overlaps(regions, truth.ignored)).float(), label
    best, match = box_iou(regions, truth.boxes).max(dim=2)
    hit = best >= REGION_ABOVE
    label = torch.where(hit, truth.label.gather(1, match) + 1, 0)
    return label, (hit | ~_overlaps(regions, truth.ignored)).float(), match


def _pose_losses(
    network: Dope,
    part: str,
    answer: tuple[Tensor, Tensor],
    regions: Tensor,
    assigned: tuple[Tensor, Tensor],
    truth: PartTensors,
) -> tuple[Tensor, Tensor]:
    """Smooth L1 of 2D (box units) and 3D (metres), classes weighted by score and joints by visibility."""
    label, match = assigned
    picture, place = torch.nonzero(label, as_tuple=True)
    if not len(picture):
        return answer[1].sum() * 0, answer[1].sum() * 0
    row = picture * label.shape[1] + place
    logits, deltas = answer[0][row], answer[1][row]
    instance, found = match[picture, place], regions[picture, place]
    extent = (found[:, 2:] - found[:, :2])[:, None]
    flat = (truth.pose2d[picture, instance] - found[:, None, :2]) / extent
    solid, seen = truth.pose3d[picture, instance], truth.weight[picture, instance]
    unit = found.new_zeros(len(row), 4)
    unit[:, 2:] = 1
    pose2d, pose3d = network.decode(unit, deltas, part)
    share = logits.detach().softmax(dim=1)[:, 1:]
    own = F.one_hot(label[picture, place] - 1, share.shape[1]).float()
    weight = torch.maximum(share, own)[:, :, None] * seen[:, None]  # (n, K, J)
    total = weight.sum()

    def loss(pose: Tensor, wanted: Tensor) -> Tensor:
        wanted = (wanted * DELTA_SCALE)[:, None].expand_as(pose)
        each = F.smooth_l1_loss(pose * DELTA_SCALE, wanted, beta=0.1, reduction="none")
        return (each.mean(dim=3) * weight).sum() / total

    return loss(pose2d, flat) * FLAT_WEIGHT, loss(pose3d, solid)


def _overlaps(boxes: Tensor, ignored: Tensor) -> Tensor:
    """(B, n) whether a box overlaps one of the (B, m, 4) that count neither way."""
    return (box_iou(boxes, ignored) >= IGNORED_ABOVE).any(dim=2)
