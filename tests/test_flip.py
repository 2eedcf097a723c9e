"""The flip test: answers about a mirrored crop, turned back."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.runtime.pipelines.flip import flip_back
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133

EYES = COCO17.joints.index("left_eye"), COCO17.joints.index("right_eye")


def peaks(shape: tuple[int, ...], **places: tuple[int, ...]) -> np.ndarray:
    """Zeros with a one at each of these places."""
    array = np.zeros(shape, np.float32)
    for place in places.values():
        array[place] = 1
    return array


def test_simcc() -> None:
    left, right = EYES
    x = peaks((1, 17, 10), left=(0, left, 2), right=(0, right, 5), nose=(0, 0, 0))
    y = peaks((1, 17, 12), left=(0, left, 3), right=(0, right, 4), nose=(0, 0, 7))
    z = y * 2
    x_back, y_back, z_back = flip_back([x, y, z], COCO17)
    assert [x_back[0, joint].argmax() for joint in (left, right, 0)] == [4, 7, 9]
    assert [y_back[0, joint].argmax() for joint in (left, right, 0)] == [4, 3, 7]
    np.testing.assert_array_equal(z_back, y_back * 2)


@pytest.mark.parametrize(("shift", "columns"), [(False, [4, 7, 8]), (True, [5, 8, 9])])
def test_heatmaps(shift: bool, columns: list[int]) -> None:
    left, right = EYES
    maps = peaks((1, 17, 6, 10), left=(0, left, 1, 2), right=(0, right, 3, 5), nose=(0, 0, 5, 1))
    (back,) = flip_back([maps], COCO17, shift=shift)
    places = [np.unravel_index(back[0, joint].argmax(), (6, 10)) for joint in (left, right, 0)]
    assert [int(place[1]) for place in places] == columns
    assert [int(place[0]) for place in places] == [3, 1, 5]


def test_twice_is_once() -> None:
    answers = [np.random.default_rng(0).random((3, 133, bins), np.float32) for bins in (20, 30)]
    for once, twice in zip(answers, flip_back(flip_back(answers, WHOLEBODY133), WHOLEBODY133), strict=True):
        np.testing.assert_array_equal(once, twice)


def test_nobody() -> None:
    (maps,) = flip_back([np.zeros((0, 17, 6, 10), np.float32)], COCO17, shift=True)
    assert maps.shape == (0, 17, 6, 10)
