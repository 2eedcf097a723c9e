"""Regions of a whole batch: the exported network's proposals, true boxes, and what RoIAlign finds in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wholebody.distill.dope.regions import (
    LEAST_SIDE,
    POSITIVE_REGIONS,
    REGION_ABOVE,
    REGIONS,
    pool_regions,
    proposals,
    sample_regions,
)
from wholebody.export.students.dope import Dope, DopeConfig
from wholebody.export.students.roi_align import pool
from wholebody.export.students.rpn import anchor_grid, box_iou, encode_boxes, propose

HEIGHT, WIDTH, STRIDE = 96, 128, 8
CONFIG = DopeConfig(
    width=4, blocks=(1, 1, 1, 1), c4_stride=STRIDE, anchor_sizes=(16, 32, 64), candidates=60, proposals=20
)
SOMEBODY = torch.tensor([[10.0, 5, 60, 90], [20, 40, 40, 64], [60, 50, 80, 70], [25, 8, 45, 30]])


# --- proposals --------------------------------------------------------------------------------------


def selected(logits: Tensor, deltas: Tensor, anchors: Tensor, config: DopeConfig) -> Tensor:
    return proposals(logits, deltas, anchors, (HEIGHT, WIDTH), config)


def assert_as_exported(
    found: Tensor, logits: Tensor, deltas: Tensor, anchors: Tensor, config: DopeConfig
) -> None:
    """Box for box what the exported network selects, picture by picture."""
    c, size = config, torch.tensor([float(HEIGHT), WIDTH])
    for mine, picture, moved in zip(found, logits, deltas, strict=True):
        boxes, real = propose(picture, moved, anchors, size, c.candidates, c.proposals, c.rpn_threshold)
        assert torch.equal(mine, boxes[: len(mine)])
        assert int(real.sum()) == int((mine.any(dim=1)).sum())


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 1.0, 3.0]), st.sampled_from([0.3, 0.7]))
def test_proposals_are_those_of_the_exported_network(seed: int, spread: float, threshold: float) -> None:
    """However far the boxes are moved: many end outside the picture, and are none."""
    draw = torch.Generator().manual_seed(seed)
    anchors = anchor_grid(CONFIG.anchor_sizes, CONFIG.anchor_ratios, 4, 5, 3 * STRIDE)
    logits = torch.randn(2, len(anchors), generator=draw)
    deltas = spread * torch.randn(2, len(anchors), 4, generator=draw)
    config = DopeConfig(**{**vars(CONFIG), "rpn_threshold": threshold})
    assert_as_exported(selected(logits, deltas, anchors, config), logits, deltas, anchors, config)


def test_proposals_of_a_trunk_and_its_rpn(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope(c4_stride=STRIDE, anchor_sizes=(16, 32, 64))
    images = torch.randn(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, deltas = network.rpn(network.backbone.features(images))
    anchors = network.anchors(images)
    found = selected(logits, deltas, anchors, network.config)
    assert found.shape == (3, network.config.proposals, 4)
    assert bool(found.any())
    assert_as_exported(found, logits, deltas, anchors, network.config)


def chain(length: int) -> Tensor:
    """Boxes each of which overlaps the next by a little more than 0.7, and no other."""
    x = 4.0 * torch.arange(length)
    return torch.stack([x, torch.zeros(length), x + 24, torch.full((length,), 10.0)], dim=1)


@pytest.mark.parametrize("length", [2, 3, 15, 16])
def test_a_chain_of_suppressed_boxes_is_followed_to_its_end(length: int) -> None:
    """Every second box stays, since the one that overlaps it has gone."""
    boxes = chain(length)
    logits, deltas = -torch.arange(float(length))[None], torch.zeros(1, length, 4)
    found = selected(logits, deltas, boxes, CONFIG)
    stay = boxes[::2]
    assert torch.equal(found[0, : len(stay)], stay)
    assert not found[0, len(stay) :].any()


def test_fewer_boxes_than_wanted_are_filled_up_with_boxes_without_area() -> None:
    one = torch.tensor([[10.0, 10, 42, 42]])
    found = selected(torch.zeros(2, 1), torch.zeros(2, 1, 4), one, CONFIG)
    assert torch.equal(found, one.expand(2, 1, 4))
    same = one.expand(30, 4)
    found = selected(torch.arange(30.0)[None], torch.zeros(1, 30, 4), same, CONFIG)
    assert found.shape == (1, CONFIG.proposals, 4)
    assert torch.equal(found[0, :1], one)
    assert not found[0, 1:].any()


def test_a_box_that_is_none_takes_no_place() -> None:
    """Better than all others, but outside the picture."""
    there = torch.tensor([[8.0 * i, 0, 8 * i + 8, 40] for i in range(16)])
    outside = there + torch.tensor([0.0, 200, 0, 200])
    anchors = torch.cat([outside, there])
    logits = torch.cat([torch.arange(50.0, 34, -1), torch.arange(16.0, 0, -1)])[None]
    found = selected(logits, torch.zeros(1, 32, 4), anchors, CONFIG)
    assert torch.equal(found[0, :16], there)
    assert not found[0, 16:].any()


# --- regions to learn from --------------------------------------------------------------------------


def somewhere(count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(2, count, 2, generator=draw) * 60
    return torch.cat([corner, corner + 3 + torch.rand(2, count, 2, generator=draw) * 30], dim=2)


def on_somebody(regions: Tensor, boxes: Tensor) -> Tensor:
    return (box_iou(regions, boxes) >= REGION_ABOVE).any(dim=2)


@pytest.mark.parametrize("people", [0, 1, 4])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_there_are_always_as_many_regions(people: int, count: int) -> None:
    torch.manual_seed(0)
    boxes = SOMEBODY[:people].expand(2, people, 4)
    regions = sample_regions(somewhere(count), boxes)
    assert regions.shape == (2, REGIONS, 4)
    assert bool(((regions[..., 2:] - regions[..., :2]) > LEAST_SIDE).all())
    positive = on_somebody(regions, boxes)
    assert positive.any(dim=1).tolist() == [people > 0] * 2
    if count == 300:
        assert int(positive.sum(dim=1).max()) <= POSITIVE_REGIONS
        assert int((~positive).sum(dim=1).min()) >= REGIONS - POSITIVE_REGIONS
        assert all(len({tuple(r) for r in picture.tolist()}) == REGIONS for picture in regions)


@given(st.integers(0, 2**31))
def test_regions_are_proposals_or_lie_near_true_boxes(seed: int) -> None:
    torch.manual_seed(seed)
    proposed, boxes = somewhere(20, seed), SOMEBODY.expand(2, 4, 4)
    for picture, own in zip(sample_regions(proposed, boxes), proposed, strict=True):
        known = (picture[:, None] == own).all(dim=2).any(dim=1)
        near = (box_iou(picture, SOMEBODY) > 0.3).any(dim=1)
        placeholder = (picture == torch.tensor([0.0, 0, 64, 64])).all(dim=1)
        assert bool((known | near | placeholder).all())


def test_an_empty_picture_beside_a_full_one_learns_from_the_background() -> None:
    """Filled up, its true boxes have no area; none of them may become a region."""
    torch.manual_seed(0)
    boxes = torch.stack([SOMEBODY, torch.zeros(4, 4)])
    regions = sample_regions(torch.zeros(2, 5, 4), boxes)
    assert bool(on_somebody(regions, boxes)[0].any())
    assert torch.equal(regions[1], torch.tensor([0.0, 0, 64, 64]).expand(REGIONS, 4))


def test_what_is_too_thin_to_learn_from_is_left_out() -> None:
    """Be it proposed or true."""
    thin = torch.tensor([[[0.0, 0, 50, 1], [5.0, 5, 5, 5], [0, 0, 0, 0]]])
    for boxes in (torch.zeros(1, 0, 4), thin):
        regions = sample_regions(thin, boxes)
        assert bool(((regions[..., 2:] - regions[..., :2]) > LEAST_SIDE).all())


def test_no_more_regions_than_so_many_have_somebody_in_them() -> None:
    """However good the proposals have become."""
    torch.manual_seed(0)
    boxes = SOMEBODY.expand(2, 4, 4)
    good = boxes.repeat(1, 50, 1) + torch.rand(2, 200, 4)
    regions = sample_regions(torch.cat([good, somewhere(200)], dim=1), boxes)
    assert on_somebody(regions, boxes).sum(dim=1).tolist() == [POSITIVE_REGIONS] * 2


def test_true_boxes_teach_before_anything_is_proposed() -> None:
    """As they are, and shaken in every direction."""
    torch.manual_seed(0)
    box = SOMEBODY[:1].expand(1, 1, 4)
    regions = sample_regions(torch.zeros(1, 0, 4), box)[0]
    distinct = torch.unique(regions, dim=0)
    assert len(distinct) >= 4
    assert bool((distinct == SOMEBODY[0]).all(dim=1).any())


# --- pooling ----------------------------------------------------------------------------------------


def pooled_alone(features: Tensor, regions: Tensor) -> Tensor:
    each = [pool(f[None], r, 7, 2, 1 / STRIDE) for f, r in zip(features, regions, strict=True)]
    return torch.cat(each)


def scattered(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Features of two pictures, and regions of any size that may reach beyond them."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 5, HEIGHT // STRIDE, WIDTH // STRIDE, generator=draw)
    corner = torch.rand(2, count, 2, generator=draw) * 160 - 30
    return features, torch.cat([corner, corner + torch.rand(2, count, 2, generator=draw) * 90], dim=2)


def test_no_regions_are_pooled_to_nothing() -> None:
    features, _ = scattered(0, 1)
    assert pool_regions(features, torch.zeros(2, 0, 4), STRIDE).shape == (0, 5, 7, 7)


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_a_batch_is_pooled_as_its_pictures_are(seed: int, count: int) -> None:
    features, regions = scattered(seed, count)
    found = pool_regions(features, regions, STRIDE)
    torch.testing.assert_close(found, pooled_alone(features, regions), atol=1e-5, rtol=1e-5)


def test_pooling_teaches_the_features_alike() -> None:
    features, regions = scattered(1, 3)
    gradients = []
    for function in (lambda f: pool_regions(f, regions, STRIDE), lambda f: pooled_alone(f, regions)):
        leaf = features.clone().requires_grad_()
        (function(leaf) ** 2).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_features_stay_in_their_precision() -> None:
    features, regions = scattered(2, 3)
    half = pool_regions(features.bfloat16(), regions, STRIDE)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), pooled_alone(features, regions), atol=0.1, rtol=0.05)


def test_one_region_encoded_on_its_anchor_is_itself(tiny_dope: Callable[..., Any]) -> None:
    """The proposal of a network that knows where something is."""
    network = tiny_dope(c4_stride=STRIDE, anchor_sizes=(16, 32, 64))
    anchors = network.anchors(torch.zeros(1, 3, HEIGHT, WIDTH))
    best = box_iou(anchors, SOMEBODY).argmax(dim=0)
    logits, deltas = torch.full((1, len(anchors)), -20.0), torch.zeros(1, len(anchors), 4)
    logits[0, best] = torch.tensor([23.0, 22, 21, 20])
    deltas[0, best] = encode_boxes(SOMEBODY, anchors[best])
    torch.testing.assert_close(selected(logits, deltas, anchors, network.config)[0, :4], SOMEBODY)
