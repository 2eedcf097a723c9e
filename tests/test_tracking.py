"""Ids that persist: people who walk, cross, leave, return and change places in the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.boxes import box_iou
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, DOPE, Skeleton
from wholebody.runtime.video.tracking import Tracker

# A person of height 1, seen from the side they walk to, hips at 0.
STANDING = np.array([
    (0, -.45), (.01, -.47), (-.01, -.47), (.03, -.45), (-.03, -.45), (.06, -.32), (-.06, -.32), (.08, -.15),
    (-.08, -.15), (.08, 0), (-.08, 0), (.04, .02), (-.04, .02), (.04, .25), (-.04, .25), (.04, .47),
    (-.04, .47),
])  # fmt: skip
STRIDE = np.array([0, 0, 0, 0, 0, 0, 0, .05, -.05, .12, -.12, 0, 0, -.08, .08, -.18, .18])  # fmt: skip


def walker(
    x: float, phase: float = 0.0, *, height: float = 200.0, facing: int = 1, y: float = 300.0
) -> np.ndarray:
    """(17, 2) pixels: somebody at x whose arms and legs swing."""
    pose = STANDING.copy()
    pose[:, 0] = facing * (pose[:, 0] + STRIDE * np.sin(phase))
    return pose * height + (x, y)


def box_of(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low - 0.08 * (high - low), high + 0.08 * (high - low)])


def people(*poses: np.ndarray) -> People:
    n = len(poses)
    return People(
        keypoints=np.array(poses, np.float32).reshape(n, 17, 2),
        scores=np.ones((n, 17), np.float32),
        keypoints3d=None,
        boxes=np.array([box_of(pose) for pose in poses], np.float32).reshape(n, 4),
        score=np.ones(n, np.float32),
        skeleton=COCO17,
    )


def part_people(part: str, *places: tuple[float, float], skeleton: Skeleton = DOPE) -> People:
    """People of whom one part alone was seen, 40 pixels large."""
    n, k = len(places), len(skeleton)
    keypoints, scores = np.full((n, k, 2), np.nan, np.float32), np.zeros((n, k), np.float32)
    joints = skeleton.parts[part]
    for i, place in enumerate(places):
        keypoints[i, joints] = np.random.default_rng(i).uniform(0, 40, keypoints[i, joints].shape) + place
        scores[i, joints] = 1
    boxes = np.array([[x, y, x + 40, y + 40] for x, y in places], np.float32).reshape(n, 4)
    return People(keypoints, scores, None, boxes, np.ones(n, np.float32), skeleton)


def test_nobody() -> None:
    tracker = Tracker()
    assert tracker(people()).tolist() == []
    assert tracker(people(walker(100))).tolist() == [1]
    assert tracker(people()).tolist() == []
    ids = tracker(people())
    assert (ids.shape, ids.dtype) == ((0,), np.int64)


def test_everyone_keeps_their_id_in_any_order() -> None:
    tracker, rng = Tracker(), np.random.default_rng(0)
    frames: list[dict[int, int]] = []
    for frame in range(60):
        order = rng.permutation(4)
        poses = [walker(200 * who + 4 * frame * (who - 1.5), 0.2 * frame + who) for who in order]
        ids = tracker(people(*(pose + rng.normal(0, 1, pose.shape) for pose in poses)))
        frames.append(dict(zip(order.tolist(), ids.tolist(), strict=True)))
    assert all(frame == frames[0] for frame in frames)
    assert sorted(frames[0].values()) == [1, 2, 3, 4]


@pytest.mark.parametrize(("one", "other"), [(0.7, -0.7), (2.0, -2.0), (1.2, 0.3), (0.7, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_two_people_cross(one: float, other: float, seed: int) -> None:
    """Speeds in body heights a second, 30 frames a second; who is behind is not seen while boxes overlap."""
    tracker, rng = Tracker(), np.random.default_rng(seed)
    seen: list[dict[int, int]] = []
    hidden = 0
    for frame in range(-50, 50):
        poses = {
            0: walker(500 + one * 200 / 30 * frame, 0.25 * frame, height=210),
            1: walker(500 + other * 200 / 30 * frame, 0.25 * frame + 1, facing=-1, y=295),
        }
        if box_iou(box_of(poses[0])[None], box_of(poses[1])[None])[0, 0] > 0.3:
            del poses[1]
            hidden += 1
        order = rng.permutation(list(poses))
        ids = tracker(people(*(poses[who] + rng.normal(0, 1, (17, 2)) for who in order)))
        seen.append(dict(zip(order.tolist(), ids.tolist(), strict=True)))
    assert hidden > 1
    assert seen[-1] == seen[0]


@pytest.mark.parametrize(("frames", "same"), [(3, True), (25, True), (40, False)])
def test_somebody_leaves_and_comes_back(frames: int, same: bool) -> None:
    tracker = Tracker(patience=30)
    stays, path = walker(900), [300.0 + 4 * step for step in range(20)]
    before = [tracker(people(walker(x, 0.06 * x), stays)).tolist() for x in path]
    away = [tracker(people(stays)).tolist() for _ in range(frames)]
    after = [tracker(people(stays, walker(x, 0.06 * x, facing=-1))).tolist() for x in path[::-1]]
    assert before == [[1, 2]] * 20
    assert away == [[2]] * frames
    assert after == [[2, 1 if same else 3]] * 20


def test_whoever_appears_elsewhere_is_somebody_new() -> None:
    tracker = Tracker()
    tracker(people(walker(100)))
    assert tracker(people(walker(700))).tolist() == [2]
    assert tracker(people(walker(100), walker(700))).tolist() == [1, 2]


def test_another_scene_and_another_video() -> None:
    tracker = Tracker()
    tracker(people(walker(100), walker(500)))
    tracker.forget()
    assert tracker(people(walker(100))).tolist() == [3]
    tracker.reset()
    assert tracker(people(walker(100))).tolist() == [1]


@pytest.mark.parametrize("part", ["left_hand", "face"])
def test_parts_without_a_body_are_told_apart_by_their_boxes(part: str) -> None:
    tracker = Tracker()
    assert tracker(part_people(part, (100, 100), (300, 100))).tolist() == [1, 2]
    assert tracker(part_people(part, (310, 105), (110, 95))).tolist() == [2, 1]
    assert tracker(part_people(part, (330, 110), (100, 200))).tolist() == [2, 3]


def test_unseen_keypoints_do_not_count() -> None:
    tracker = Tracker()
    whole = people(walker(300))
    assert tracker(whole).tolist() == [1]
    scores, keypoints = whole.scores.copy(), whole.keypoints + np.float32(2)
    scores[0, 11:], keypoints[0, 11:] = 0, np.nan
    half = People(keypoints, scores, None, whole.boxes, whole.score, COCO17)
    assert tracker(half).tolist() == [1]
    assert tracker(whole).tolist() == [1]


@given(order=st.permutations(range(5)), x=st.floats(-2000, 2000), y=st.floats(-2000, 2000))
def test_where_the_picture_lies_and_the_order_do_not_matter(order: list[int], x: float, y: float) -> None:
    tracker = Tracker()
    poses = [walker(120 * who, who, height=150 + 30 * who) + np.array([x, y]) for who in range(5)]
    assert tracker(people(*poses)).tolist() == [1, 2, 3, 4, 5]
    assert tracker(people(*(poses[who] + (3, -2) for who in order))).tolist() == [who + 1 for who in order]


@given(seed=st.integers(0, 1000))
def test_no_id_twice_whatever_comes(seed: int) -> None:
    tracker, rng = Tracker(patience=3), np.random.default_rng(seed)
    for _ in range(8):
        ids = tracker(
            people(*(walker(rng.uniform(0, 400), height=rng.uniform(1, 300)) for _ in range(rng.integers(5))))
        )
        assert len(set(ids.tolist())) == len(ids)
        assert (ids > 0).all()


def test_the_answer_is_the_callers_own() -> None:
    tracker = Tracker()
    tracker(people(walker(100)))[:] = 77
    assert tracker(people(walker(100))).tolist() == [1]
