"""The auxiliary heat maps: bumps where the joints are, and a loss that vanishes when they are met."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wholebody.distill.dope.heatmaps import HeatmapHead, heatmap_loss, heatmaps
from wholebody.export.students.resnet_c4 import ResNetC4

STRIDE, ROWS, COLUMNS = 8, 12, 16


def joints(seed: int, people: int) -> tuple[Tensor, Tensor]:
    """A picture of a batch of one."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-20, 150, (1, people, 139, 2)).astype(np.float32)
    inside = np.all((pixels >= 0) & (pixels <= (STRIDE * COLUMNS - 1, STRIDE * ROWS - 1)), axis=-1)
    seen = inside & (rng.random((1, people, 139)) < 0.8)
    return torch.from_numpy(pixels), torch.from_numpy(seen)


def heat_of(pixels: Tensor, visible: Tensor) -> Tensor:
    return heatmaps(pixels, visible, ROWS, COLUMNS, STRIDE)


def test_nobody() -> None:
    heat = heat_of(torch.zeros(2, 0, 139, 2), torch.zeros(2, 0, 139, dtype=torch.bool))
    assert heat.shape == (2, 139, ROWS, COLUMNS)
    assert heat.dtype == torch.float32
    assert not heat.any()
    assert float(heatmap_loss(torch.full((2, 139, ROWS, COLUMNS), -20.0), heat)) < 1e-6


@given(st.integers(0, 40))
def test_a_visible_joint_has_a_peak_and_a_hidden_one_none(seed: int) -> None:
    pixels, visible = joints(seed, 1)
    highest = heat_of(pixels, visible).amax(dim=(2, 3))
    assert torch.equal(highest == 1, visible[0])
    assert not highest[~visible[0]].any()


def test_the_peak_is_in_the_cell_that_looks_at_the_joint() -> None:
    """Cell (i, j) of the trunk sees as far to every side of pixel (8 i, 8 j)."""
    trunk = ResNetC4(4, (1, 1, 1, 1), STRIDE, 1e-5).double().eval()
    for parameter in trunk.parameters():
        parameter.data.abs_()
    image = torch.rand(1, 3, 160, 160, dtype=torch.double, requires_grad=True)
    trunk.features(image)[0, :, 9, 10].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(dim=(0, 1))
    rows, columns = (torch.nonzero(seen.sum(dim=d))[:, 0] for d in (1, 0))
    middle = [float(c.min() + c.max()) / 2 for c in (columns, rows)]
    assert middle == [80, 72]
    for offset in (-3.5, 0, 3.5):
        pixels = (torch.tensor(middle) + offset).expand(1, 1, 139, 2)
        heat = heatmaps(pixels, torch.ones(1, 1, 139, dtype=torch.bool), 20, 20, STRIDE)
        np.testing.assert_array_equal(torch.nonzero(heat[0, 5] == 1), [[9, 10]])


def test_two_people_have_two_peaks() -> None:
    pixels = torch.tensor([[16.0, 24], [80, 64]])[None, :, None].expand(1, 2, 139, 2)
    heat = heat_of(pixels, torch.ones(1, 2, 139, dtype=torch.bool))
    np.testing.assert_array_equal(torch.nonzero(heat[0, 0] == 1), [[3, 2], [8, 10]])


def test_of_bumps_that_overlap_the_higher_one_counts() -> None:
    pixels = torch.tensor([[16.0, 24], [24, 24]])[None, :, None].expand(1, 2, 139, 2)
    visible = torch.ones(1, 2, 139, dtype=torch.bool)
    each = [heat_of(pixels[:, i : i + 1], visible[:, :1]) for i in range(2)]
    assert torch.equal(heat_of(pixels, visible), torch.maximum(*each))


@settings(max_examples=25)
@given(st.integers(0, 40), st.integers(0, 3), st.integers(0, 3))
def test_a_picture_has_the_same_heat_alone_and_among_others(seed: int, people: int, others: int) -> None:
    """Filled up as batches are, with people at (0, 0) who cannot be seen."""
    fullest = max(people, others)
    pictures = [joints(seed, people), joints(seed + 1, others)]
    pixels, visible = torch.zeros(2, fullest, 139, 2), torch.zeros(2, fullest, 139, dtype=torch.bool)
    for i, (own, seen) in enumerate(pictures):
        pixels[i, : own.shape[1]], visible[i, : own.shape[1]] = own[0], seen[0]
    assert torch.equal(heat_of(pixels, visible), torch.cat([heat_of(*picture) for picture in pictures]))


def test_the_loss_of_a_perfect_answer_is_nothing_and_grows_with_every_miss() -> None:
    heat = heat_of(*joints(1, 1))
    perfect = torch.where(heat == 1, 20.0, -20.0)
    missed, invented = perfect.clone(), perfect.clone()
    missed[heat == 1] = -2
    invented[heat == 0] = 2
    assert float(heatmap_loss(perfect, heat)) < 1e-3
    assert float(heatmap_loss(missed, heat)) > 0.3
    assert float(heatmap_loss(invented, heat)) > 0.3


def test_a_near_miss_costs_less_than_a_far_one() -> None:
    pixels, visible = torch.full((1, 1, 139, 2), 48.0), torch.ones(1, 1, 139, dtype=torch.bool)
    heat = heat_of(pixels, visible)
    perfect = torch.where(heat == 1, 20.0, -20.0)
    near, far = perfect.clone(), perfect.clone()
    near[:, :, 6, 7] = far[:, :, 6, 12] = 2
    assert 0 < float(heatmap_loss(near, heat)) < 0.5 * float(heatmap_loss(far, heat))


@pytest.mark.parametrize("people", [0, 2])
def test_the_head_learns(people: int) -> None:
    head = HeatmapHead(6)
    heatmap_loss(head(torch.rand(1, 6, ROWS, COLUMNS)), heat_of(*joints(2, people))).backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
