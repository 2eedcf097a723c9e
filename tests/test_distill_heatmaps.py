"""The auxiliary tasks: bumps and votes where the joints are, and losses that vanish when they are met."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wholebody.distill.heatmaps import HeatmapHead, heatmap_loss, heatmaps
from wholebody.export.students.resnet_c4 import ResNetC4

STRIDE, ROWS, COLUMNS = 8, 12, 16


def joints(seed: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-20, 150, (people, 139, 2)).astype(np.float32)
    inside = np.all((pixels >= 0) & (pixels <= (STRIDE * COLUMNS - 1, STRIDE * ROWS - 1)), axis=2)
    return pixels, inside & (rng.random((people, 139)) < 0.8)


def test_nobody() -> None:
    heat = heatmaps(*joints(0, 0), ROWS, COLUMNS, STRIDE)
    assert heat.shape == (139, ROWS, COLUMNS)
    assert heat.dtype == torch.float32
    assert not heat.any()
    loss = heatmap_loss(torch.full((2, 139, ROWS, COLUMNS), -20.0), torch.stack([heat, heat]))
    assert float(loss) < 1e-6


@given(st.integers(0, 40))
def test_a_visible_joint_has_a_peak_and_a_hidden_one_none(seed: int) -> None:
    pixels, visible = joints(seed, 1)
    heat = heatmaps(pixels, visible, ROWS, COLUMNS, STRIDE).amax(dim=(1, 2)).numpy()
    np.testing.assert_array_equal(heat == 1, visible[0])
    assert not heat[~visible[0]].any()


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
    pixels, visible = np.full((1, 139, 2), 0, np.float32), np.ones((1, 139), bool)
    for offset in (-3.5, 0, 3.5):
        pixels[:] = np.array(middle) + offset
        heat = heatmaps(pixels, visible, 20, 20, STRIDE)
        np.testing.assert_array_equal(torch.nonzero(heat[5] == 1), [[9, 10]])


def test_two_people_have_two_peaks() -> None:
    pixels, visible = np.zeros((2, 139, 2), np.float32), np.ones((2, 139), bool)
    pixels[0], pixels[1] = (16, 24), (80, 64)
    heat = heatmaps(pixels, visible, ROWS, COLUMNS, STRIDE)
    np.testing.assert_array_equal(torch.nonzero(heat[0] == 1), [[3, 2], [8, 10]])


def test_the_loss_of_a_perfect_answer_is_nothing_and_grows_with_every_miss() -> None:
    heat = heatmaps(*joints(1, 1), ROWS, COLUMNS, STRIDE)[None]
    perfect = torch.where(heat == 1, 20.0, -20.0)
    missed, invented = perfect.clone(), perfect.clone()
    missed[heat == 1] = -2
    invented[heat == 0] = 2
    assert float(heatmap_loss(perfect, heat)) < 1e-3
    assert float(heatmap_loss(missed, heat)) > 0.3
    assert float(heatmap_loss(invented, heat)) > 0.3


@pytest.mark.parametrize("people", [0, 2])
def test_the_head_learns(people: int) -> None:
    head = HeatmapHead(6)
    heat = heatmaps(*joints(2, people), ROWS, COLUMNS, STRIDE)[None]
    heatmap_loss(head(torch.rand(1, 6, ROWS, COLUMNS)), heat).backward()
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
