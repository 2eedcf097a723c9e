"""The truth of a batch as tensors of one shape: what is judged, and pictures filled up to the fullest."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.dope.anchor_poses import Floats
from wholebody.distill.dope.targets import (
    HIDDEN_WEIGHT,
    PartTensors,
    Truth,
    all_boxes,
    all_ignored,
    picture_truth,
    stack,
    to_device,
)
from wholebody.export.students.dope import JOINTS, PARTS

SIDE = 96
CLASSES = {"body": 4, "hand": 4, "face": 3}


def anchors() -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    return {part: rng.random((CLASSES[part], JOINTS[part], 5)).astype(np.float32) for part in PARTS}


def picture(people: int, seed: int = 0, seen: float = 0.8) -> Truth:
    """People with joints anywhere, of which a share can be seen."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(-10, 100, (people, 139, 2)).astype(np.float32)
    metres = rng.normal(0, 0.3, (people, 139, 3)).astype(np.float32)
    return picture_truth(part_truths(pixels, metres, rng.random((people, 139)) < seen, SIDE, SIDE), anchors())


def test_nobody() -> None:
    truth = stack([picture(0), picture(0)])
    for part in PARTS:
        n, joints = 0, JOINTS[part]
        shapes = [(2, n, 4), (2, n, joints, 2), (2, n, joints, 3), (2, n, joints), (2, n), (2, n, 4)]
        assert [tuple(field.shape) for field in truth[part]] == shapes
        assert truth[part].label.dtype == torch.int64
    assert all_boxes(truth).shape == all_ignored(truth).shape == (2, 0, 4)


def test_what_is_judged_is_kept() -> None:
    pixels = np.random.default_rng(0).uniform(10, 80, (3, 139, 2)).astype(np.float32)
    visible = np.zeros((3, 139), bool)  # the last person is behind something: background
    visible[0, 3:] = True
    visible[1, [0, 20, 100, 120]] = True  # a joint of every part: too little to judge
    found = part_truths(pixels, np.zeros((3, 139, 3), np.float32), visible, SIDE, SIDE)
    truth = picture_truth(found, anchors())
    assert {part: len(truth[part].boxes) for part in PARTS} == {"body": 1, "hand": 2, "face": 1}
    assert {part: len(truth[part].ignored) for part in PARTS} == {"body": 1, "hand": 2, "face": 1}
    np.testing.assert_allclose(truth["body"].weight, [[HIDDEN_WEIGHT] * 3 + [1.0] * 10])
    np.testing.assert_array_equal(truth["hand"].label // 2, [0, 1])  # right, then left
    np.testing.assert_array_equal(truth["face"].pose2d, found["face"].pose2d[:1])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 100))
def test_stacked_truth_is_that_of_the_pictures(people: list[int], seed: int) -> None:
    pictures = [picture(n, seed + i, seen=0.5) for i, n in enumerate(people)]
    stacked = stack(pictures)
    for part in PARTS:
        for name, field in zip(PartTensors._fields, stacked[part], strict=True):
            alone = [getattr(truth[part], name) for truth in pictures]
            assert field.dtype == alone[0].dtype
            assert field.shape[:2] == (len(people), max(len(a) for a in alone))
            for filled, own in zip(field, alone, strict=True):
                assert torch.equal(filled[: len(own)], own)
                assert not filled[len(own) :].any()  # boxes without area, joints without weight


def test_all_boxes_are_those_of_every_part() -> None:
    truth = stack([picture(2), picture(1, seen=0.2)])
    for everything, field in ((all_boxes(truth), "boxes"), (all_ignored(truth), "ignored")):
        for i in range(2):
            mine = [box.tolist() for part in PARTS for box in getattr(truth[part], field)[i]]
            assert everything[i].tolist() == mine


def test_all_of_it_moves_to_a_device() -> None:
    moved = to_device(stack([picture(1)]), torch.device("meta"))
    assert {field.device.type for part in PARTS for field in moved[part]} == {"meta"}
