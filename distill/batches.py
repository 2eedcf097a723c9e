"""Batches of pictures and their truth, each prepared while the step before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.heatmaps import heatmaps
from wholebody.distill.scenes import Scenes, augment
from wholebody.distill.state import TrainingState
from wholebody.distill.targets import PictureTruth
from wholebody.export.students.dope import MEAN, STD, Dope

__all__ = ["batches"]

REFRESH_EVERY = 100  # steps between looks for new scenes

Batch = tuple[Tensor, list[PictureTruth], Tensor]


def batches(stock: Scenes, state: TrainingState, last: int, count: int, seed: list[int]) -> Iterator[Batch]:
    """Batches for the steps up to last - 1: (count, 3, H, W) normalised pictures, truths, heat maps."""

    def batch(step: int) -> Batch:
        if step % REFRESH_EVERY == 0:
            stock.refresh()
        rngs = [np.random.default_rng([*seed, step, i]) for i in range(count)]
        images, truths, heat = zip(*(_draw(stock, state.network, rng) for rng in rngs), strict=True)
        pictures = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return pictures, list(truths), torch.stack(heat)

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(batch, state.step)
        for step in range(state.step, last):
            drawn = coming.result()
            coming = thread.submit(batch, step + 1)
            torch.manual_seed(hash((*seed, step)))
            yield drawn


def _draw(stock: Scenes, network: Dope, rng: np.random.Generator) -> tuple[Tensor, PictureTruth, Tensor]:
    sample = augment(stock[int(rng.integers(len(stock)))], rng)
    height, width = sample.image.shape[:2]
    truths = part_truths(sample.keypoints, sample.keypoints3d, sample.visible, height, width)
    image = torch.from_numpy(np.ascontiguousarray(sample.image[..., ::-1].transpose(2, 0, 1))).float() / 255
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    stride = network.config.c4_stride
    heat = heatmaps(sample.keypoints, sample.visible, height // stride, width // stride, stride)
    return (image - mean) / deviation, PictureTruth.of(truths, network), heat
