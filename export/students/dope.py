"""DOPE: one network for every body, hand and face, each a class of anchor poses refined in 2D and 3D.

Weinzaepfel et al., "DOPE: Distillation Of Part Experts for whole-body 3D pose estimation in the wild", ECCV
2020: a Faster R-CNN trunk (ResNet C4, RPN, RoIAlign, C5) with, per part, a classifier over K anchor poses and
a regressor of their deformation (section 3; LCR-Net). Written from the paper and from the layout of the
published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wholebody.export.students.resnet_c4 import ResNetC4
from wholebody.export.students.roi_align import roi_align
from wholebody.export.students.rpn import RegionProposals, anchor_grid, propose

__all__ = ["JOINTS", "MEAN", "PARTS", "STD", "Dope", "DopeConfig", "DopeOutputs"]

PARTS = ("body", "hand", "face")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in 0..1
JOINTS = {"body": 13, "hand": 21, "face": 84}
ROI_BINS, ROI_SAMPLES = 7, 2
DELTA_SCALE = 5.0  # the regressor's outputs are five times the deformation
FRACTIONS: Mapping[str, float] = {"anchor_ratios": 1e-3, "rpn_threshold": 0.0, "bn_eps": 0.0}
SEVERAL = ("blocks", "anchor_sizes", "anchor_ratios")
MOST = 100_000  # no number of a network's size is larger; a damaged one would only fill the memory


@dataclass(frozen=True)
class DopeConfig:
    """Size and conventions of a DOPE network; the defaults are the published one.

    classes: anchor poses K per part. min_size, max_size: shorter and longer side of the resized picture in
    pixels. rpn_width None means as many channels as C4. cell_width None averages C5 over a region, as
    published; a number keeps that many channels of each of its 4 x 4 cells, from which a small network learns
    sooner where joints are. candidates and proposals: boxes before and after suppression. Raises ValueError,
    naming the field, for a number that is none or out of range.
    """

    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    c4_stride: int = 16
    rpn_width: int | None = None
    cell_width: int | None = None
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    classes: dict[str, int] = field(default_factory=lambda: {"body": 20, "hand": 10, "face": 10})
    candidates: int = 1000
    proposals: int = 1000
    rpn_threshold: float = 0.7
    min_size: int = 800
    max_size: int = 1333
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check_numbers(entry.name, getattr(self, entry.name))
        if len(self.blocks) != 4 or set(self.classes) != set(PARTS):
            raise ValueError(f"blocks {self.blocks}, classes {self.classes}; allowed are four, one per part")


def _check_numbers(name: str, value: object) -> None:
    """Whole numbers from 1 to MOST; the fields of FRACTIONS may be smaller."""
    if name in ("rpn_width", "cell_width") and value is None:
        return
    kinds, least = ((int, float), FRACTIONS[name]) if name in FRACTIONS else ((int,), 1)
    numbers = _numbers(name, value)
    if not numbers or not all(type(n) in kinds and least <= n <= MOST for n in numbers):
        raise ValueError(f"{name} is {value!r:.80}; allowed is {kinds[-1].__name__} from {least} to {MOST}")


def _numbers(name: str, value: Any) -> tuple[Any, ...]:
    if name == "classes":
        return tuple(value.values()) if isinstance(value, dict) else ()
    if name in SEVERAL:
        return value if isinstance(value, tuple) else ()
    return (value,)


class DopeOutputs(NamedTuple):
    """One picture's N proposals, in network pixels and metres; unused rows have zero boxes and scores."""

    boxes: Tensor  # (N, 4) x0 y0 x1 y1
    body_scores: Tensor  # (N, K + 1), class 0 is background
    body_pose2d: Tensor  # (N, K, 13, 2)
    body_pose3d: Tensor  # (N, K, 13, 3), x and y negated: y up
    hand_scores: Tensor
    hand_pose2d: Tensor
    hand_pose3d: Tensor
    face_scores: Tensor
    face_pose2d: Tensor
    face_pose3d: Tensor


class Predictor(nn.Module):
    """Per part: K + 1 class logits and, for each of the K anchor poses, J x 5 deltas."""

    def __init__(self, channels: int, classes: dict[str, int]) -> None:
        super().__init__()
        self.cls_score = nn.ModuleDict({p: nn.Linear(channels, classes[p] + 1) for p in PARTS})
        self.pose_pred = nn.ModuleDict({p: nn.Linear(channels, classes[p] * JOINTS[p] * 5) for p in PARTS})

    def forward(self, vectors: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """(N, C) -> (N, K + 1) logits and (N, K, J * 5) deltas: 2J for the picture, then 3J for space."""
        joints = JOINTS[part] * 5
        deltas = self.pose_pred[part](vectors)
        return self.cls_score[part](vectors), deltas.reshape(-1, deltas.shape[1] // joints, joints)


class Dope(nn.Module):
    """The whole network for one picture; `forward` is what is exported."""

    def __init__(self, config: DopeConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNetC4(
            config.width, config.blocks, config.c4_stride, config.bn_eps, config.cell_width
        )
        anchors = len(config.anchor_sizes) * len(config.anchor_ratios)
        channels = self.backbone.c4_channels
        self.rpn = RegionProposals(channels, config.rpn_width or channels, anchors)
        self.predictor = Predictor(self.backbone.head_channels, config.classes)
        for part in PARTS:
            self.register_buffer(f"{part}_anchor_poses", torch.zeros(config.classes[part], JOINTS[part], 5))

    def forward(self, image: Tensor, size: Tensor) -> DopeOutputs:
        """image (1, 3, H, W) normalised RGB, zeros right and below; size (2,) height, width without them."""
        features = self.backbone.features(image)
        logits, deltas = self.rpn(features)
        boxes, real = self.propose(logits[0], deltas[0], self.anchors(image), size)
        vectors = self.pool(features, boxes)
        outputs = [boxes]
        for part in PARTS:
            class_logits, pose_deltas = self.predictor(vectors, part)
            scores = class_logits.float().softmax(dim=1) * real[:, None]
            outputs += [scores, *self.decode(boxes, pose_deltas, part)]
        return DopeOutputs(*outputs)

    def anchors(self, image: Tensor) -> Tensor:
        """(R, 4) anchors for a picture of this size, in network pixels."""
        c = self.config
        rows, columns = image.shape[2] // c.c4_stride, image.shape[3] // c.c4_stride
        return anchor_grid(c.anchor_sizes, c.anchor_ratios, rows, columns, c.c4_stride).to(image.device)

    def propose(self, logits: Tensor, deltas: Tensor, anchors: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """One picture's (N, 4) proposals and (N,) bool whether each is real."""
        c = self.config
        return propose(logits, deltas, anchors, size, c.candidates, c.proposals, c.rpn_threshold)

    def pool(self, features: Tensor, boxes: Tensor) -> Tensor:
        """(1, C, h, w) features and (N, 4) boxes -> (N, 32 * width) vectors."""
        regions = roi_align(features, boxes, ROI_BINS, ROI_SAMPLES, 1.0 / self.config.c4_stride)
        return self.backbone.head(regions)

    def decode(self, boxes: Tensor, deltas: Tensor, part: str) -> tuple[Tensor, Tensor]:
        """(N, 4) boxes, (N, K, J * 5) deltas -> (N, K, J, 2) network pixels, (N, K, J, 3) metres; in FP32."""
        joints = JOINTS[part]
        anchors: Tensor = getattr(self, f"{part}_anchor_poses")
        n, k = deltas.shape[:2]
        deltas = deltas.float() / DELTA_SCALE
        flat = deltas[:, :, : 2 * joints].reshape(n, k, joints, 2) + anchors[None, :, :, :2]
        solid = deltas[:, :, 2 * joints :].reshape(n, k, joints, 3) + anchors[None, :, :, 2:]
        corner, extent = boxes[:, None, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None, None]
        return corner + flat * extent, solid
