"""Votes of single cells for the pose they lie in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wholebody.distill.targets import PartTensors
from wholebody.distill.votes import CELLS, VoteHead, _voters, vote_losses

STRIDE, SIDE = 8, 12  # cells


def truth(boxes: list[list[float]], seed: int = 0) -> PartTensors:
    draw = torch.Generator().manual_seed(seed)
    box = torch.tensor(boxes).reshape(-1, 4)
    n = len(box)
    flat = box[:, None, :2] + torch.rand(n, 21, 2, generator=draw) * (box[:, 2:] - box[:, :2])[:, None]
    solid = torch.randn(n, 21, 3, generator=draw) * 0.1
    return PartTensors(
        box, flat, solid, torch.ones(n, 21), torch.zeros(n, dtype=torch.int64), torch.zeros(0, 4)
    )


def losses(features: Tensor, truths: list[PartTensors]) -> tuple[VoteHead, Tensor]:
    torch.manual_seed(0)
    head = VoteHead(features.shape[1])
    return head, vote_losses(head, features, truths, STRIDE, "hand", 8.0)


def test_pictures_without_anybody_cost_nothing_and_still_have_gradients() -> None:
    """Processes average gradients: all of them must have the same ones."""
    head, loss = losses(torch.rand(2, 6, SIDE, SIDE), [truth([]), truth([])])
    assert float(loss.detach()) == 0
    loss.backward()
    layer = head.parts["hand"]
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_a_box_between_cells_has_no_voters() -> None:
    _, loss = losses(torch.rand(1, 6, SIDE, SIDE), [truth([[17.0, 17, 23, 23]])])
    assert float(loss.detach()) == 0
    loss.backward()


def test_perfect_votes_cost_nothing() -> None:
    """Features that say which cell they are, and a head that answers with the truth for it."""
    found = truth([[16.0, 16, 60, 70]])
    cells = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="xy"), dim=0)

    class Oracle(VoteHead):
        def forward(self, cells: Tensor, part: str) -> Tensor:
            extent = found.boxes[0, 2:] - found.boxes[0, :2]
            flat = (found.pose2d - cells[:, None] * STRIDE) / extent
            return torch.cat([flat, found.pose3d.expand(len(cells), -1, -1)], dim=2) * 5

    loss = vote_losses(Oracle(2), cells[None].float(), [found], STRIDE, "hand", 8.0)
    np.testing.assert_allclose(float(loss), 0, atol=1e-6)


def test_of_boxes_that_overlap_the_smallest_is_voted_for() -> None:
    found = truth([[0.0, 0, 90, 90], [0.0, 0, 45, 45]])
    torch.manual_seed(0)
    cells, whose = _voters(found, SIDE, SIDE, STRIDE)
    assert len(cells) == CELLS
    np.testing.assert_array_equal(whose, ((cells * STRIDE) <= 45).all(dim=1))
