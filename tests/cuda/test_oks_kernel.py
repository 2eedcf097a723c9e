"""oks_nms.cu against `oks_nms`."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels.oks import oks_nms
from wholebody.runtime.kernels.oks_gpu import GpuOksNms
from wholebody.runtime.people import Floats

Poses = tuple[Floats, Floats, Floats, Floats]


def poses(people: int, joints: int, seed: int = 0) -> Poses:
    """People of whom every third nearly repeats another one."""
    rng = np.random.default_rng([people, joints, seed])
    keypoints = rng.uniform(0, 300, (people, joints, 2))
    keypoints[::3] = keypoints[rng.integers(people, size=len(keypoints[::3]))]
    keypoints += rng.normal(0, 2, keypoints.shape)
    scores = rng.uniform(-0.2, 1, (people, joints))
    scores[scores < 0] = 0
    keypoints[scores == 0] = np.nan
    arrays = keypoints, scores, rng.uniform(0, 1, people), rng.uniform(1e4, 9e4, people)
    return tuple(a.astype(np.float32) for a in arrays)  # type: ignore[return-value]


def check(gpu: Gpu, people: Poses, threshold: float = 0.9, most: int | None = None) -> int:
    count, joints = people[1].shape
    sigmas = np.random.default_rng(joints).uniform(0.02, 0.1, joints).tolist()
    expected = oks_nms(*people, sigmas, threshold)
    suppress = GpuOksNms(gpu, max(1, most or count), sigmas, threshold)
    kept = gpu.download(suppress(*(gpu.upload(a) for a in people)))
    assert kept[-1] == len(expected)
    np.testing.assert_array_equal(kept[: len(expected)], expected)
    return len(expected)


@pytest.mark.parametrize("joints", [1, 17, 21, 133])
@pytest.mark.parametrize("people", [0, 1, 2, 31, 65])
def test_any_number_of_people_and_keypoints(gpu: Gpu, people: int, joints: int) -> None:
    check(gpu, poses(people, joints) if people else tuple(a[:0] for a in poses(1, joints)), 0.5)  # type: ignore[arg-type]


def test_some_go_and_some_stay(gpu: Gpu, order: str) -> None:
    assert 60 < check(gpu, poses(150, 17), 0.5, most=500) < 140


def test_ties_of_score(gpu: Gpu) -> None:
    keypoints, scores, score, areas = poses(100, 17)
    check(gpu, (keypoints, scores, np.round(score * 3).astype(np.float32), areas), 0.4)


def test_nan(gpu: Gpu) -> None:
    keypoints, scores, score, areas = poses(40, 17)
    keypoints[::4, 3] = np.nan  # seen, and yet nowhere
    score[[5, 6, 30]] = np.nan
    check(gpu, (keypoints, scores, score, areas), 0.4)


def test_nothing_seen_and_no_area(gpu: Gpu) -> None:
    keypoints, scores, score, areas = poses(10, 17)
    scores[:5] = 0
    areas[3:] = 0
    keypoints[6] = keypoints[7]
    check(gpu, (keypoints, scores, score, areas))
