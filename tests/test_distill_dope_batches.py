"""Batches: drawn by chance from a seed and a step, the same however many processes draw them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.dope import batches as module
from wholebody.distill.dope.anchor_poses import Floats
from wholebody.distill.dope.batches import Batch, batches
from wholebody.distill.dope.heatmaps import heatmaps
from wholebody.distill.dope.targets import PartTensors, picture_truth
from wholebody.distill.scenes import Sample
from wholebody.export.students.dope import JOINTS, PARTS
from wholebody.runtime.skeletons import DOPE

SIDE, STRIDE = 96, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def sample(seed: int, people: int) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    pixels = rng.uniform(5, 90, (people, 139, 2)).astype(np.float32)
    metres = rng.normal(0, 0.3, (people, 139, 3)).astype(np.float32)
    return Sample(image, pixels, metres, rng.random((people, 139)) < 0.8, DOPE)


STOCK: Any = [sample(seed, people=seed % 4) for seed in range(8)]  # nobody in every fourth


def anchors() -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    return {part: rng.random((4, JOINTS[part], 5)).astype(np.float32) for part in PARTS}


def drawn(
    first: int, last: int, *, stock: Any = STOCK, size: int = 3, seed: int = 1, workers: int = 0
) -> list[Batch]:
    return list(batches(stock, anchors(), first, last, size, seed, workers))


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.images, batch.keypoints, batch.visible, *(f for part in PARTS for f in batch.truth[part])]


def assert_same(some: list[Batch], others: list[Batch]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


@pytest.fixture
def as_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes are not augmented."""
    monkeypatch.setattr(module, "augment", lambda sample, rng: sample)


def test_pictures_without_anybody() -> None:
    (batch,) = drawn(0, 1, stock=[sample(0, 0)])
    assert batch.images.shape == (3, SIDE, SIDE, 3)
    assert batch.normalised().shape == (3, 3, SIDE, SIDE)
    assert batch.keypoints.shape == (3, 0, 139, 2)
    assert batch.visible.shape == (3, 0, 139)
    assert not batch.heat(STRIDE).any()
    assert batch.truth["hand"].boxes.shape == (3, 0, 4)


def test_no_steps_are_no_batches() -> None:
    assert drawn(4, 4) == []


def test_a_batch_holds_its_pictures_and_their_truth(as_rendered: None) -> None:
    """Each under its own place, filled up to the fullest."""
    (batch,) = drawn(0, 1, size=12)
    assert (batch.images.dtype, batch.visible.dtype) == (torch.uint8, torch.bool)
    heat = batch.heat(STRIDE)
    for i, image in enumerate(batch.images):
        (own,) = (s for s in STOCK if np.array_equal(s.image, image))
        n = len(own.keypoints)
        np.testing.assert_array_equal(batch.keypoints[i, :n], own.keypoints)
        np.testing.assert_array_equal(batch.visible[i, :n], own.visible)
        assert not batch.visible[i, n:].any()
        found = part_truths(own.keypoints, own.keypoints3d, own.visible, SIDE, SIDE)
        for part, truth in picture_truth(found, anchors()).items():
            for name, field in zip(PartTensors._fields, batch.truth[part], strict=True):
                expected = getattr(truth, name)
                assert torch.equal(field[i, : len(expected)], expected)
                assert not field[i, len(expected) :].any()
        seen = torch.from_numpy(own.keypoints)[None], torch.from_numpy(own.visible)[None]
        assert torch.equal(heat[i], heatmaps(*seen, 12, 12, STRIDE)[0])


def test_pictures_are_normalised_rgb(as_rendered: None) -> None:
    (batch,) = drawn(0, 1, size=1, stock=STOCK[:1])
    pictures = batch.normalised()
    assert pictures.dtype == torch.float32
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    colours = (pictures[0].permute(1, 2, 0).numpy() * STD + MEAN) * 255
    np.testing.assert_allclose(colours[..., ::-1], STOCK[0].image, atol=1e-2)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # torch's threads
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # with fewer cores
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    """Neither the batches nor the chance that a step has besides."""
    torch.manual_seed(0)
    alone, chance = drawn(2, 6), torch.rand(4)
    torch.manual_seed(0)
    assert_same(drawn(2, 6, workers=workers), alone)
    assert torch.equal(torch.rand(4), chance)


def test_batches_go_on_where_a_training_stopped() -> None:
    whole = drawn(0, 5)
    assert len(whole) == 5
    assert_same(drawn(0, 2) + drawn(2, 5), whole)


def test_every_draw_is_a_new_one_and_a_seed_s_own() -> None:
    pictures = [
        image.numpy().tobytes() for seed in (1, 2) for b in drawn(0, 4, seed=seed) for image in b.images
    ]
    assert len(set(pictures)) == len(pictures) == 24


def test_scenes_are_drawn_alike(as_rendered: None) -> None:
    pictures = [image.numpy().tobytes() for b in drawn(0, 100, size=4) for image in b.images]
    often = [pictures.count(picture) for picture in set(pictures)]
    assert len(often) == len(STOCK)
    assert min(often) > 25  # of fifty


def test_all_of_a_batch_moves_to_a_device() -> None:
    (batch,) = drawn(0, 1)
    assert {t.device.type for t in tensors(batch.to(torch.device("meta")))} == {"meta"}
    assert_same([batch.to(torch.device("cpu"))], [batch])
