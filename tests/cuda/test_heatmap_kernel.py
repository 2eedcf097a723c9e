"""heatmap.cu against `decode_heatmaps`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels.heatmap import decode_heatmaps
from wholebody.runtime.kernels.heatmap_gpu import HeatmapDecoder

WH = 48, 64  # of the crop


def gaussians(
    people: int, joints: int, height: int = 16, width: int = 12, seed: int = 0
) -> NDArray[np.float32]:
    """Maps with a peak each, some of them at an edge, and noise."""
    rng = np.random.default_rng([people, joints, height, width, seed])
    centre = rng.uniform(-1, 1, (people, joints, 1, 1, 2)) * (height, width) * 0.6 + (height / 2, width / 2)
    y, x = np.ogrid[:height, :width]
    away = (y - centre[..., 0]) ** 2 + (x - centre[..., 1]) ** 2
    maps = 0.9 * np.exp(-away / 8) + rng.normal(0, 0.01, (people, joints, height, width))
    return maps.astype(np.float32)


def check(gpu: Gpu, maps: NDArray[Any], udp: bool) -> None:
    decode = HeatmapDecoder(gpu, max(len(maps), 1), maps.shape[1], WH, udp=udp)
    keypoints, scores = (gpu.download(a) for a in decode(gpu.upload(maps)))
    expected = decode_heatmaps(maps, WH, udp=udp)
    np.testing.assert_array_equal(scores, expected[1])
    np.testing.assert_allclose(keypoints, expected[0], rtol=0, atol=2e-3 if udp else 0)


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize(("people", "joints"), [(0, 17), (1, 1), (3, 17), (2, 133)])
def test_any_number_of_people(gpu: Gpu, people: int, joints: int, udp: bool) -> None:
    check(gpu, gaussians(people, joints), udp)


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 30), (64, 48), (17, 5)])
def test_maps_of_any_size(gpu: Gpu, height: int, width: int, udp: bool, order: str) -> None:
    check(gpu, gaussians(1, 3, height, width), udp)


@pytest.mark.parametrize("udp", [False, True])
def test_nothing_seen_nan_and_ties(gpu: Gpu, udp: bool) -> None:
    maps = gaussians(1, 8)
    maps[0, 0] = 0
    maps[0, 1] = -1
    maps[0, 2, 5, 5] = np.nan
    maps[0, 3] = 0.5
    maps[0, 4, 3:5, 3:5] = 2
    check(gpu, maps, udp)


@pytest.mark.parametrize("udp", [False, True])
def test_half(gpu: Gpu, udp: bool) -> None:
    check(gpu, gaussians(2, 17).astype(np.float16), udp)
