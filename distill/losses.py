"""The losses of a DOPE network: objectness and boxes of the RPN, classes and poses of every part.

Regions count from an IoU of 0.5, as published. Two things are ours: every instance, body or hand, teaches the
RPN by as many anchors; and a pose is regressed not by its own class alone but by every class in proportion to
its score, because the integration of proposals averages over exactly those.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wholebody.distill.heatmaps import HeatmapHead, heatmap_loss
from wholebody.distill.targets import PartTensors, PictureTruth
from wholebody.distill.votes import VoteHead, vote_losses
from wholebody.export.students.dope import DELTA_SCALE, PARTS, ROI_BINS, ROI_SAMPLES, Dope
from wholebody.export.students.roi_align import pool
from wholebody.export.students.rpn import box_iou, encode_boxes

__all__ = ["AuxiliaryHeads", "batch_losses", "region_losses", "rpn_losses", "sample_regions"]

RPN_SAMPLES = 256
RPN_ABOVE, RPN_BELOW = 0.5, 0.3  # 0.7 as published leaves most hands one anchor, or none
RPN_PER_INSTANCE = 8
SHAKE = 0.06  # of a side
REGION_ABOVE = 0.5
IGNORED_ABOVE = 0.3
REGIONS, POSITIVE_REGIONS = 64, 40
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
    network: Dope, images: Tensor, truths: list[PictureTruth], auxiliary: AuxiliaryHeads, heat: Tensor
) -> dict[str, Tensor]:
    """All losses of a batch of pictures (B, 3, H, W); convolutions run in bfloat16, losses in float32.

    auxiliary, heat: the tasks dropped after training, and the truth (B, 139, h, w) of the first.
    """
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        features = network.backbone.features(images)
        logits, deltas = network.rpn(features)
        heat_logits = auxiliary.heatmaps(features)
    logits, deltas, anchors = logits.float(), deltas.float(), network.anchors(images)
    size = torch.tensor(images.shape[2:], dtype=torch.float32)
    rpn = [rpn_losses(logits[i], deltas[i], anchors, truth) for i, truth in enumerate(truths)]
    regions = []
    for i, truth in enumerate(truths):
        boxes, real = network.propose(logits[i].detach(), deltas[i].detach(), anchors, size)
        regions.append(sample_regions(boxes[real], truth))
    with torch.autocast("cpu", torch.bfloat16):
        pictures = features.split(1)  # type: ignore[no-untyped-call]
        scale = 1.0 / network.config.c4_stride
        pooled = [pool(f, r, ROI_BINS, ROI_SAMPLES, scale) for f, r in zip(pictures, regions, strict=True)]
        vectors = network.backbone.head(torch.cat(pooled).contiguous(memory_format=torch.channels_last))
        picture = torch.arange(len(regions)).repeat_interleave(REGIONS)
        losses = region_losses(network, vectors, torch.cat(regions), picture, truths)
    objectness, box = (torch.stack(column).mean() for column in zip(*rpn, strict=True))
    dense = {"heatmaps": heatmap_loss(heat_logits.float(), heat)}
    stride = network.config.c4_stride
    for part in PARTS:
        mine = [truth.parts[part] for truth in truths]
        loss = vote_losses(auxiliary.votes, features, mine, stride, part, METRIC_WEIGHT[part])
        dense[f"{part}_votes"] = loss
    return {**dense, "rpn_object": objectness, "rpn_box": box * BOX_WEIGHT, **losses}


def rpn_losses(logits: Tensor, deltas: Tensor, anchors: Tensor, truth: PictureTruth) -> tuple[Tensor, Tensor]:
    """Objectness and box loss of one picture: logits (R,), deltas (R, 4), anchors (R, 4)."""
    boxes = truth.boxes
    overlap = box_iou(anchors, boxes) if len(boxes) else anchors.new_zeros(len(anchors), 1)
    best, match = overlap.max(dim=1)
    positive = best >= RPN_ABOVE
    if len(boxes):  # every instance has at least its best anchors
        top = overlap.max(dim=0).values
        positive |= ((overlap == top) & (top > 0.2)).any(dim=1)
    negative = (best < RPN_BELOW) & ~positive
    if len(truth.ignored):
        negative &= box_iou(anchors, truth.ignored).max(dim=1).values < IGNORED_ABOVE
    chosen_positive = _few_each(positive, match, RPN_PER_INSTANCE)
    chosen_negative = _choose(negative, RPN_SAMPLES - len(chosen_positive))
    chosen = torch.cat([chosen_positive, chosen_negative])
    objectness = F.binary_cross_entropy_with_logits(logits[chosen], positive[chosen].float())
    if not len(chosen_positive):
        return objectness, deltas.sum() * 0
    target = encode_boxes(boxes[match[chosen_positive]], anchors[chosen_positive])
    return objectness, F.smooth_l1_loss(deltas[chosen_positive], target, beta=1 / 9, reduction="sum") / len(
        chosen
    )


def sample_regions(proposals: Tensor, truth: PictureTruth) -> Tensor:
    """(REGIONS, 4) regions to learn from: proposals, true boxes and shaken true boxes, mixed."""
    boxes = truth.boxes.repeat(4, 1)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    shaken = boxes + SHAKE * sides * torch.randn_like(boxes)
    regions = torch.cat([proposals, truth.boxes, shaken])
    regions = regions[((regions[:, 2:] - regions[:, :2]) > 2).all(dim=1)]
    if not len(regions):  # an empty picture before the RPN has learnt to propose anything
        regions = proposals.new_tensor([[0.0, 0.0, 64.0, 64.0]])
    positive = (box_iou(regions, truth.boxes) >= REGION_ABOVE).any(dim=1)
    chosen = _choose(positive, POSITIVE_REGIONS)
    chosen = torch.cat([chosen, _choose(~positive, REGIONS - len(chosen))])
    # Always as many: a changing batch would have every convolution prepared anew.
    return regions[chosen.repeat(-(-REGIONS // len(chosen)))[:REGIONS]]


def region_losses(
    network: Dope, vectors: Tensor, regions: Tensor, picture: Tensor, truths: list[PictureTruth]
) -> dict[str, Tensor]:
    """Class, 2D and 3D losses per part over all regions of a batch; picture (n,) says whose region it is."""
    losses = {}
    for part in PARTS:
        logits, deltas = network.predictor(vectors, part)
        logits, deltas = logits.float(), deltas.float()
        label, weight, target = _assign(regions, picture, [t.parts[part] for t in truths], part)
        each = F.cross_entropy(logits, label, reduction="none")
        losses[f"{part}_class"] = (each * weight).sum() / weight.sum().clamp(min=1)
        found = torch.nonzero(label > 0)[:, 0]
        flat, solid = _pose_losses(network, part, logits[found], deltas[found], label[found], target)
        losses[f"{part}_2d"], losses[f"{part}_3d"] = flat, solid * METRIC_WEIGHT[part]
    return losses


def _assign(
    regions: Tensor, picture: Tensor, truths: list[PartTensors], part: str
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Labels (n,) with 0 as background, weights (n,), and for the positives their normalised truth."""
    label = torch.zeros(len(regions), dtype=torch.int64)
    weight = torch.ones(len(regions))
    targets: list[tuple[Tensor, Tensor, Tensor]] = []
    for i, truth in enumerate(truths):
        rows = torch.nonzero(picture == i)[:, 0]
        mine = regions[rows]
        if len(truth.ignored) and len(rows):
            hidden = box_iou(mine, truth.ignored).max(dim=1).values >= IGNORED_ABOVE
            weight[rows[hidden]] = 0
        if not len(truth.boxes) or not len(rows):
            continue
        best, match = box_iou(mine, truth.boxes).max(dim=1)
        hit = best >= REGION_ABOVE
        match, found = match[hit], mine[hit]
        label[rows[hit]] = truth.label[match] + 1
        weight[rows[hit]] = 1
        extent = (found[:, 2:] - found[:, :2])[:, None]
        targets.append(
            ((truth.pose2d[match] - found[:, None, :2]) / extent, truth.pose3d[match], truth.weight[match])
        )
    if not targets:
        joints = truths[0].pose2d.shape[1]
        empty = (torch.zeros(0, joints, 2), torch.zeros(0, joints, 3), torch.zeros(0, joints))
        return label, weight, empty
    flat, solid, seen = (torch.cat(column) for column in zip(*targets, strict=True))
    return label, weight, (flat, solid, seen)


def _pose_losses(
    network: Dope,
    part: str,
    logits: Tensor,
    deltas: Tensor,
    label: Tensor,
    target: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Smooth L1 of 2D (box units) and 3D (metres), classes weighted by score and joints by visibility."""
    if not len(label):
        return deltas.sum() * 0, deltas.sum() * 0
    flat, solid, seen = target
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(label), 4)
    pose2d, pose3d = network.decode(unit, deltas, part)
    share = logits.detach().softmax(dim=1)[:, 1:]
    share = torch.maximum(share, F.one_hot(label - 1, share.shape[1]).float())
    weight = share[:, :, None] * seen[:, None]  # (n, K, J)
    total = weight.sum()

    def loss(pose: Tensor, truth: Tensor) -> Tensor:
        each = F.smooth_l1_loss(
            pose * DELTA_SCALE, (truth * DELTA_SCALE)[:, None].expand_as(pose), beta=0.1, reduction="none"
        )
        return (each.mean(dim=3) * weight).sum() / total

    return loss(pose2d, flat) * FLAT_WEIGHT, loss(pose3d, solid)


def _few_each(mask: Tensor, group: Tensor, count: int) -> Tensor:
    """At most `count` random indices of each group where the mask holds."""
    index = torch.nonzero(mask)[:, 0]
    key, order = (group[index] + torch.rand(len(index), dtype=torch.float64)).sort()
    first = torch.searchsorted(key, key.floor())
    return index[order[torch.arange(len(index)) - first < count]]


def _choose(mask: Tensor, count: int) -> Tensor:
    """At most `count` random indices where the mask holds."""
    index = torch.nonzero(mask)[:, 0]
    return index[torch.randperm(len(index))[:count]]
