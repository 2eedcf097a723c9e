"""Votes of single cells for the pose they lie in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wholebody.distill.dope.targets import PartTensors
from wholebody.distill.dope.votes import CELLS, VoteHead, _cells, _voters, vote_loss

STRIDE, SIDE = 8, 12  # cells


def truth(*pictures: list[list[float]], seed: int = 0) -> PartTensors:
    """Hands in these boxes of each picture, filled up to the fullest."""
    draw = torch.Generator().manual_seed(seed)
    n = max(len(boxes) for boxes in pictures)
    box = torch.zeros(len(pictures), n, 4)
    for filled, boxes in zip(box, pictures, strict=True):
        filled[: len(boxes)] = torch.tensor(boxes).reshape(-1, 4)
    shape = len(pictures), n, 21
    flat = (
        box[:, :, None, :2]
        + torch.rand(*shape, 2, generator=draw) * (box[..., 2:] - box[..., :2])[:, :, None]
    )
    solid = torch.randn(*shape, 3, generator=draw) * 0.1
    weight = (box[..., 2] > 0)[..., None].expand(shape).float()
    label = torch.zeros(shape[:2], dtype=torch.int64)
    return PartTensors(box, flat, solid, weight, label, torch.zeros(len(pictures), 0, 4))


def cells(pictures: int) -> Tensor:
    return torch.rand(pictures, 6, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def loss_of(features: Tensor, found: PartTensors) -> tuple[VoteHead, Tensor]:
    torch.manual_seed(0)
    head = VoteHead(features.shape[1])
    return head, vote_loss(head, features, found, STRIDE, "hand", 8.0)


class Oracle(VoteHead):
    """The truth, of features that say which cell (x, y) of which picture they are; one hand a picture."""

    def __init__(self, found: PartTensors) -> None:
        super().__init__(3)
        self.found = found

    def forward(self, cells: Tensor, part: str) -> Tensor:
        picture = cells[..., 2].long()
        box, pose2d, pose3d = (t[picture, 0] for t in self.found[:3])
        extent = (box[..., 2:] - box[..., :2])[..., None, :]
        flat = (pose2d - cells[..., None, :2] * STRIDE) / extent
        return torch.cat([flat, pose3d], dim=-1) * 5


def places(pictures: int) -> Tensor:
    """(B, 3, h, w): x, y and picture of every cell."""
    x_y = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="xy"))
    which = torch.arange(pictures)[:, None, None, None].expand(-1, 1, SIDE, SIDE)
    return torch.cat([x_y.expand(pictures, -1, -1, -1), which], dim=1).float()


def test_pictures_without_anybody_cost_nothing() -> None:
    head, loss = loss_of(cells(2), truth([], []))
    assert float(loss.detach()) == 0
    loss.backward()
    for parameter in head.parts["hand"].parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_a_box_between_cells_has_no_voters() -> None:
    head, loss = loss_of(cells(1), truth([[17.0, 17, 23, 23]]))
    assert float(loss.detach()) == 0
    loss.backward()
    for parameter in head.parts["hand"].parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_perfect_votes_cost_nothing() -> None:
    """In every picture of a batch."""
    found = truth([[16.0, 16, 60, 70]], [[30.0, 20, 90, 60]], [[0.0, 0, 95, 95]])
    loss = vote_loss(Oracle(found), places(3), found, STRIDE, "hand", 8.0)
    np.testing.assert_allclose(float(loss), 0, atol=1e-6)
    others = truth([[16.0, 16, 60, 70]], [[30.0, 20, 90, 60]], [[0.0, 0, 95, 95]], seed=1)
    assert float(vote_loss(Oracle(others), places(3), found, STRIDE, "hand", 8.0)) > 0.1


def test_each_picture_votes_for_its_own_truth() -> None:
    found = truth([[16.0, 16, 60, 70]], [[30.0, 20, 90, 60]])
    swapped = PartTensors(*(field.flip(0) for field in found))
    assert float(vote_loss(Oracle(found), places(2), swapped, STRIDE, "hand", 8.0)) > 0.1


def test_filling_up_changes_nothing() -> None:
    """Fewer cells than may vote, so that all do."""
    features = cells(2)
    one = truth([[16.0, 16, 60, 70]])
    filled = PartTensors(*(torch.cat([field, field.new_zeros(1, *field.shape[1:])]) for field in one))
    wider = PartTensors(*(torch.cat([field, torch.zeros_like(field)], dim=1) for field in one))
    _, alone = loss_of(features[:1], one)
    assert float(alone.detach()) > 0.1
    torch.testing.assert_close(loss_of(features, filled)[1], alone)
    torch.testing.assert_close(loss_of(features[:1], wider)[1], alone)


def test_a_joint_counts_by_its_weight() -> None:
    found = truth([[16.0, 16, 60, 70]])
    far = found._replace(pose2d=found.pose2d.clone())
    far.pose2d[:, :, 0] += 500
    costs = []
    for weight in (1.0, 0.4, 0.0):
        seen = found.weight.clone()
        seen[:, :, 0] = weight
        near, off = (loss_of(cells(1), each._replace(weight=seen))[1] for each in (found, far))
        costs.append(float((off - near).detach()))
    assert costs[0] > 2 * costs[1] > 0
    assert costs[2] == 0


def test_of_boxes_that_overlap_the_smallest_is_voted_for() -> None:
    boxes = torch.tensor(
        [[[0.0, 0, 90, 90], [0, 0, 45, 45], [0, 0, 0, 0]], [[40, 40, 90, 90], *[[0] * 4] * 2]]
    )
    at = _cells(torch.zeros(2, 1, SIDE, SIDE), STRIDE)
    assert at[SIDE + 2].tolist() == [16, 8]
    inside, whose = _voters(at, boxes)
    assert inside.shape == whose.shape == (2, SIDE * SIDE)
    assert bool(inside[0].all())
    np.testing.assert_array_equal(whose[0], (at <= 45).all(dim=1))
    np.testing.assert_array_equal(inside[1], (at >= 40).all(dim=1))
    assert not whose[1].any()


def test_no_more_cells_vote_than_may() -> None:
    asked = []

    class Counting(VoteHead):
        def forward(self, cells: Tensor, part: str) -> Tensor:
            asked.append(tuple(cells.shape))
            return super().forward(cells, part)

    vote_loss(Counting(6), cells(2), truth([[0.0, 0, 95, 95]], []), STRIDE, "hand", 8.0)
    assert asked == [(2, CELLS, 6)]
