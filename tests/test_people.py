"""People as a value: copied, sent to another process, told in one line."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, DOPE


def somebody(*, with_3d: bool = False) -> People:
    points = np.arange(17 * 3, dtype=np.float32).reshape(1, 17, 3)
    return People(
        keypoints=points[..., :2],
        scores=np.ones((1, 17), np.float32),
        keypoints3d=points if with_3d else None,
        boxes=np.array([[0, 0, 50, 50]], np.float32),
        score=np.ones(1, np.float32),
        skeleton=COCO17,
        metadata={"times_ms": {"network": 1.5}},
        ids=np.array([7], np.int64),
    )


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda people: pickle.loads(pickle.dumps(people))]
)
@pytest.mark.parametrize("with_3d", [False, True])
def test_copies_are_the_same_people(copied: Callable[[People], People], with_3d: bool) -> None:
    people = somebody(with_3d=with_3d)
    other = copied(people)
    assert other.skeleton is COCO17
    assert other.metadata == people.metadata
    for name in ("keypoints", "scores", "keypoints3d", "boxes", "score", "ids"):
        np.testing.assert_array_equal(getattr(other, name), getattr(people, name))
    assert not other.keypoints.flags.writeable
    assert len(copied(People.empty(DOPE))) == 0


def test_it_is_told_in_one_line() -> None:
    assert repr(somebody()) == "People(1 of coco17, 2D)"
    assert repr(People.empty(DOPE, with_3d=True)) == "People(0 of dope139, 2D and 3D)"
