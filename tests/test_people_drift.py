"""People of two answers, matched."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.export.certificate import Matching
from wholebody.export.people_drift import match_people
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import DOPE_BODY


def people(*corners: tuple[float, float], unseen: tuple[int, ...] = ()) -> People:
    """Bodies of 100 x 100 pixels with their top left corners here."""
    count, joints = len(corners), len(DOPE_BODY)
    grid = np.stack([np.linspace(0, 100, joints), np.linspace(100, 0, joints)], axis=1).astype(np.float32)
    corner = np.array(corners, np.float32).reshape(count, 1, 2)
    keypoints = np.broadcast_to(grid, (count, joints, 2)) + corner
    scores = np.ones((count, joints), np.float32)
    scores[:, unseen], keypoints[:, unseen] = 0, np.nan
    boxes = np.concatenate([corner[:, 0], corner[:, 0] + 100], axis=1)
    return People(keypoints, scores, None, boxes, np.ones(count, np.float32), DOPE_BODY)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((), (), Matching(0, 0, 0)),
        (((0, 0),), (), Matching(0, 1, 0)),
        ((), ((0, 0), (200, 0)), Matching(0, 0, 2)),
        (((0, 0), (200, 0)), ((200, 0), (0, 0)), Matching(2, 0, 0)),
        (((0, 0),), ((0, 4.9),), Matching(1, 0, 0)),  # less than 5 % of the size
        (((0, 0),), ((0, 5.1),), Matching(0, 1, 1)),
        (((0, 0),), ((1, 0), (2, 0)), Matching(1, 0, 1)),  # the nearer one
        (((1, 0), (2, 0)), ((0, 0),), Matching(1, 1, 0)),
    ],
)
def test_matching(
    a: tuple[tuple[float, float], ...], b: tuple[tuple[float, float], ...], expected: Matching
) -> None:
    assert match_people(people(*a), people(*b)) == expected


def test_a_missing_part_makes_another_person() -> None:
    whole, part = people((0, 0)), people((0, 0), unseen=(0, 1))
    assert match_people(whole, part) == Matching(0, 1, 1)
    assert match_people(part, whole) == Matching(0, 1, 1)
    assert match_people(part, part) == Matching(1, 0, 0)
