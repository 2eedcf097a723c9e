"""ppi_groups.cu and ppi_modes.cu against `select_candidates` and `integrate`, and against golden cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wholebody.benchmarks.ppi import CASES, Case, Proposals, crowd, plain_ppi
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import ppi_gpu
from wholebody.runtime.kernels.ppi import BODY_FUNCTIONS, PpiOptions, integrate
from wholebody.runtime.kernels.ppi_gpu import GpuPpi
from wholebody.runtime.kernels.proposals import Detections

BODY, HAND, FACE = CASES
SCALE = 1.3712345, 0.7123456
RESOLUTION = 500, 1500


def on_gpu(
    gpu: Gpu,
    given: Proposals,
    case: Case,
    options: PpiOptions,
    room: int = 2**21,
    scale: tuple[float, float] = SCALE,
) -> Detections:
    proposals, classes = given.pose2d.shape[:2]
    run = GpuPpi(gpu, case.part, options, proposals=proposals + 3, classes=classes, room=room)
    scores, boxes, pose2d, pose3d = (gpu.upload(a) for a in vars(given).values())
    return run(scores, boxes, pose2d, pose3d, scale, RESOLUTION).read()


def check(
    gpu: Gpu,
    given: Proposals,
    case: Case,
    options: PpiOptions | None = None,
    room: int = 2**21,
    specification: Callable[..., Detections] = integrate,
) -> Detections:
    options = options or PpiOptions(case.K)
    got = on_gpu(gpu, given, case, options, room)
    candidates = given.select(options.score_th).scaled(*SCALE)
    expected = specification(candidates, case.part, options, RESOLUTION)
    np.testing.assert_array_equal(got.label, expected.label)
    np.testing.assert_array_equal(got.score, expected.score)
    np.testing.assert_array_equal(got.is_right, expected.is_right)
    size = np.nanmax(np.abs(candidates.pose2d), initial=1)
    for name in ("pose2d", "box"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-5 * size)
    np.testing.assert_allclose(got.pose3d, expected.pose3d, rtol=1e-4, atol=1e-5)
    return got


def some(case: Case, count: int, seed: int = 0) -> Proposals:
    """`count` proposals of a crowded picture."""
    everyone = crowd(case, people=3, each=max(1, count // 5), clutter=count, seed=seed)
    return Proposals(*(a[:count] for a in vars(everyone).values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.part)
@pytest.mark.parametrize("count", [0, 1, 2, 17, 64, 90])
def test_any_number_of_proposals(gpu: Gpu, case: Case, count: int) -> None:
    check(gpu, some(case, count), case)


@pytest.mark.parametrize("function", BODY_FUNCTIONS)
def test_every_function_that_tells_people_apart(gpu: Gpu, function: str) -> None:
    check(gpu, some(BODY, 60), BODY, PpiOptions(BODY.K, iou_func=function))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.part)
def test_groups_by_the_boxes_of_poses(gpu: Gpu, case: Case) -> None:
    check(gpu, some(case, 40), case, PpiOptions(case.K, group_by="pose"))


@pytest.mark.parametrize("part", ["body", "body_torso", "hand", "face"])
@pytest.mark.parametrize("number", range(5))
def test_golden(gpu: Gpu, shared: Path, part: str, number: int) -> None:
    path = shared / "golden" / "ppi" / f"ppi_{part}_{number}.npz"
    if not path.exists():
        return
    with np.load(path, allow_pickle=False) as golden:
        given = Proposals(*(golden[name] for name in ("scores", "boxes", "pose2d", "pose3d")))
        options = PpiOptions.from_dict(json.loads(str(golden["kwargs"])))
        case = next(case for case in CASES if case.part == part[: len(case.part)])
        got = on_gpu(gpu, given, case, options, scale=(1, 1))
        np.testing.assert_allclose(got.score, golden["out_score"], rtol=1e-3)
        np.testing.assert_allclose(got.pose2d, golden["out_pose2d"], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(got.pose3d, golden["out_pose3d"], rtol=1e-3, atol=1e-5)
        if case.part == "hand":
            np.testing.assert_array_equal(got.is_right, golden["out_isright"])


def test_any_order_of_threads(gpu: Gpu, order: str) -> None:
    check(gpu, some(BODY, 70, seed=1), BODY)
    check(gpu, some(HAND, 50, seed=1), HAND, PpiOptions(HAND.K, iou_func="mje"))


@pytest.mark.parametrize("function", ["bbox", "mje", "torsoLR"])
def test_without_room_for_marks(gpu: Gpu, function: str) -> None:
    check(gpu, some(BODY, 40), BODY, PpiOptions(BODY.K, iou_func=function), room=1)


def test_ties(gpu: Gpu) -> None:
    given = some(HAND, 80)
    coarse = np.round(given.scores * 8) / 8
    check(gpu, Proposals(coarse.astype(np.float32), given.boxes, given.pose2d, given.pose3d), HAND)
    same = np.repeat(given.boxes[:8], 10, axis=0)
    check(gpu, Proposals(coarse.astype(np.float32), same, given.pose2d, given.pose3d), HAND)


def test_no_score_at_all(gpu: Gpu) -> None:
    given = some(FACE, 20)
    given.scores[:] = 0
    assert not len(check(gpu, given, FACE))
    nobody = PpiOptions(FACE.K, score_th=0.0)
    assert not len(check(gpu, given, FACE, nobody))


def test_nan(gpu: Gpu) -> None:
    given = some(BODY, 60)
    given.scores[::5, 3] = np.nan
    given.boxes[::7, 2] = np.nan
    given.boxes[1::7] = given.boxes[1::7, [2, 3, 0, 1]]
    given.pose2d[::6, 4] = np.nan
    with np.errstate(invalid="ignore"):
        check(gpu, given, BODY)
        check(gpu, given, BODY, PpiOptions(BODY.K, iou_func="torsoheadLR"))
        check(gpu, given, BODY, PpiOptions(BODY.K, group_by="pose"))


def test_nan_among_3d_joints(gpu: Gpu) -> None:
    given = some(BODY, 60)
    given.pose3d[::4, :5, 6] = np.nan
    check(gpu, given, BODY, specification=plain_ppi)


def test_5000_proposals(gpu: Gpu) -> None:
    case = Case("body", 2, 13, 1)
    given = crowd(case, people=50, each=60, clutter=2000)
    check(gpu, given, case, PpiOptions(1, score_th=0.3))


def test_a_crowd(gpu: Gpu) -> None:
    found = check(gpu, crowd(BODY), BODY)
    assert len(found) > 100


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppi_gpu, "blocks", lambda *_: 1)
    check(gpu, some(BODY, 50), BODY)


def test_too_many_candidates(gpu: Gpu) -> None:
    with pytest.raises(ValueError, match="more than 262144 candidates"):
        GpuPpi(gpu, "body", PpiOptions(10), proposals=10000, classes=40)
