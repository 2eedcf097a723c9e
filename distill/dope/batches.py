"""Batches of pictures and their truth, drawn by other processes while a step runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.dope.anchor_poses import Floats
from wholebody.distill.dope.heatmaps import heatmaps
from wholebody.distill.dope.targets import Truth, picture_truth, stack, to_device
from wholebody.distill.scenes import Scenes, augment
from wholebody.export.students.dope import MEAN, STD

__all__ = ["Batch", "batches"]


class Batch(NamedTuple):
    """Pictures (B, H, W, 3) uint8 BGR, their truth, and the joints (B, P, 139, 2) that can be seen."""

    images: Tensor
    truth: Truth
    keypoints: Tensor
    visible: Tensor

    def normalised(self) -> Tensor:
        """(B, 3, H, W) float32 RGB as the network wants them."""
        mean, deviation = _statistics(self.images.device)
        pictures = (self.images.flip(3).float() / 255 - mean) / deviation
        return pictures.permute(0, 3, 1, 2)  # channels last in memory, where convolutions are quickest

    def heat(self, stride: int) -> Tensor:
        """(B, 139, h, w) truth of the heat maps."""
        rows, columns = (side // stride for side in self.images.shape[1:3])
        return heatmaps(self.keypoints, self.visible, rows, columns, stride)

    def to(self, device: torch.device) -> Batch:
        images, keypoints, visible = (
            t.to(device, non_blocking=True) for t in (self.images, self.keypoints, self.visible)
        )
        return Batch(images, to_device(self.truth, device), keypoints, visible)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation on a device, sent there once: sending stops a GPU."""
    return torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)


def batches(
    stock: Scenes, anchors: Mapping[str, Floats], first: int, last: int, size: int, seed: int, workers: int
) -> Iterator[Batch]:
    """Batches for the steps first to last - 1, the same whatever the number of workers."""
    draws = range(first * size, last * size)
    loader = DataLoader(
        _Draws(stock, anchors, seed), size, sampler=draws, num_workers=workers, collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    yield from loader


class _Draws(Dataset[tuple[Tensor, Truth, Tensor, Tensor]]):
    """The n-th sample of a training: a scene and its augmentation, both by chance from n."""

    def __init__(self, stock: Scenes, anchors: Mapping[str, Floats], seed: int) -> None:
        self._stock, self._anchors, self._seed = stock, anchors, seed

    def __getitem__(self, n: int) -> tuple[Tensor, Truth, Tensor, Tensor]:
        rng = np.random.default_rng([self._seed, n])
        sample = augment(self._stock[int(rng.integers(len(self._stock)))], rng)
        height, width = sample.image.shape[:2]
        truths = part_truths(sample.keypoints, sample.keypoints3d, sample.visible, height, width)
        image = torch.from_numpy(np.ascontiguousarray(sample.image))
        return (
            image, picture_truth(truths, self._anchors),
            torch.from_numpy(sample.keypoints), torch.from_numpy(sample.visible),
        )  # fmt: skip


def _collate(samples: Sequence[tuple[Tensor, Truth, Tensor, Tensor]]) -> Batch:
    images, truths, keypoints, visible = zip(*samples, strict=True)
    people = (pad_sequence(list(values), batch_first=True) for values in (keypoints, visible))
    return Batch(torch.stack(images), stack(truths), *people)
