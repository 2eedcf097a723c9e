"""Anchor poses: clusters that stay in their group, and classes that are the nearest of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.synthetic.truth import PartTruth
from wholebody.distill.dope.anchor_poses import GROUPS, anchor_poses, nearest_anchor, pose_features

JOINTS = {"body": 13, "hand": 21, "face": 84}
PARTS = sorted(JOINTS)


def truth(part: str, seed: int, count: int = 40, **changed: Any) -> PartTruth:
    """Instances in boxes of any size, half of each group, all judged."""
    rng = np.random.default_rng(seed)
    corner, extent = rng.uniform(0, 200, (count, 2)), rng.uniform(20, 80, (count, 2))
    joints = JOINTS[part]
    values: dict[str, Any] = {
        "boxes": np.concatenate([corner, corner + extent], axis=1).astype(np.float32),
        "pose2d": (corner[:, None] + rng.random((count, joints, 2)) * extent[:, None]).astype(np.float32),
        "pose3d": rng.normal(0, 0.3, (count, joints, 3)).astype(np.float32),
        "visible": np.ones((count, joints), bool),
        "group": np.arange(count) % GROUPS[part],
        "ignore": np.zeros(count, bool),
    }
    return PartTruth(**{**values, **changed})


def around(part: str, centres: Any, seed: int, count: int = 60) -> PartTruth:
    """Instances close to given (K, J, 5) poses, whose groups follow each other."""
    rng = np.random.default_rng(seed)
    which = np.arange(count) % len(centres)
    poses = centres[which] + rng.normal(0, 0.002, (count, *centres.shape[1:]))
    boxes = np.tile(np.array([10, 20, 60, 100], np.float32), (count, 1))
    pose2d = boxes[:, None, :2] + poses[..., :2] * np.array([50, 80])
    group = which // (len(centres) // GROUPS[part])
    return truth(
        part, seed, count, boxes=boxes, pose2d=pose2d.astype(np.float32),
        pose3d=poses[..., 2:].astype(np.float32), group=group,
    )  # fmt: skip


def test_nobody() -> None:
    for part in PARTS:
        nobody = truth(part, 0, count=0)
        assert pose_features(nobody).shape == (0, JOINTS[part], 5)
        classes = nearest_anchor(part, nobody, anchor_poses(part, [truth(part, 0)], 4, seed=0))
        assert (classes.shape, classes.dtype) == ((0,), np.int64)


def test_features_are_in_units_of_the_box_and_in_metres() -> None:
    someone = truth(
        "hand", 0, 1, boxes=np.array([[10, 20, 60, 100]], np.float32),
        pose2d=np.full((1, 21, 2), (35, 40), np.float32), pose3d=np.full((1, 21, 3), 0.07, np.float32),
    )  # fmt: skip
    np.testing.assert_allclose(pose_features(someone)[0, 5], [0.5, 0.25, 0.07, 0.07, 0.07])


def test_a_box_without_area_has_finite_features() -> None:
    outside = truth("body", 0, 2, boxes=np.zeros((2, 4), np.float32))
    assert np.isfinite(pose_features(outside)).all()


@pytest.mark.parametrize("part", PARTS)
def test_the_clusters_that_are_there_are_found(part: str) -> None:
    rng = np.random.default_rng(1)
    centres = np.concatenate(
        [rng.random((4, JOINTS[part], 2)), rng.normal(0, 0.3, (4, JOINTS[part], 3))], axis=2
    ).astype(np.float32)
    anchors = anchor_poses(part, [around(part, centres, 2), around(part, centres, 3)], 4, seed=0)
    assert anchors.shape == (4, JOINTS[part], 5)
    assert anchors.dtype == np.float32
    each = 4 // GROUPS[part]
    for group in range(GROUPS[part]):
        own = slice(group * each, (group + 1) * each)
        apart = np.abs(anchors[own, None] - centres[None, own]).max(axis=(2, 3))
        assert apart.min(axis=1).max() < 0.01
        assert sorted(apart.argmin(axis=1)) == list(range(each))


def test_the_same_seed_gives_the_same_clusters() -> None:
    first, again = (anchor_poses("body", [truth("body", 5)], 6, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_what_is_not_judged_does_not_count() -> None:
    judged, spoilt = truth("face", 0), truth("face", 1, pose3d=np.full((40, 84, 3), 99, np.float32))
    spoilt = truth("face", 1, pose3d=spoilt.pose3d, ignore=np.ones(40, bool))
    np.testing.assert_array_equal(
        anchor_poses("face", [judged, spoilt], 3, seed=0), anchor_poses("face", [judged], 3, seed=0)
    )


def test_as_many_poses_as_classes_are_their_own_classes() -> None:
    few = truth("hand", 0, count=4)
    anchors = anchor_poses("hand", [few], 4, seed=0)
    np.testing.assert_allclose(np.sort(anchors[:, 0, 2]), np.sort(few.pose3d[:, 0, 0]), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_poses_than_classes_are_refused_in_words(count: int) -> None:
    with pytest.raises(ValueError, match=r"body.*2 classes"):
        anchor_poses("body", [truth("body", 0, count)], 4, seed=0)


@given(st.integers(0, 30), st.sampled_from(PARTS))
def test_a_class_is_the_nearest_of_its_own_group(seed: int, part: str) -> None:
    rng = np.random.default_rng(seed)
    anchors = rng.normal(0, 0.3, (6, JOINTS[part], 5)).astype(np.float32)
    some = truth(part, seed, count=15)
    classes = nearest_anchor(part, some, anchors)
    each = 6 // GROUPS[part]
    np.testing.assert_array_equal(classes // each, some.group)
    unit = np.array([1, 1, *[1 if part == "body" else 10] * 3])
    for pose, group, label in zip(pose_features(some), some.group, classes, strict=True):
        own = anchors[group * each : (group + 1) * each]
        assert label == group * each + (((pose - own) * unit) ** 2).sum(axis=(1, 2)).argmin()
