"""Which of the hands and faces that were found is which of the true ones."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.benchmarks.datasets.dataset import Truth
from wholebody.benchmarks.datasets.found_parts import (
    Found,
    distances,
    extents,
    found_faces,
    found_hands,
    labelled,
    pair,
    right_sides,
)
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, DOPE, DOPE_FACE, WHOLEBODY133, Skeleton

NAN = np.nan


def square(x: float, y: float, side: float = 100, joints: int = 21) -> np.ndarray:
    """(joints, 2) points around a square whose corner is there."""
    turns = np.linspace(0, 2 * np.pi, joints, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.array([x, y]) + side / 2 * (1 + ring)


def truth(*hands: np.ndarray, sides: tuple[str, ...] = ()) -> Truth:
    keypoints = np.array(hands).reshape(-1, 21, 2)
    return Truth(keypoints, None, labelled(keypoints), extents(keypoints), sides or ("",) * len(keypoints))


def found(*hands: np.ndarray, sides: tuple[str, ...] = ()) -> Found:
    return Found(np.array(hands).reshape(-1, 21, 2), None, sides or ("",) * len(hands))


def people(skeleton: Skeleton, keypoints: np.ndarray) -> People:
    pixels = keypoints.astype(np.float32)
    scores = labelled(keypoints).astype(np.float32)
    ones = np.ones(len(pixels), np.float32)
    return People(pixels, scores, None, np.zeros((len(pixels), 4), np.float32), ones, skeleton)


def test_nobody_there_or_found() -> None:
    for ours, theirs in (((), ()), ((square(0, 0),), ()), ((), (square(0, 0),))):
        pairs = pair(found(*ours), truth(*theirs))
        assert pairs.found.tolist() == [False] * len(theirs)
        assert pairs.keypoints.shape == (len(theirs), 21, 2)
        assert np.isinf(pairs.pixels).all()
        assert right_sides(found(*ours), truth(*theirs))[1].tolist() == [0]


def test_the_nearest_pair_first() -> None:
    """The hand between two true ones is the one's that is nearer; the other is left its own, farther one."""
    pairs = pair(found(square(30, 0), square(4, 0)), truth(square(0, 0), square(40, 0)))
    assert pairs.keypoints[0].tolist() == square(4, 0).tolist()
    assert pairs.keypoints[1].tolist() == square(30, 0).tolist()
    assert pairs.pixels.mean(axis=1) == pytest.approx([4, 10])


def test_no_further_than_half_the_longer_side() -> None:
    for away, seen in ((49, True), (51, False)):
        assert pair(found(square(away, 0)), truth(square(0, 0))).found.tolist() == [seen]


def test_one_hand_is_not_two() -> None:
    pairs = pair(found(square(5, 0)), truth(square(0, 0), square(10, 0)))
    assert pairs.found.sum() == 1


def test_sides_agree_where_both_are_told() -> None:
    there = truth(square(0, 0), sides=("left",))
    for ours, seen in ((("left",), True), (("right",), False), (("",), True)):
        assert pair(found(square(2, 0), sides=ours), there).found.tolist() == [seen]
    assert pair(found(square(2, 0), sides=("right",)), truth(square(0, 0))).found.tolist() == [True]


def test_hands_that_lie_on_each_other_are_told_apart_by_side() -> None:
    there = truth(square(0, 0), square(1, 0), sides=("right", "left"))
    pairs = pair(found(square(1, 0), square(0, 0), sides=("right", "left")), there)
    assert pairs.keypoints[0].tolist() == square(1, 0).tolist()
    assert pairs.pixels == pytest.approx(np.ones((2, 21)))


def test_right_sides() -> None:
    there = truth(square(0, 0), square(300, 0), square(600, 0), sides=("right", "left", "left"))
    ours = found(square(0, 0), square(300, 0), sides=("right", "right"))
    assert [cell.tolist() for cell in right_sides(ours, there)] == [[1], [2]]
    untold = found(square(0, 0))
    assert [cell.tolist() for cell in right_sides(untold, there)] == [[0], [0]]


def test_joints_without_coordinates_are_missed_not_the_hand() -> None:
    hand = square(0, 0)
    hand[:5] = NAN
    pairs = pair(found(hand), truth(square(3, 0)))
    assert pairs.found.tolist() == [True]
    assert np.isinf(pairs.pixels[0, :5]).all()
    assert pairs.pixels[0, 5:] == pytest.approx(np.full(16, 3))


def test_joints_that_are_not_labelled_do_not_tell() -> None:
    hand = square(0, 0)
    hand[2] = NAN
    pairs = pair(found(square(3, 0)), truth(hand))
    assert np.isnan(pairs.pixels[0, 2])
    assert np.isfinite(np.delete(pairs.pixels[0], 2)).all()
    nothing = pair(found(square(3, 0)), truth(np.full((21, 2), NAN)))
    assert nothing.found.tolist() == [False]
    assert np.isnan(nothing.pixels).all()


def test_distances() -> None:
    apart = distances(np.array([[3.0, 4], [NAN, 0], [1, 1]]), np.array([[0.0, 0], [0, 0], [NAN, 0]]))
    assert apart[:2].tolist() == [5, np.inf]
    assert np.isnan(apart[2])


def test_extents() -> None:
    keypoints = np.array([[[1.0, 2], [NAN, NAN], [5, 1]], [[NAN, NAN]] * 3])
    assert extents(keypoints).tolist() == [[1, 1, 5, 2], [0, 0, 0, 0]]
    assert extents(np.zeros((0, 21, 2))).shape == (0, 4)


def test_hands_of_people() -> None:
    """The seen hands alone, with their sides and in space."""
    keypoints = np.full((2, 139, 2), NAN)
    keypoints[0, DOPE.parts["right_hand"]] = 7
    keypoints[1, DOPE.parts["left_hand"]] = 9
    hands = found_hands(people(DOPE, keypoints))
    assert hands.sides == ("left", "right")
    assert hands.keypoints[:, 0, 0].tolist() == [9, 7]
    assert hands.keypoints3d is None
    nobody = found_hands(People.empty(DOPE, with_3d=True))
    assert nobody.keypoints.shape == (0, 21, 2)
    assert nobody.keypoints3d is not None
    assert nobody.keypoints3d.shape == (0, 21, 3)


def test_faces_of_people() -> None:
    keypoints = np.full((2, 133, 2), NAN)
    keypoints[1, WHOLEBODY133.parts["face"], 0] = np.arange(68)
    keypoints[1, WHOLEBODY133.parts["face"], 1] = 1
    assert found_faces(people(WHOLEBODY133, keypoints)).keypoints[0, :, 0].tolist() == list(range(68))
    alone = np.arange(84.0)[None, :, None] * np.ones(2)
    landmarks = found_faces(people(DOPE_FACE, alone)).keypoints[0, :, 0]
    assert landmarks.tolist() == [*range(0, 33, 2), *range(33, 84)]
    assert found_faces(People.empty(DOPE)).keypoints.shape == (0, 68, 2)


def test_students_without_hands_or_face() -> None:
    for part in (found_hands, found_faces):
        with pytest.raises(KeyError):
            part(People.empty(COCO17))
