"""The losses of training: nothing where the network is right, finite where there is nobody, and learnable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.dope.heatmaps import heatmaps
from wholebody.distill.dope.losses import (
    METRIC_WEIGHT,
    RPN_PER_INSTANCE,
    RPN_SAMPLES,
    AuxiliaryHeads,
    batch_losses,
    region_losses,
    rpn_losses,
)
from wholebody.distill.dope.regions import sample_regions
from wholebody.distill.dope.targets import PartTensors, Truth, all_boxes, picture_truth, stack
from wholebody.export.students.dope import DELTA_SCALE, JOINTS, PARTS, Dope
from wholebody.export.students.rpn import anchor_grid, box_iou, encode_boxes

SIDE = 96
CLASSES = {"body": 4, "hand": 4, "face": 3}
NO_BOX = torch.zeros(0, 4)
TinyDope = Callable[..., Dope]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Quicker for tensors as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def part_tensors(part: str, boxes: Tensor, ignored: Tensor = NO_BOX, seed: int = 0) -> PartTensors:
    """Instances in given boxes, their joints anywhere inside, their classes in turn."""
    draw = torch.Generator().manual_seed(seed)
    n, joints = len(boxes), JOINTS[part]
    flat = (
        boxes[:, None, :2] + torch.rand(n, joints, 2, generator=draw) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    )
    solid = 0.2 * torch.randn(n, joints, 3, generator=draw)
    return PartTensors(boxes, flat, solid, torch.ones(n, joints), torch.arange(n) % CLASSES[part], ignored)


def picture(ignored: Tensor = NO_BOX, **boxes: list[list[float]]) -> Truth:
    """One picture's truth with these boxes per part; `ignored` ones are hands."""
    return {
        part: part_tensors(
            part, torch.tensor(boxes.get(part, [])).reshape(-1, 4), ignored if part == "hand" else NO_BOX
        )
        for part in PARTS
    }


NOBODY = picture()
SOMEBODY = picture(
    body=[[10.0, 5, 60, 90]], hand=[[20.0, 40, 40, 64], [60.0, 50, 80, 70]], face=[[25.0, 8, 45, 30]]
)
CROWD = picture(
    torch.tensor([[70.0, 70, 90, 94]]),
    body=[[0.0, 0, 50, 80], [40.0, 10, 90, 95], [5.0, 30, 60, 70]],
    hand=[[10.0, 10, 30, 34], [50.0, 60, 74, 80], [2.0, 70, 26, 92]],
    face=[[30.0, 30, 50, 52], [60.0, 8, 84, 30]],
)


def costs(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in losses.items()}


# --- RPN --------------------------------------------------------------------------------------------


@pytest.fixture
def anchors() -> Tensor:
    """48: fewer than are sampled, so that all that may count do."""
    return anchor_grid((16, 32, 64), (1.0,), 4, 4, 24)


def rpn_costs(
    logits: Tensor, deltas: Tensor, anchors: Tensor, truths: Sequence[Truth]
) -> tuple[float, float]:
    """Objectness and box loss of pictures that the network gives the same answers, or each its own."""
    batch = len(truths)
    objectness, box = rpn_losses(
        logits.expand(batch, -1), deltas.expand(batch, -1, -1), anchors, stack(truths)
    )
    return float(objectness), float(box)


def sure(positive: Tensor) -> Tensor:
    return torch.where(positive, 20.0, -20.0)


STILL = torch.zeros(48, 4)


def test_a_right_rpn_costs_nothing(anchors: Tensor) -> None:
    truth = picture(hand=[anchors[20].tolist()], body=[anchors[26].tolist()])
    boxes = all_boxes(stack([truth]))[0]
    overlap, match = box_iou(anchors, boxes).max(dim=1)
    right, deltas = sure(overlap >= 0.7), encode_boxes(boxes[match], anchors)
    assert max(rpn_costs(right, deltas, anchors, [truth])) < 1e-6
    assert rpn_costs(-right, deltas, anchors, [truth])[0] > 10
    assert rpn_costs(right, deltas + 0.5, anchors, [truth])[1] > 0.01


def test_every_instance_has_an_anchor_of_its_own(anchors: Tensor) -> None:
    """Even where no anchor overlaps it by half."""
    long = picture(body=[[20.0, 20, 95, 40]])
    overlap = box_iou(anchors, long["body"].boxes)[:, 0]
    assert 0.2 < float(overlap.max()) < 0.5
    best = overlap == overlap.max()
    assert rpn_costs(sure(best), STILL, anchors, [long])[0] < 1e-6
    assert rpn_costs(sure(overlap < 0), STILL, anchors, [long])[0] > 0.1


def test_an_rpn_that_sees_nobody_where_nobody_is(anchors: Tensor) -> None:
    logits, deltas = torch.full((2, 48), -20.0, requires_grad=True), torch.zeros(2, 48, 4, requires_grad=True)
    objectness, box = rpn_losses(logits, deltas, anchors, stack([NOBODY, NOBODY]))
    assert float(objectness.detach()) < 1e-6
    assert float(box.detach()) == 0
    (objectness + box).backward()
    assert deltas.grad is not None
    assert not deltas.grad.any()
    assert rpn_costs(-logits[0].detach(), STILL, anchors, [NOBODY])[0] > 10


def test_what_is_ignored_may_be_proposed(anchors: Tensor) -> None:
    unjudged = picture(ignored=anchors[20:21])
    on_it = sure(box_iou(anchors, anchors[20:21])[:, 0] >= 0.3)
    assert rpn_costs(on_it, STILL, anchors, [unjudged])[0] < 1e-6
    assert rpn_costs(on_it, STILL, anchors, [NOBODY])[0] > 0.3


def test_an_ignored_box_is_ignored_in_its_own_picture_only(anchors: Tensor) -> None:
    on_it = sure(box_iou(anchors, anchors[20:21])[:, 0] >= 0.3)
    alone, both = (rpn_costs(on_it, STILL, anchors, t)[0] for t in (
        [NOBODY], [picture(ignored=anchors[20:21]), NOBODY],
    ))  # fmt: skip
    assert both == pytest.approx(alone / 2, rel=1e-5)


def test_a_batch_costs_the_mean_of_its_pictures(anchors: Tensor) -> None:
    draw = torch.Generator().manual_seed(0)
    truths = [NOBODY, SOMEBODY, CROWD]
    logits, deltas = torch.randn(3, 48, generator=draw), torch.randn(3, 48, 4, generator=draw)
    alone = [rpn_costs(logits[i], deltas[i], anchors, [truth]) for i, truth in enumerate(truths)]
    together = rpn_losses(logits, deltas, anchors, stack(truths))
    np.testing.assert_allclose([float(loss) for loss in together], np.mean(alone, axis=0), rtol=1e-5)


def test_an_instance_teaches_by_few_anchors_and_a_picture_by_so_many() -> None:
    """On a fine grid, of which most would be positive."""
    torch.manual_seed(0)
    dense = anchor_grid((64,), (1.0,), 48, 48, 2)
    body = picture(body=[[20.0, 20, 80, 80]])
    logits = torch.zeros(1, len(dense), requires_grad=True)
    objectness, _ = rpn_losses(logits, torch.zeros(1, len(dense), 4), dense, stack([body]))
    objectness.backward()
    assert logits.grad is not None
    assert int((logits.grad < 0).sum()) == RPN_PER_INSTANCE
    assert int((logits.grad != 0).sum()) == RPN_SAMPLES
    overlap = box_iou(dense, body["body"].boxes)[:, 0]
    assert bool((overlap[logits.grad[0] < 0] >= 0.5).all())
    assert bool((overlap[logits.grad[0] > 0] < 0.3).all())


# --- regions ----------------------------------------------------------------------------------------


class Oracle(nn.Module):
    """Says of each region of a batch what it is told to: in place of the network's predictor."""

    def __init__(self, network: Dope, regions: Tensor, truths: Sequence[Truth], right: bool) -> None:
        super().__init__()
        self.answers = {}
        for part in PARTS:
            each = [
                self._answer(network, r, truth[part], right, part)
                for r, truth in zip(regions, truths, strict=True)
            ]
            self.answers[part] = tuple(torch.cat(answers) for answers in zip(*each, strict=True))
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


def asked(
    network: Dope, regions: Tensor, truths: Sequence[Truth], *, told: Sequence[Truth], right: bool
) -> dict[str, float]:
    """What regions (B, n, 4) cost where the network answers by the truth it was `told`."""
    network.predictor = Oracle(network, regions, told, right)  # type: ignore[assignment]
    return costs(
        region_losses(network, torch.zeros(regions.shape[0] * regions.shape[1], 1), regions, stack(truths))
    )


def learnt_from(truths: Sequence[Truth]) -> Tensor:
    torch.manual_seed(0)
    return sample_regions(torch.zeros(len(truths), 0, 4), all_boxes(stack(truths)))


def test_right_classes_and_poses_cost_nothing(tiny_dope: TinyDope) -> None:
    truths = [SOMEBODY, NOBODY, CROWD]
    regions = learnt_from(truths)
    right = asked(tiny_dope(), regions, truths, told=truths, right=True)
    wrong = asked(tiny_dope(), regions, truths, told=truths, right=False)
    assert set(right) == {f"{part}_{loss}" for part in PARTS for loss in ("class", "2d", "3d")}
    for name in right:
        assert right[name] < 1e-4, name
        assert wrong[name] > 0.1, name


@pytest.mark.parametrize(
    "truths", [[NOBODY], [SOMEBODY], [NOBODY, SOMEBODY]], ids=["nobody", "elsewhere", "either"]
)
def test_regions_without_anybody_have_no_pose_loss_but_gradients(
    tiny_dope: TinyDope, truths: list[Truth]
) -> None:
    network, batch = tiny_dope(), len(truths)
    vectors = torch.rand(batch * 5, network.backbone.head_channels)
    regions = torch.tensor([80.0, 80, 95, 95]).expand(batch, 5, 4)
    losses = region_losses(network, vectors, regions, stack(truths))
    for part in PARTS:
        assert float(losses[f"{part}_2d"].detach()) == float(losses[f"{part}_3d"].detach()) == 0
    torch.stack(list(losses.values())).sum().backward()
    for parameter in network.predictor.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


def test_a_region_on_something_ignored_is_not_background(tiny_dope: TinyDope) -> None:
    """Whether there are other hands in the picture or not."""
    box = torch.tensor([[[20.0, 40, 44, 64]]])
    cost = {}
    for name, truth in {
        "background": NOBODY,
        "ignored": picture(ignored=box[0]),
        "others": picture(ignored=box[0], hand=[[60.0, 0, 90, 30]]),
    }.items():
        cost[name] = asked(tiny_dope(), box, [truth], told=[NOBODY], right=False)
        assert cost[name]["face_class"] > 10
    assert cost["background"]["hand_class"] > 10
    assert cost["ignored"]["hand_class"] == cost["others"]["hand_class"] == 0


def test_a_region_on_an_instance_counts_even_beside_something_ignored(tiny_dope: TinyDope) -> None:
    box = torch.tensor([[[20.0, 40, 44, 64]]])
    truth = picture(ignored=box[0] + 4, hand=box[0].tolist())
    assert asked(tiny_dope(), box, [truth], told=[truth], right=True)["hand_class"] < 1e-6
    assert asked(tiny_dope(), box, [truth], told=[truth], right=False)["hand_class"] > 10


def test_every_class_learns_the_pose_by_its_score(tiny_dope: TinyDope) -> None:
    """The integration averages over them: a wrong pose of another class costs where its score is high."""
    network, box = tiny_dope(), SOMEBODY["face"].boxes[None]
    oracle = Oracle(network, box, [SOMEBODY], right=True)
    logits, deltas = oracle.answers["face"]
    deltas[:, 2] += 1  # a class that is not the face's own
    network.predictor = oracle  # type: ignore[assignment]
    cost = []
    for score in (-20.0, 20.0):
        logits[:, 3] = score
        cost.append(costs(region_losses(network, torch.zeros(1, 1), box, stack([SOMEBODY])))["face_2d"])
    assert cost[0] < 1e-4
    assert cost[1] > 0.1


def test_each_picture_has_its_own_truth(tiny_dope: TinyDope) -> None:
    """A box of the second picture is background in the first."""
    box = SOMEBODY["face"].boxes.expand(2, 1, 4)
    told = [SOMEBODY, SOMEBODY]
    right, half = (asked(tiny_dope(), box, t, told=told, right=True) for t in (told, [NOBODY, SOMEBODY]))
    assert right["face_class"] < 1e-6
    assert half["face_class"] == pytest.approx(20, rel=0.01)  # 40 in one of two


def test_stacked_truth_costs_what_its_pictures_do(tiny_dope: TinyDope) -> None:
    """Classes over all regions alike, poses by how many regions have somebody in them."""
    network, truths = tiny_dope(), [SOMEBODY, NOBODY, CROWD]
    draw = torch.Generator().manual_seed(0)
    regions = learnt_from(truths)
    n = regions.shape[1]
    vectors = torch.randn(len(truths), n, network.backbone.head_channels, generator=draw)
    together = costs(region_losses(network, vectors.flatten(0, 1), regions, stack(truths)))
    alone = [
        costs(region_losses(network, v, r[None], stack([t])))
        for v, r, t in zip(vectors, regions, truths, strict=True)
    ]
    stacked = stack(truths)
    for i, own in enumerate(alone):
        filled = {part: PartTensors(*(f[i : i + 1] for f in stacked[part])) for part in PARTS}
        assert costs(region_losses(network, vectors[i], regions[i : i + 1], filled)) == own
    assert together["body_class"] == pytest.approx(np.mean([own["body_class"] for own in alone]), rel=1e-5)
    for name in ("body_2d", "hand_3d", "face_2d"):
        least, most = sorted(alone[i][name] for i in (0, 2))
        assert 0 < least < together[name] < most


def test_poses_cost_by_what_can_be_seen_and_in_their_unit(tiny_dope: TinyDope) -> None:
    """An error of one box side in the picture, of a metre or a tenth of it in space."""
    network, box = tiny_dope(), SOMEBODY["hand"].boxes[:1][None]
    one = {**NOBODY, "hand": PartTensors(*(field[:1] for field in SOMEBODY["hand"]))}
    one["hand"] = one["hand"]._replace(ignored=NO_BOX)
    network.predictor = Oracle(network, box, [one], right=True)  # type: ignore[assignment]
    vectors = torch.zeros(1, 1)

    def of(**changed: Any) -> dict[str, float]:
        return costs(
            region_losses(network, vectors, box, stack([{**one, "hand": one["hand"]._replace(**changed)}]))
        )

    moved, weight = one["hand"].pose3d.clone(), one["hand"].weight.clone()
    moved[:, 0] += 0.1
    assert of()["hand_3d"] == pytest.approx(0, abs=1e-5)
    expected = METRIC_WEIGHT["hand"] * (0.1 * DELTA_SCALE - 0.05) / 21
    assert of(pose3d=moved)["hand_3d"] == pytest.approx(expected, rel=1e-3)
    weight[:, 0] = 0
    assert of(pose3d=moved, weight=weight)["hand_3d"] == pytest.approx(0, abs=1e-5)


# --- a whole batch ----------------------------------------------------------------------------------


def batch(network: Dope, *people: int) -> tuple[Tensor, Truth, Tensor]:
    """Noisy pictures, each person a bright patch."""
    rng = np.random.default_rng(0)
    images, truths, heat = [], [], []
    anchors = {part: network.get_buffer(f"{part}_anchor_poses").numpy() for part in PARTS}
    for count in people:
        corner, extent = rng.uniform(0, 40, (count, 1, 2)), rng.uniform(30, 50, (count, 1, 2))
        pixels = (corner + rng.random((count, 139, 2)) * extent).astype(np.float32)
        metres = rng.normal(0, 0.3, (count, 139, 3)).astype(np.float32)
        visible = np.ones((count, 139), bool)
        image = rng.normal(0, 0.3, (3, SIDE, SIDE)).astype(np.float32)
        for (x, y), (w, h) in zip(corner[:, 0].astype(int), extent[:, 0].astype(int), strict=True):
            image[:, y : y + h, x : x + w] += 1
        images.append(torch.from_numpy(image))
        truths.append(picture_truth(part_truths(pixels, metres, visible, SIDE, SIDE), anchors))
        stride = network.config.c4_stride
        joints = torch.from_numpy(pixels)[None], torch.from_numpy(visible)[None]
        heat.append(heatmaps(*joints, SIDE // stride, SIDE // stride, stride))
    return torch.stack(images), stack(truths), torch.cat(heat)


def small(tiny_dope: TinyDope, **config: Any) -> tuple[Dope, AuxiliaryHeads]:
    network = tiny_dope(c4_stride=8, anchor_sizes=(16, 32, 64), **config)
    return network, AuxiliaryHeads(network.backbone.c4_channels)


@pytest.mark.parametrize("people", [(0, 0), (1, 1), (2, 0)], ids=["nobody", "somebody", "either"])
@pytest.mark.parametrize("cell_width", [None, 3])
def test_everything_learns_even_from_empty_pictures(
    tiny_dope: TinyDope, people: tuple[int, int], cell_width: int | None
) -> None:
    torch.manual_seed(0)
    network, auxiliary = small(tiny_dope, cell_width=cell_width)
    images, truth, heat = batch(network, *people)
    losses = batch_losses(network, images, truth, auxiliary, heat)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for module in (network, auxiliary):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_a_batch_seen_again_and_again_is_learnt(tiny_dope: TinyDope) -> None:
    torch.manual_seed(0)
    network, auxiliary = small(tiny_dope)
    images, truth, heat = batch(network, 1, 1)
    parameters = [*network.parameters(), *auxiliary.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    history: dict[str, list[float]] = {}
    for _ in range(25):
        torch.manual_seed(1)
        losses = batch_losses(network, images, truth, auxiliary, heat)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        for name, cost in costs(losses).items():
            history.setdefault(name, []).append(cost)
    first, last = ({name: values[i] for name, values in history.items()} for i in (0, -1))
    assert sum(last.values()) < 0.5 * sum(first.values())
    assert all(last[name] < 0.95 * first[name] for name in first), (first, last)
