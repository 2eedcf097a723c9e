"""pose_nms.cu against `select_best_class` and `pose_nms`."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.benchmarks.ppi import CASES, Case, Proposals, crowd
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import pose_nms_gpu
from wholebody.runtime.kernels.pose_nms import pose_nms
from wholebody.runtime.kernels.pose_nms_gpu import GpuPoseNms
from wholebody.runtime.kernels.proposals import Detections, select_best_class

BODY, HAND, FACE = CASES
SCALE = 1.3712345, 0.7123456


def check(
    gpu: Gpu, given: Proposals, case: Case, *, most: int = 1, score_th: float = 0.3, iou: float = 0.1
) -> Detections:
    proposals, classes = given.pose2d.shape[:2]
    size = {"proposals": max(most, proposals), "classes": classes}
    run = GpuPoseNms(gpu, case.part, case.K, **size, score_th=score_th, iou_threshold=iou)
    got = run(gpu.upload(given.scores), gpu.upload(given.pose2d), gpu.upload(given.pose3d), SCALE).read()
    chosen = select_best_class(given.scores, given.boxes, given.pose2d, given.pose3d, score_th)
    expected = pose_nms(chosen.scaled(*SCALE), case.part, case.K, iou)
    for name in ("score", "label", "box", "pose2d", "pose3d", "is_right"):
        value = getattr(got, name)
        np.testing.assert_array_equal(value, getattr(expected, name), name)
        assert value is None or value.dtype == getattr(expected, name).dtype
    return got


def some(case: Case, count: int, seed: int = 0) -> Proposals:
    """`count` proposals of a crowded picture."""
    everyone = crowd(case, people=4, each=max(1, count // 6), clutter=count, seed=seed)
    return Proposals(*(a[:count] for a in vars(everyone).values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.part)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 150])
def test_any_number_of_proposals(gpu: Gpu, case: Case, count: int) -> None:
    check(gpu, some(case, count), case, score_th=0.2)


def test_a_crowd(gpu: Gpu, order: str) -> None:
    assert len(check(gpu, crowd(BODY, each=20, clutter=60), BODY, score_th=0.1, iou=0.4)) > 16


def test_more_room_than_proposals(gpu: Gpu) -> None:
    check(gpu, some(HAND, 40), HAND, most=1000)


def test_5000_proposals_of_which_none_is_near_another(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    corner = np.stack(np.meshgrid(np.arange(100.0), np.arange(50.0)), axis=-1).reshape(-1, 1, 1, 2) * 100
    pose2d = (corner + rng.uniform(0, 50, (5000, 1, 13, 2))).astype(np.float32)
    pose3d = rng.normal(size=(5000, 1, 13, 3)).astype(np.float32)
    scores = (rng.integers(0, 100, (5000, 2)) / 100).astype(np.float32)  # many ties
    assert len(check(gpu, Proposals(scores, np.zeros((5000, 4), np.float32), pose2d, pose3d), BODY)) > 3000


def test_5000_proposals_of_a_crowd(gpu: Gpu) -> None:
    case = Case("body", 3, 13, 2)
    check(gpu, crowd(case, people=40, each=100, clutter=1000), case, score_th=0.2)


def test_ties(gpu: Gpu, order: str) -> None:
    proposals = some(BODY, 90)
    coarse = (np.round(proposals.scores * 4) / 4).astype(np.float32)
    same = np.repeat(proposals.pose2d[:9], 10, axis=0)
    check(gpu, Proposals(coarse, proposals.boxes, same, proposals.pose3d), BODY, score_th=0)


def test_nan(gpu: Gpu) -> None:
    proposals = some(FACE, 80)
    proposals.scores[::7, 3] = np.nan
    proposals.pose2d[::3, :, 5] = np.nan
    proposals.pose2d[1::3, :, 6, 1] = np.inf
    proposals.pose3d[::2] = np.nan
    with np.errstate(invalid="ignore"):
        check(gpu, proposals, FACE, score_th=0.1)


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose_nms_gpu, "blocks", lambda *_: 2)
    check(gpu, some(BODY, 300), BODY, score_th=0.05)
