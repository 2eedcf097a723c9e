"""simcc.cu against simcc.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import simcc_gpu
from wholebody.runtime.kernels.simcc import decode_depth, decode_simcc
from wholebody.runtime.kernels.simcc_gpu import DepthDecoder, SimccDecoder


def check(gpu: Gpu, simcc_x: NDArray[Any], simcc_y: NDArray[Any], split: float = 2.0) -> None:
    decode = SimccDecoder(gpu, max(len(simcc_x), 1), simcc_x.shape[1], split)
    keypoints, scores = decode(gpu.upload(simcc_x), gpu.upload(simcc_y))
    expected = decode_simcc(simcc_x, simcc_y, split)
    np.testing.assert_array_equal(gpu.download(keypoints), expected[0])
    np.testing.assert_array_equal(gpu.download(scores), expected[1])


def logits(people: int, joints: int, bins: int, dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    rng = np.random.default_rng([people, joints, bins])
    return rng.normal(0.2, 1, (people, joints, bins)).astype(dtype)


@pytest.mark.parametrize(("people", "joints"), [(0, 17), (1, 1), (1, 133), (3, 5), (40, 17)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_any_number_of_people(gpu: Gpu, people: int, joints: int, dtype: type[np.generic]) -> None:
    check(gpu, logits(people, joints, 96, dtype), logits(people, joints, 71, dtype))


@pytest.mark.parametrize(("bins_x", "bins_y"), [(1, 1), (31, 33), (576, 768), (2, 5)])
def test_any_number_of_bins(gpu: Gpu, bins_x: int, bins_y: int) -> None:
    check(gpu, logits(2, 7, bins_x), logits(2, 7, bins_y), split=2.5)


def test_of_equal_bins_the_first_wins(gpu: Gpu, order: str) -> None:
    ties = np.random.default_rng(0).integers(0, 3, (4, 33, 200)).astype(np.float32)
    check(gpu, ties, ties[..., ::-1].copy())
    check(gpu, np.ones_like(ties), np.ones_like(ties))


def test_nothing_seen(gpu: Gpu) -> None:
    for value in (0, -1, -np.inf):
        check(gpu, np.full((1, 3, 40), value, np.float32), logits(1, 3, 40))


def test_nan_and_infinity(gpu: Gpu) -> None:
    x, y = logits(2, 6, 100), logits(2, 6, 100)
    x[0, 1, [30, 60]] = np.nan
    y[0, 2] = np.nan
    x[1, 3, 99] = np.inf
    check(gpu, x, y)


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simcc_gpu, "blocks", lambda items, threads: 2)
    check(gpu, logits(9, 17, 64), logits(9, 17, 48))


@pytest.mark.parametrize("people", [0, 1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_depth(gpu: Gpu, people: int, dtype: type[np.generic]) -> None:
    simcc_z = logits(people, 133, 288, dtype)
    decode = DepthDecoder(gpu, 5, 133, 288, 2.1744869)
    metres = gpu.download(decode(gpu.upload(simcc_z)))
    depth: Any = SimpleNamespace(bins=288, range=2.1744869)
    np.testing.assert_array_equal(metres, decode_depth(simcc_z, depth))
