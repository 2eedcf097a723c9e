"""COCO's AP and AR: cases worked out by hand, and the same figures from COCO's own code."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.coco_ap import (
    AveragePrecision,
    FoundPeople,
    TruePeople,
    coco_average_precision,
)
from wholebody.runtime.skeletons import WHOLEBODY133

SIGMAS = (0.05, 0.1, 0.1)
AREA = 5000.0
POSES = np.array([[[50, 50], [60, 60], [70, 50]], [[250, 50], [260, 60], [270, 50]]], np.float32)


def true(poses: NDArray[Any] = POSES, **fields: Any) -> TruePeople:
    n = len(poses)
    values: dict[str, Any] = {
        "boxes": np.concatenate([poses.min(axis=1) - 20, poses.max(axis=1) + 20], axis=1),
        "area": np.full(n, AREA, np.float32),
        "crowd": np.zeros(n, np.bool_),
        "keypoints": poses,
        "labelled": np.ones(poses.shape[:2], np.bool_),
    }
    return TruePeople(**{**values, **fields})


def found(poses: NDArray[Any] = POSES, *scores: float) -> FoundPeople:
    return FoundPeople(poses, np.array(scores or [1.0] * len(poses), np.float32))


NONE = POSES[:0]


def ap(truth: TruePeople, prediction: FoundPeople, part: slice = slice(None)) -> AveragePrecision:
    return coco_average_precision([truth], [prediction], SIGMAS, part)


def at_oks(value: float, sigma: float = SIGMAS[0]) -> float:
    """How far a keypoint must be off for this OKS: exp(-d² / (2 · area · (2σ)²))."""
    return math.sqrt(-math.log(value) * 2 * AREA * (2 * sigma) ** 2)


# --- nobody -------------------------------------------------------------------------------------------------


def test_nobody_to_judge() -> None:
    for truth in (true(NONE), true(crowd=np.ones(2, np.bool_)), true(labelled=np.zeros((2, 3), np.bool_))):
        figures = ap(truth, found())
        assert figures.people == 0
        assert all(map(math.isnan, (figures.ap, figures.ap_50, figures.ap_75, figures.ar)))
    assert coco_average_precision([], [], SIGMAS).people == 0


def test_nobody_is_found() -> None:
    assert ap(true(), found(NONE)) == AveragePrecision(0, 0, 0, 0, people=2)


def test_a_picture_without_people_can_only_cost() -> None:
    both = coco_average_precision([true(), true(NONE)], [found(), found(POSES, 0.5, 0.5)], SIGMAS)
    assert both.ap == 1  # found last, after everybody
    both = coco_average_precision([true(), true(NONE)], [found(POSES, 0.5, 0.5), found(POSES[:1])], SIGMAS)
    assert both.ap == pytest.approx(2 / 3)
    assert both.ar == 1


def test_pictures_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="zip"):
        coco_average_precision([true()], [], SIGMAS)


# --- by hand ------------------------------------------------------------------------------------------------


def test_the_truth_is_perfect() -> None:
    assert ap(true(), found()) == AveragePrecision(1, 1, 1, 1, people=2)


def test_precision_over_recall() -> None:
    # right, wrong, right: precision 1 up to recall 0.5 (51 of 101 recalls), 2/3 after
    figures = ap(true(), found(np.stack([POSES[0], POSES[0] + 500, POSES[1]]), 0.9, 0.8, 0.7))
    assert figures.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert figures.ar == 1


def test_thresholds() -> None:
    # One joint alone, off so far that OKS is 0.77: right at 0.50, 0.55, … 0.75, six of ten
    moved = POSES[:1] + np.array([at_oks(0.77), 0], np.float32)
    figures = ap(true(POSES[:1]), found(moved), slice(0, 1))
    assert (figures.ap_50, figures.ap_75) == (1, 1)
    assert figures.ap == figures.ar == pytest.approx(0.6)


def test_the_mean_of_the_joints_decides() -> None:
    # OKS (1 + 1 + 0) / 3 = 0.67: right at four of ten thresholds
    moved = POSES[:1].copy()
    moved[0, 2] += 1e4
    assert ap(true(POSES[:1]), found(moved)).ap == pytest.approx(0.4)
    moved[0, 2] = np.nan
    assert ap(true(POSES[:1]), found(moved)).ap == pytest.approx(0.4)
    labelled = np.array([[True, True, False]])
    assert ap(true(POSES[:1], labelled=labelled), found(moved)).ap == 1


def test_the_second_on_one_person_is_wrong() -> None:
    figures = ap(true(POSES[:1]), found(POSES[[0, 0]], 0.5, 0.9))
    assert figures == AveragePrecision(1, 1, 1, 1, people=1)  # it comes after the right one
    figures = ap(true(), found(POSES[[0, 0, 1]], 0.9, 0.8, 0.7))
    assert figures.ap == pytest.approx((51 + 50 * 2 / 3) / 101)


# --- what is ignored ----------------------------------------------------------------------------------------


def test_those_on_a_crowd_do_not_count() -> None:
    crowd = np.array([False, True])
    assert ap(true(crowd=crowd), found(POSES[[0, 1, 1]], 0.5, 0.9, 0.8)) == AveragePrecision(1, 1, 1, 1, 1)


def test_those_on_somebody_without_labels_do_not_count() -> None:
    labelled = np.array([[True] * 3, [False] * 3])
    assert ap(true(labelled=labelled), found(POSES, 0.5, 0.9)) == AveragePrecision(1, 1, 1, 1, 1)


def test_a_part() -> None:
    """Only its own joints count, and a person without any of them is no prediction of it."""
    poses = POSES.copy()
    poses[:, 0] = np.nan
    first, rest = slice(0, 1), slice(1, 3)
    assert ap(true(), found(poses), first) == AveragePrecision(0, 0, 0, 0, people=2)
    assert ap(true(), found(poses), rest) == AveragePrecision(1, 1, 1, 1, people=2)
    labelled = np.array([[True, True, True], [False, True, True]])
    assert ap(true(labelled=labelled), found(), first).people == 1
    poses[0, 0] = POSES[0, 0]
    assert ap(true(labelled=labelled), found(poses, 0.5, 0.9), first).ap == 1


def test_at_most_twenty_a_picture() -> None:
    many = np.concatenate([np.repeat(POSES[:1] + 900, 20, axis=0), POSES[:1]])
    assert ap(true(POSES[:1]), found(many, *[0.9] * 20, 0.8)).ar == 0


# --- the same as COCO's own code ----------------------------------------------------------------------------


def pycocotools_figures(truth: list[TruePeople], prediction: list[FoundPeople], part: slice) -> list[float]:
    """AP, AP at 0.5 and 0.75, AR, by the code that COCO publishes."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    annotations = [
        {
            "image_id": i, "category_id": 1, "area": float(t.area[g]), "iscrowd": int(t.crowd[g]),
            "keypoints": np.c_[t.keypoints[g, part], t.labelled[g, part]].ravel().tolist(),
            "num_keypoints": int(t.labelled[g, part].sum()),
            "bbox": [*t.boxes[g, :2].tolist(), *(t.boxes[g, 2:] - t.boxes[g, :2]).tolist()],
        }
        for i, t in enumerate(truth) for g in range(len(t.area))
    ]  # fmt: skip
    results = [
        {
            "image_id": i, "category_id": 1, "score": float(p.score[n]),
            "keypoints": np.c_[p.keypoints[n, part], np.ones(p.keypoints[n, part].shape[0])].ravel().tolist(),
        }
        for i, p in enumerate(prediction) for n in range(len(p.score))
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        api = coco.COCO()
        api.dataset = {
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [{**a, "id": i} for i, a in enumerate(annotations, 1)],
        }
        api.createIndex()
        judge = cocoeval.COCOeval(api, api.loadRes(results), "keypoints")
        judge.params.kpt_oks_sigmas = np.array(WHOLEBODY133.sigmas)[part]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [*judge.stats[:3].tolist(), float(judge.stats[5])]


@given(seed=st.integers(0, 2**32 - 1), part=st.sampled_from(list(WHOLEBODY133.parts.values())))
@settings(max_examples=15)
def test_as_pycocotools_has_it(seed: int, part: slice) -> None:
    """Random people, some hidden, some crowds; predictions near them, far from them and doubled."""
    rng = np.random.default_rng(seed)
    truth, prediction = [], []
    for _ in range(4):
        n, joints = int(rng.integers(0, 5)), len(WHOLEBODY133)
        poses = (rng.uniform(0, 500, (n, 1, 2)) + rng.uniform(0, 100, (n, joints, 2))).astype(np.float32)
        truth.append(
            true(
                poses,
                area=rng.uniform(500, 20000, n).astype(np.float32),
                crowd=rng.random(n) < 0.2,
                labelled=rng.random((n, joints)) < rng.random((n, 1)),
            )
        )
        near = np.repeat(poses, 2, axis=0) + rng.normal(0, rng.choice([0.5, 2, 5], (2 * n, 1, 1)))
        far = rng.uniform(0, 600, (2, joints, 2))
        guesses = np.concatenate([near, far]).astype(np.float32)
        prediction.append(found(guesses, *rng.permutation(len(guesses)) / 100))
    ours = coco_average_precision(truth, prediction, WHOLEBODY133.sigmas, part)
    if ours.people:
        theirs = pycocotools_figures(truth, prediction, part)
        assert [ours.ap, ours.ap_50, ours.ap_75, ours.ar] == pytest.approx(theirs, abs=1e-12)
