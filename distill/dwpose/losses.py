"""What dwpose-mini learns: each keypoint's column and row, and to say nothing of keypoints out of sight.

The labels are SimCC's (Li et al., 2022) as RTMPose softens them: a Gaussian over the bins, and the divergence
between softmax(beta * label) and softmax(beta * logits), mmpose's KLDiscretLoss. There every label is 1 high;
here a hidden keypoint's is lower, and flat is that of an absent one, of which mmpose would learn nothing.

So the best logit, which a runtime takes for the score, tells how sure the network is: of a keypoint that is
seen with probability q, at a place it knows, and absent else, it stands 0.46 + log(q / (1 - q)) / beta above
the logits' mean, at most 0.97. A divergence leaves that mean free; `centred` puts it at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from wholebody.distill.dwpose.batches import Batch
from wholebody.distill.dwpose.crops import ABSENT, HIDDEN, VISIBLE
from wholebody.export.students.rtmpose import RtmPoseConfig, SimCC
from wholebody.runtime.skeletons import WHOLEBODY133

__all__ = ["PART_WEIGHTS", "centred", "crop_losses", "divergence", "labels"]

BETA = 10.0
CLASSIFIERS = ("head.cls_x.weight", "head.cls_y.weight")  # (bins, hidden)
HEIGHTS = {ABSENT: 0.0, HIDDEN: 0.4, VISIBLE: 1.0}  # of labels; hidden ones stay findable, below half a score
WEIGHTS = {ABSENT: 0.3, HIDDEN: 0.3, VISIBLE: 1.0}
# A face has as many landmarks as all else together, but they move as one: each counts for half. The joints
# of body and feet are few, and the rest hangs on them: each counts twice.
PART_WEIGHTS = {"body": 2.0, "feet": 2.0, "face": 0.5, "left_hand": 1.0, "right_hand": 1.0}


def labels(coordinates: Tensor, height: Tensor, bins: int, split: float) -> Tensor:
    """(..., bins) float32: Gaussians about coordinate * split.

    coordinates (...) crop pixels, height (...). Their deviation, √bins / 4, is mmpose's for every size.
    """
    apart = torch.arange(bins, device=coordinates.device) - coordinates[..., None] * split
    return torch.exp(apart.square() * (-8 / bins)) * height[..., None]


def divergence(logits: Tensor, label: Tensor) -> Tensor:
    """(...) nats of (..., bins): Kullback and Leibler's, of what is answered from what is true."""
    target = (BETA * label).log_softmax(dim=-1)
    answer = (BETA * logits).log_softmax(dim=-1)
    return (target.exp() * (target - answer)).sum(dim=-1)


def crop_losses(outputs: SimCC, batch: Batch, config: RtmPoseConfig) -> dict[str, Tensor]:
    """A part's share of the mean loss of a batch's keypoints, for every part; in FP32."""
    heights, weights, joint_weights = _tables(batch.presence.device)
    presence = batch.presence.long()
    height, weight = heights[presence], weights[presence] * joint_weights
    loss = torch.zeros_like(weight)
    for axis, (logits, bins) in enumerate(zip(outputs, config.bins, strict=True)):
        label = labels(batch.keypoints[..., axis], height, bins, config.split)
        loss = loss + divergence(logits.float(), label)
    share = loss * weight / weight.sum()
    return {part: share[:, joints].sum() for part, joints in WHOLEBODY133.parts.items()}


def centred(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an `RtmPose`, every keypoint's logits moved so that their mean is 0."""
    moved = {
        name: weights[name] - weights[name].mean(dim=0) for name in CLASSIFIERS
    }  # linear, without a bias
    return {**weights, **moved}


@cache
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """HEIGHTS (3,), WEIGHTS (3,), and the weight of each joint (133,); sent once, for sending stops a GPU."""
    joints = torch.empty(len(WHOLEBODY133))
    for part, where in WHOLEBODY133.parts.items():
        joints[where] = PART_WEIGHTS[part]
    heights, weights = (torch.tensor([v[k] for k in (ABSENT, HIDDEN, VISIBLE)]) for v in (HEIGHTS, WEIGHTS))
    return heights.to(device), weights.to(device), joints.to(device)
