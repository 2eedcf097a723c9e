"""The losses of training: nothing where the network is right, finite where there is nobody, and learnable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.heatmaps import heatmaps
from wholebody.distill.losses import (
    POSITIVE_REGIONS,
    REGIONS,
    AuxiliaryHeads,
    batch_losses,
    region_losses,
    rpn_losses,
    sample_regions,
)
from wholebody.distill.targets import PartTensors, PictureTruth
from wholebody.export.students.dope import DELTA_SCALE, JOINTS, PARTS, Dope
from wholebody.export.students.rpn import anchor_grid, box_iou, encode_boxes

SIDE = 96
CLASSES = {"body": 4, "hand": 4, "face": 3}
NO_BOX = torch.zeros(0, 4)


def part_tensors(part: str, boxes: Tensor, ignored: Tensor = NO_BOX, seed: int = 0) -> PartTensors:
    """Instances in given boxes, their joints anywhere inside, their classes in turn."""
    draw = torch.Generator().manual_seed(seed)
    n, joints = len(boxes), JOINTS[part]
    flat = (
        boxes[:, None, :2] + torch.rand(n, joints, 2, generator=draw) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    )
    solid = 0.2 * torch.randn(n, joints, 3, generator=draw)
    return PartTensors(boxes, flat, solid, torch.ones(n, joints), torch.arange(n) % CLASSES[part], ignored)


def picture(ignored: Tensor = NO_BOX, **boxes: list[list[float]]) -> PictureTruth:
    """Truth with these boxes per part; `ignored` ones are hands."""
    return PictureTruth({
        part: part_tensors(
            part, torch.tensor(boxes.get(part, [])).reshape(-1, 4), ignored if part == "hand" else NO_BOX
        )
        for part in PARTS
    })  # fmt: skip


NOBODY = picture()
SOMEBODY = picture(
    body=[[10.0, 5, 60, 90]], hand=[[20.0, 40, 40, 64], [60.0, 50, 80, 70]], face=[[25.0, 8, 45, 30]]
)


# --- RPN --------------------------------------------------------------------------------------------


@pytest.fixture
def anchors() -> Tensor:
    """48: fewer than are sampled, so that all that may count do."""
    return anchor_grid((16, 32, 64), (1.0,), 4, 4, 24)


def sure(positive: Tensor) -> Tensor:
    return torch.where(positive, 20.0, -20.0)


def test_a_right_rpn_costs_nothing(anchors: Tensor) -> None:
    truth = picture(hand=[anchors[20].tolist()], body=[anchors[26].tolist()])
    overlap, match = box_iou(anchors, truth.boxes).max(dim=1)
    deltas = encode_boxes(truth.boxes[match], anchors)
    objectness, box = rpn_losses(sure(overlap >= 0.7), deltas, anchors, truth)
    assert float(objectness) < 1e-6
    assert float(box) < 1e-6
    assert float(rpn_losses(sure(overlap < 0.7), deltas, anchors, truth)[0]) > 10
    assert float(rpn_losses(sure(overlap >= 0.7), deltas + 0.5, anchors, truth)[1]) > 0.01


def test_every_instance_has_an_anchor_of_its_own(anchors: Tensor) -> None:
    """Even where no anchor overlaps it by 0.7."""
    long = picture(body=[[20.0, 20, 90, 44]])
    overlap = box_iou(anchors, long.boxes)[:, 0]
    assert 0.2 < float(overlap.max()) < 0.7
    best = overlap == overlap.max()
    assert float(rpn_losses(sure(best), torch.zeros(48, 4), anchors, long)[0]) < 1e-6
    assert float(rpn_losses(sure(~(overlap >= 0)), torch.zeros(48, 4), anchors, long)[0]) > 0.1


def test_an_rpn_that_sees_nobody_where_nobody_is(anchors: Tensor) -> None:
    logits, deltas = torch.full((48,), -20.0, requires_grad=True), torch.zeros(48, 4, requires_grad=True)
    objectness, box = rpn_losses(logits, deltas, anchors, NOBODY)
    assert float(objectness.detach()) < 1e-6
    assert float(box.detach()) == 0
    (objectness + box).backward()
    assert deltas.grad is not None  # processes average gradients: all of them must have the same ones
    assert float(rpn_losses(-logits, deltas, anchors, NOBODY)[0].detach()) > 10


def test_what_is_ignored_may_be_proposed(anchors: Tensor) -> None:
    unjudged = picture(ignored=anchors[20:21])
    on_it = sure(box_iou(anchors, anchors[20:21])[:, 0] >= 0.3)
    assert float(rpn_losses(on_it, torch.zeros(48, 4), anchors, unjudged)[0]) < 1e-6
    assert float(rpn_losses(on_it, torch.zeros(48, 4), anchors, NOBODY)[0]) > 0.3


# --- regions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [NOBODY, SOMEBODY], ids=["nobody", "somebody"])
@pytest.mark.parametrize("proposals", [0, 1, 300])
def test_there_are_always_as_many_regions(truth: PictureTruth, proposals: int) -> None:
    torch.manual_seed(0)
    corner = torch.rand(proposals, 2) * 60
    boxes = torch.cat([corner, corner + 3 + torch.rand(proposals, 2) * 30], dim=1)
    regions = sample_regions(boxes, truth)
    assert regions.shape == (REGIONS, 4)
    assert bool(((regions[:, 2:] - regions[:, :2]) > 2).all())
    positive = (box_iou(regions, truth.boxes) >= 0.5).any(dim=1)
    if proposals == 300:
        assert 0 <= int(positive.sum()) <= POSITIVE_REGIONS
        assert int((~positive).sum()) >= REGIONS - POSITIVE_REGIONS
    assert bool(positive.any()) == (len(truth.boxes) > 0)


def test_proposals_too_thin_to_learn_from_are_left_out() -> None:
    thin = torch.tensor([[0.0, 0, 50, 1], [5.0, 5, 5, 5]])
    assert bool((sample_regions(thin, NOBODY)[:, 3] > 2).all())


class Oracle(nn.Module):
    """Says of each region what it is told to: in place of the network's predictor."""

    def __init__(self, network: Dope, regions: Tensor, truth: PictureTruth, right: bool) -> None:
        super().__init__()
        self.answers = {
            part: self._answer(network, regions, truth.parts[part], right, part) for part in PARTS
        }
        self.scale = nn.Parameter(torch.ones(()))

    @staticmethod
    def _answer(
        network: Dope, regions: Tensor, truth: PartTensors, right: bool, part: str
    ) -> tuple[Tensor, Tensor]:
        n, k, joints = len(regions), CLASSES[part], JOINTS[part]
        anchors = network.get_buffer(f"{part}_anchor_poses")
        label = torch.zeros(n, dtype=torch.int64)
        deltas = torch.zeros(n, k, joints * 5)
        if len(truth.boxes):
            best, match = box_iou(regions, truth.boxes).max(dim=1)
            label = torch.where(best >= 0.5, truth.label[match] + 1, 0)
            extent = (regions[:, 2:] - regions[:, :2])[:, None]
            flat = (truth.pose2d[match] - regions[:, None, :2]) / extent
            apart = [
                flat[:, None] - anchors[None, ..., :2],
                truth.pose3d[match][:, None] - anchors[None, ..., 2:],
            ]
            deltas = DELTA_SCALE * torch.cat([a.flatten(2) for a in apart], dim=2)
        logits = torch.full((n, k + 1), -20.0)
        logits[torch.arange(n), label if right else (label + 1) % (k + 1)] = 20
        return logits, deltas if right else deltas + 1

    def forward(self, vectors: Tensor, part: str) -> tuple[Tensor, Tensor]:
        logits, deltas = self.answers[part]
        return logits * self.scale, deltas * self.scale


def losses_of_regions(network: Dope, regions: Tensor, truth: PictureTruth, right: bool) -> dict[str, Tensor]:
    network.predictor = Oracle(network, regions, truth, right)  # type: ignore[assignment]
    picture_of = torch.zeros(len(regions), dtype=torch.int64)
    return region_losses(network, torch.zeros(len(regions), 1), regions, picture_of, [truth])


def test_right_classes_and_poses_cost_nothing(tiny_dope: Callable[..., Dope]) -> None:
    torch.manual_seed(0)
    regions = sample_regions(torch.rand(0, 4), SOMEBODY)
    right = losses_of_regions(tiny_dope(), regions, SOMEBODY, right=True)
    wrong = losses_of_regions(tiny_dope(), regions, SOMEBODY, right=False)
    assert set(right) == {f"{part}_{loss}" for part in PARTS for loss in ("class", "2d", "3d")}
    for name in right:
        assert float(right[name].detach()) < 1e-4, name
        assert float(wrong[name].detach()) > 0.1, name


@pytest.mark.parametrize("truth", [NOBODY, SOMEBODY], ids=["nobody", "elsewhere"])
def test_regions_without_anybody_have_no_pose_loss_but_gradients(
    tiny_dope: Callable[..., Dope], truth: PictureTruth
) -> None:
    network = tiny_dope()
    vectors = torch.rand(5, network.backbone.head_channels)
    regions = torch.tensor([[80.0, 80, 95, 95]]).repeat(5, 1)
    losses = region_losses(network, vectors, regions, torch.zeros(5, dtype=torch.int64), [truth])
    for part in PARTS:
        assert float(losses[f"{part}_2d"].detach()) == float(losses[f"{part}_3d"].detach()) == 0
    torch.stack(list(losses.values())).sum().backward()
    for parameter in network.predictor.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_a_region_on_something_ignored_is_not_background(tiny_dope: Callable[..., Dope]) -> None:
    box = torch.tensor([[20.0, 40, 44, 64]])
    hands = {}
    for name, truth in (("background", NOBODY), ("ignored", picture(ignored=box))):
        network = tiny_dope()
        network.predictor = Oracle(network, box, NOBODY, right=False)  # type: ignore[assignment]
        losses = region_losses(network, torch.zeros(1, 1), box, torch.zeros(1, dtype=torch.int64), [truth])
        hands[name] = float(losses["hand_class"].detach())
        assert float(losses["face_class"].detach()) > 10
    assert hands["background"] > 10
    assert hands["ignored"] == 0


def test_each_picture_has_its_own_truth(tiny_dope: Callable[..., Dope]) -> None:
    """A box of the second picture is background in the first."""
    network = tiny_dope()
    box = SOMEBODY.parts["face"].boxes
    network.predictor = Oracle(network, box, SOMEBODY, right=True)  # type: ignore[assignment]
    costs = []
    for place in (0, 1):
        losses = region_losses(network, torch.zeros(1, 1), box, torch.tensor([place]), [NOBODY, SOMEBODY])
        costs.append(float(losses["face_class"].detach()))
    assert costs[0] > 10
    assert costs[1] < 1e-6


# --- a whole batch ----------------------------------------------------------------------------------


def batch(network: Dope, people: int) -> tuple[Tensor, list[PictureTruth], Tensor]:
    """Two noisy pictures, each person a bright patch."""
    rng = np.random.default_rng(0)
    images, truths, heat = [], [], []
    for _ in range(2):
        corner, extent = rng.uniform(0, 40, (people, 1, 2)), rng.uniform(30, 50, (people, 1, 2))
        pixels = (corner + rng.random((people, 139, 2)) * extent).astype(np.float32)
        metres = rng.normal(0, 0.3, (people, 139, 3)).astype(np.float32)
        visible = np.ones((people, 139), bool)
        image = rng.normal(0, 0.3, (3, SIDE, SIDE)).astype(np.float32)
        for (x, y), (w, h) in zip(corner[:, 0].astype(int), extent[:, 0].astype(int), strict=True):
            image[:, y : y + h, x : x + w] += 1
        images.append(torch.from_numpy(image))
        truths.append(PictureTruth.of(part_truths(pixels, metres, visible, SIDE, SIDE), network))
        stride = network.config.c4_stride
        heat.append(heatmaps(pixels, visible, SIDE // stride, SIDE // stride, stride))
    return torch.stack(images), truths, torch.stack(heat)


def small(tiny_dope: Callable[..., Dope], **config: Any) -> Dope:
    return tiny_dope(c4_stride=8, anchor_sizes=(16, 32, 64), **config)


@pytest.mark.parametrize("people", [0, 1])
def test_everything_learns_even_from_empty_pictures(tiny_dope: Callable[..., Dope], people: int) -> None:
    """Processes average their gradients: each must have one for every parameter, whatever it was shown."""
    torch.manual_seed(0)
    network = small(tiny_dope)
    auxiliary = AuxiliaryHeads(network.backbone.c4_channels)
    losses = batch_losses(network, *batch(network, people)[:2], auxiliary, batch(network, people)[2])
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for module in (network, auxiliary):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_truth_of_a_picture_keeps_what_is_judged(tiny_dope: Callable[..., Dope]) -> None:
    network = small(tiny_dope)
    pixels = np.random.default_rng(0).uniform(10, 80, (3, 139, 2)).astype(np.float32)
    visible = np.zeros((3, 139), bool)  # the last person is behind something: background
    visible[0, 3:] = True
    visible[1, [0, 20, 100, 120]] = True  # a joint of every part: too little to judge
    found = part_truths(pixels, np.zeros((3, 139, 3), np.float32), visible, SIDE, SIDE)
    truth = PictureTruth.of(found, network)
    assert {part: len(t.boxes) for part, t in truth.parts.items()} == {"body": 1, "hand": 2, "face": 1}
    assert len(truth.boxes) == len(truth.ignored) == 4
    np.testing.assert_allclose(truth.parts["body"].weight, [[0.4] * 3 + [1.0] * 10])
    np.testing.assert_array_equal(truth.parts["hand"].label // 2, [0, 1])  # right, then left


def test_a_batch_seen_again_and_again_is_learnt(tiny_dope: Callable[..., Dope]) -> None:
    torch.manual_seed(0)
    network = small(tiny_dope)
    auxiliary = AuxiliaryHeads(network.backbone.c4_channels)
    images, truths, heat = batch(network, 1)
    parameters = [*network.parameters(), *auxiliary.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    history: dict[str, list[float]] = {}
    for _ in range(25):
        torch.manual_seed(1)
        losses = batch_losses(network, images, truths, auxiliary, heat)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        for name, loss in losses.items():
            history.setdefault(name, []).append(float(loss.detach()))
    fallen = {name: values[-1] / values[0] for name, values in history.items()}
    assert sum(values[-1] for values in history.values()) < 0.5 * sum(
        values[0] for values in history.values()
    )
    assert all(share < 0.95 for share in fallen.values()), fallen
