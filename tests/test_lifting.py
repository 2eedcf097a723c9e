"""Pixels and depths to metres: the bones of an adult tell the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.pipelines.lifting import BONES, Lifter
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, WHOLEBODY133

HIPS = [COCO17.joints.index("left_hip"), COCO17.joints.index("right_hip")]


def adult(seed: int) -> np.ndarray:
    """(17, 3) metres: a random pose with the bones of BONES; head joints anywhere."""
    rng = np.random.default_rng(seed)
    points = dict(zip(COCO17.joints, rng.normal(0, 0.3, (17, 3)), strict=True))
    for side in ("left", "right"):
        for start, end, length in (*BONES[2:3], *BONES[:2], *BONES[3:]):
            if (start, end) == ("shoulder", "hip"):
                start, end = end, start  # from the hips outwards
            direction = rng.normal(size=3)
            points[f"{side}_{end}"] = points[f"{side}_{start}"] + length * direction / np.linalg.norm(
                direction
            )
    return np.array([points[joint] for joint in COCO17.joints], np.float32)


@given(seed=st.integers(0, 10_000), pixels=st.floats(20, 3000), x=st.floats(-500, 500))
def test_an_adult_comes_back(seed: int, pixels: float, x: float) -> None:
    body = adult(seed)
    keypoints = (body[None, :, :2] * pixels + x).astype(np.float32)
    lifted = Lifter(COCO17)(keypoints, body[None, :, 2])
    np.testing.assert_allclose(lifted[0], body - body[HIPS].mean(axis=0), atol=0.01)


def test_people_do_not_touch_each_other() -> None:
    bodies = np.stack([adult(seed) for seed in range(4)])
    keypoints, depths = bodies[..., :2] * 100, bodies[..., 2]
    together = Lifter(COCO17)(keypoints, depths)
    alone = [Lifter(COCO17)(keypoints[i : i + 1], depths[i : i + 1])[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_unseen_keypoints() -> None:
    body = adult(3)
    keypoints, depths = body[None, :, :2] * 100, body[None, :, 2]
    wrist, hip = COCO17.joints.index("left_wrist"), HIPS[0]
    keypoints[0, wrist] = np.nan
    lifted = Lifter(COCO17)(keypoints, depths)
    assert np.isnan(lifted[0, wrist]).all()
    assert np.isfinite(np.delete(lifted[0], wrist, axis=0)).all()
    keypoints[0, hip] = np.nan
    assert np.isnan(Lifter(COCO17)(keypoints, depths)).all()


def test_nothing_tells_the_scale() -> None:
    body = adult(3)
    towards = np.zeros((1, 17, 2), np.float32)  # every bone along the line of sight
    assert np.isnan(Lifter(COCO17)(towards, body[None, :, 2])).all()
    keypoints = np.full((1, 17, 2), np.nan, np.float32)
    keypoints[0, HIPS] = [[10, 10], [20, 10]]
    assert np.isnan(Lifter(COCO17)(keypoints, body[None, :, 2])).all()


def test_nobody() -> None:
    assert Lifter(WHOLEBODY133)(np.zeros((0, 133, 2), np.float32), np.zeros((0, 133), np.float32)).shape == (
        0, 133, 3,
    )  # fmt: skip


def test_a_hand_has_no_bones_to_tell_the_scale_by() -> None:
    with pytest.raises(ArtefactError, match=r"coco_hand21 has no 'left_hip': 3D needs a whole body"):
        Lifter(COCO_HAND21)
