"""Batches of crops and their truth, drawn by other processes while a step runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wholebody.distill.dwpose.crops import Crop, cut, trainable
from wholebody.distill.scenes import Scenes
from wholebody.export.students.rtmpose import MEAN, STD

__all__ = ["CROPS_A_SCENE", "Batch", "batches"]

CROPS_A_SCENE = 4  # cut from each scene that is decoded, which costs more than cutting


class Batch(NamedTuple):
    """Crops (B, h, w, 3) uint8 BGR, keypoints (B, 133, 2) crop pixels, and their presence (B, 133) uint8."""

    images: Tensor
    keypoints: Tensor
    presence: Tensor

    def normalised(self) -> Tensor:
        """(B, 3, h, w) float32 RGB as the network wants them, channels last in memory."""
        mean, deviation = _statistics(self.images.device)
        return ((self.images.flip(-1).float() - mean) / deviation).permute(0, 3, 1, 2)

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in self))


def batches(
    stock: Scenes, crop: tuple[int, int], first: int, last: int, size: int, seed: int, workers: int
) -> Iterator[Batch]:
    """Batches for the steps first to last - 1, the same whatever the number of workers.

    crop (width, height) in pixels; size, a multiple of CROPS_A_SCENE, crops a batch.
    """
    scenes = size // CROPS_A_SCENE
    loader = DataLoader(
        _Draws(stock, crop, seed), scenes, sampler=range(first * scenes, last * scenes),
        num_workers=workers, collate_fn=_collate, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    yield from loader


class _Draws(Dataset[list[Crop]]):
    """The n-th CROPS_A_SCENE crops of a training: a scene, people in it, what is done to them, all from n."""

    def __init__(self, stock: Scenes, crop: tuple[int, int], seed: int) -> None:
        self._stock, self._crop, self._seed = stock, crop, seed

    def __getitem__(self, n: int) -> list[Crop]:
        rng = np.random.default_rng([self._seed, n])
        while True:
            sample = self._stock[int(rng.integers(len(self._stock)))]
            people, boxes = trainable(sample)
            if len(people):
                whom = np.resize(rng.permutation(people), CROPS_A_SCENE).tolist()
                return [cut(sample, person, boxes[person], self._crop, rng) for person in whom]


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)


def _collate(draws: Sequence[Sequence[Crop]]) -> Batch:
    crops = (crop for draw in draws for crop in draw)
    return Batch(*(torch.from_numpy(np.stack(arrays)) for arrays in zip(*crops, strict=True)))
