"""AP and AR of pictures drawn again and again, held to pycocotools and faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wholebody.benchmarks.metrics.coco_ap import FoundPeople, TruePeople, coco_average_precision
from wholebody.benchmarks.metrics.coco_matching import MOST, rank_people
from wholebody.benchmarks.metrics.ranking import RANKED, THRESHOLDS, Ranking, ranked_figures

Shown = Sequence[tuple[TruePeople, FoundPeople]]
JOINTS = 5
SIGMAS = (0.05, 0.06, 0.07, 0.08, 0.09)


def picture(rng: np.random.Generator, people: int, found: int) -> tuple[TruePeople, FoundPeople]:
    """Crowds, people without a label, poses near and far, equal scores, joints that were not seen."""
    corner, side = rng.uniform(0, 300, (people, 2)), rng.uniform(20, 200, (people, 2))
    keypoints = corner[:, None] + rng.uniform(0, 1, (people, JOINTS, 2)) * side[:, None]
    truth = TruePeople(
        boxes=np.concatenate([corner, corner + side], axis=1).astype(np.float32),
        area=(side.prod(axis=1) / 2).astype(np.float32),
        crowd=rng.random(people) < 0.15,
        keypoints=keypoints.astype(np.float32),
        labelled=(rng.random((people, JOINTS)) < 0.7) & (rng.random((people, 1)) < 0.8),
    )
    poses = rng.uniform(0, 500, (found, JOINTS, 2))
    for i in range(found if people else 0):
        who = rng.integers(people)
        off = rng.normal(0, 1, (JOINTS, 2)) * rng.choice([0, 0.02, 0.08, 0.3]) * np.sqrt(side[who].prod())
        poses[i] = keypoints[who] + off
    poses[rng.random((found, JOINTS)) < 0.1] = np.nan
    score = rng.choice([0.2, 0.4, 0.6, 0.8], found) if rng.random() < 0.5 else rng.random(found)
    return truth, FoundPeople(poses.astype(np.float32), score.astype(np.float32))


def pictures(seed: int, count: int = 12) -> list[tuple[TruePeople, FoundPeople]]:
    rng = np.random.default_rng(seed)
    return [picture(rng, int(rng.integers(0, 5)), int(rng.integers(0, 7))) for _ in range(count)]


def ours(shown: Shown, joints: slice = slice(None)) -> dict[str, float]:
    rankings = [rank_people(*each, SIGMAS, joints) for each in shown]
    return {name: float(v[0]) for name, v in ranked_figures(rankings, np.ones((1, len(shown)))).items()}


def faster(shown: Shown, joints: slice = slice(None)) -> dict[str, float]:
    figures = coco_average_precision([t for t, _ in shown], [f for _, f in shown], SIGMAS, joints)
    return {name: getattr(figures, name) for name in RANKED}


def official(shown: Shown, joints: slice = slice(None)) -> dict[str, float]:
    """pycocotools, given the same people."""
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, (truth, people) in enumerate(shown):
        for g in range(len(truth.area)):
            labelled = truth.labelled[g, joints]
            x0, y0, x1, y1 = (float(v) for v in truth.boxes[g])
            truths.append({
                "id": len(truths) + 1, "image_id": i, "category_id": 1, "iscrowd": int(truth.crowd[g]),
                "keypoints": np.c_[truth.keypoints[g, joints], 2 * labelled].ravel().tolist(),
                "num_keypoints": int(labelled.sum()), "area": float(truth.area[g]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
            })  # fmt: skip
        for p in range(len(people.score)):
            pose = people.keypoints[p, joints]
            if np.isfinite(pose).any():
                far = np.nan_to_num(pose, nan=-1e6)
                found.append({
                    "id": len(found) + 1, "image_id": i, "category_id": 1, "score": float(people.score[p]),
                    "keypoints": np.c_[far, np.ones(len(far))].ravel().tolist(), "area": 1.0,
                    "bbox": [0.0, 0.0, 1.0, 1.0],
                })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        sets = []
        for annotations in (truths, found):
            sets.append(COCO())
            sets[-1].dataset = {
                "images": [{"id": i} for i in range(len(shown))], "categories": [{"id": 1}],
                "annotations": annotations,
            }  # fmt: skip
            sets[-1].createIndex()
        judge = COCOeval(sets[0], sets[1], "keypoints")
        judge.params.kpt_oks_sigmas = np.array(SIGMAS)[joints]
        judge.evaluate()
        judge.accumulate()
    precision, recall = judge.eval["precision"][:, :, 0, 0, -1], judge.eval["recall"][:, 0, 0, -1]
    values = precision.mean(), precision[0].mean(), precision[5].mean(), recall.mean()
    return dict(zip(RANKED, map(float, values), strict=True))


@given(st.integers(0, 10**6), st.sampled_from([slice(None), slice(1, 3)]))
def test_as_pycocotools_and_faster_coco_eval(seed: int, joints: slice) -> None:
    shown = pictures(seed)
    if not any(truth.judged(joints).any() for truth, _ in shown):
        return
    expected = official(shown, joints)
    assert ours(shown, joints) == pytest.approx(expected, abs=1e-9)
    assert faster(shown, joints) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10**6))
def test_a_weight_is_a_picture_shown_again(seed: int) -> None:
    """Equal scores aside, whose order a copy changes."""
    rng = np.random.default_rng(seed)
    shown = [
        (truth, FoundPeople(found.keypoints, rng.random(len(found.score)).astype(np.float32)))
        for truth, found in pictures(seed)
    ]
    rankings = [rank_people(*each, SIGMAS) for each in shown]
    weights = rng.multinomial(len(shown), np.full(len(shown), 1 / len(shown)), size=5)
    drawn = ranked_figures(rankings, weights)
    for r, row in enumerate(weights):
        again = [each for each, times in zip(shown, row, strict=True) for _ in range(times)]
        if any(truth.judged().any() for truth, _ in again):
            assert {name: drawn[name][r] for name in RANKED} == pytest.approx(official(again), abs=1e-9)
        else:
            assert all(math.isnan(drawn[name][r]) for name in RANKED)


def test_nobody() -> None:
    nobody, found = picture(np.random.default_rng(0), 0, 0)
    truth, right = picture(np.random.default_rng(1), 2, 0)
    assert len(rank_people(nobody, found, SIGMAS).score) == 0
    none = ranked_figures([rank_people(nobody, found, SIGMAS)], np.ones((2, 1)))
    assert all(math.isnan(value) for values in none.values() for value in values)
    seen = TruePeople(
        truth.boxes, truth.area, np.zeros(2, np.bool_), truth.keypoints, np.ones((2, 5), np.bool_)
    )
    missed = ranked_figures([rank_people(seen, right, SIGMAS)], np.ones((2, 1)))
    assert {value for values in missed.values() for value in values.tolist()} == {0}


def test_by_hand() -> None:
    """Right, wrong, right of three truths: precision 1 up to a recall of 1/3, 2/3 up to 2/3, then 0."""
    flags = np.broadcast_to([True, False, True], (len(THRESHOLDS), 3))
    ranking = Ranking(np.array([0.9, 0.8, 0.7]), flags, np.ones_like(flags), 3)
    figures = ranked_figures([ranking], np.ones((1, 1)))
    assert figures["ap"][0] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert figures["ar"][0] == pytest.approx(2 / 3)


def test_a_joint_that_is_no_number_is_missed() -> None:
    truth, _ = picture(np.random.default_rng(3), 1, 0)
    truth = TruePeople(
        truth.boxes, truth.area, np.zeros(1, np.bool_), truth.keypoints, np.ones((1, JOINTS), np.bool_)
    )
    poses = truth.keypoints.copy()
    poses[:, 1:] = np.nan
    assert ours([(truth, FoundPeople(poses, np.ones(1, np.float32)))])["ap"] == 0
    poses[:] = np.nan
    assert len(rank_people(truth, FoundPeople(poses, np.ones(1, np.float32)), SIGMAS).score) == 0


def test_only_the_best_of_many_count() -> None:
    truth, found = picture(np.random.default_rng(4), 1, MOST + 5)
    finite: NDArray[Any] = np.nan_to_num(found.keypoints)
    assert len(rank_people(truth, FoundPeople(finite, found.score), SIGMAS).score) == MOST
