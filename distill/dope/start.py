"""What dope-mini learns from at first: initial weights, and anchor poses clustered from scenes."""

from __future__ import annotations

import torch
from torch import nn

from wholebody.benchmarks.synthetic.truth import PartTruth, part_truths
from wholebody.distill.dope.anchor_poses import anchor_poses
from wholebody.distill.scenes import Scenes
from wholebody.export.students.dope import PARTS, Dope

__all__ = ["cluster", "initialise"]


def initialise(network: Dope, seed: int) -> None:
    """He's initialisation; the last norm of each residual branch at zero; objects start out rare."""
    torch.manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d) and name.endswith("bn3"):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    for layer, bias in (
        (network.rpn.conv, 0.0),
        (network.rpn.bbox_pred, 0.0),
        (network.rpn.cls_logits, -3.0),
    ):
        if layer is not network.rpn.conv:
            nn.init.normal_(layer.weight, std=0.01)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, bias)


def cluster(network: Dope, stock: Scenes, seed: int, scenes: int) -> None:
    """Set the anchor poses from the first scenes."""
    truths: dict[str, list[PartTruth]] = {part: [] for part in PARTS}
    for _, sample in zip(range(scenes), stock, strict=False):
        height, width = sample.image.shape[:2]
        found = part_truths(sample.keypoints, sample.keypoints3d, sample.visible, height, width)
        for part in PARTS:
            truths[part].append(found[part])
    for part in PARTS:
        poses = anchor_poses(part, truths[part], network.config.classes[part], seed)
        network.get_buffer(f"{part}_anchor_poses").copy_(torch.from_numpy(poses))
