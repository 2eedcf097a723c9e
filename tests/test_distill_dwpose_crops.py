"""Crops: truth that follows the picture, and what is called visible, hidden or absent."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.people_boxes import people_boxes
from wholebody.distill.dwpose import crops
from wholebody.distill.dwpose.crops import ABSENT, HIDDEN, VISIBLE, cut, trainable
from wholebody.distill.scenes import Sample
from wholebody.runtime.kernels.crop import crop_affines
from wholebody.runtime.skeletons import WHOLEBODY133

SIDE, SIZE = 200, (96, 128)
MARKED = WHOLEBODY133.joints.index("left_wrist")
FLIP = np.array(WHOLEBODY133.flip_index)


def sample(seed: int = 0, people: int = 1, reach: float = 1.0) -> Sample:
    """A black picture with a white blob at everybody's left wrist; joints anywhere in its middle."""
    rng = np.random.default_rng(seed)
    middle, half = SIDE / 2, SIDE * 0.35 * reach
    keypoints = rng.uniform(middle - half, middle + half, (people, 133, 2)).astype(np.float32)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    for wx, wy in keypoints[:, MARKED]:
        blob = 255 * np.exp(-((x - wx) ** 2 + (y - wy) ** 2) / 18)
        image = np.maximum(image, blob[..., None].astype(np.uint8))
    metres = np.zeros((people, 133, 3), np.float32)
    return Sample(image, keypoints, metres, np.ones((people, 133), bool), WHOLEBODY133)


def calm(monkeypatch: pytest.MonkeyPatch, **odds: Any) -> None:
    """No chance but what is asked for."""
    plain = {"HALF_ODDS": 0, "TURN_ODDS": 0, "BLOCK_ODDS": 0, "COLOUR_ODDS": 0, "SHIFT": 0, "SCALES": (1, 1)}
    for name, value in {**plain, **odds}.items():
        monkeypatch.setattr(crops, name, value)


class Unmirrored(np.random.Generator):
    """Whose `random` is never low, so that nothing of odds below 1 happens."""

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return 0.999


def whose_blob(image: NDArray[Any]) -> NDArray[Any]:
    """x, y of the blob's middle."""
    light = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    middle: NDArray[Any] = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
    return middle


def test_nobody() -> None:
    people, boxes = trainable(sample(people=0))
    assert (people.shape, boxes.shape) == ((0,), (0, 4))
    none = people_boxes(np.zeros((2, 133, 2), np.float32), np.zeros((2, 133), bool))
    np.testing.assert_array_equal(none, np.zeros((2, 4)))


def test_a_box_is_around_what_lies_in_the_picture() -> None:
    someone = sample()
    someone.keypoints[0, :10] = (-50, 500)
    _, boxes = trainable(someone)
    inside = someone.keypoints[0, 10:]
    np.testing.assert_allclose(boxes[0], [*inside.min(axis=0), *inside.max(axis=0)])


def test_who_shows_little_or_is_small_is_not_trained_on() -> None:
    everybody = sample(people=3)
    everybody.visible[1, 7:] = False
    everybody.keypoints[2] = everybody.keypoints[2] / SIDE * 39
    assert trainable(everybody)[0].tolist() == [0]


@given(st.integers(0, 200))
def test_the_truth_follows_the_picture(seed: int) -> None:
    """Turned, scaled, moved or mirrored: the left wrist is where its blob is."""
    with pytest.MonkeyPatch.context() as patch:
        calm(patch, TURN_ODDS=1, SHIFT=0.05, SCALES=(0.9, 1.3))
        someone = sample(seed)
        rng = np.random.default_rng(seed)
        crop = cut(someone, 0, trainable(someone)[1][0], SIZE, rng)
    assert crop.image.shape == (SIZE[1], SIZE[0], 3)
    wrist = [joint for joint in (MARKED, FLIP[MARKED]) if crop.presence[joint] == VISIBLE]
    near = [np.abs(whose_blob(crop.image) - crop.keypoints[joint]).max() for joint in wrist]
    margin = crop.keypoints[[MARKED, FLIP[MARKED]]]
    if ((margin > 8) & (margin < np.array(SIZE) - 9)).all():
        assert min(near) < 0.3


def test_without_chance_it_is_the_runtime_s_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    someone = sample()
    box = trainable(someone)[1]
    crop = cut(someone, 0, box[0], SIZE, Unmirrored(np.random.PCG64(0)))
    affine = crop_affines(box, SIZE)[0]
    expected = someone.keypoints[0] @ affine[:, :2].T + affine[:, 2]
    np.testing.assert_allclose(crop.keypoints, expected, atol=1e-3)
    assert (crop.presence == VISIBLE).all()


def test_a_mirrored_left_is_a_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two crops of the same box one is mirrored: columns and sides are exchanged, rows are not."""
    calm(monkeypatch)
    someone = sample()
    box = trainable(someone)[1][0]
    plain = cut(someone, 0, box, SIZE, Unmirrored(np.random.PCG64(0)))
    mirrored = next(
        crop
        for seed in range(20)
        if not np.allclose(
            (crop := cut(someone, 0, box, SIZE, np.random.default_rng(seed))).image, plain.image
        )
    )
    np.testing.assert_allclose(
        mirrored.keypoints[FLIP] * (-1, 1) + (SIZE[0] - 1, 0), plain.keypoints, atol=1e-3
    )
    assert np.abs(mirrored.image[:, ::-1].astype(int) - plain.image).max() <= 12  # interpolated


def test_presence(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch)
    someone = sample()
    box = trainable(someone)[1][0]
    someone.visible[0, 20] = False
    someone.keypoints[0, 21] = (SIDE + 3, 100)  # in the crop's black margin, not in the picture
    someone.visible[0, 21] = False
    someone.keypoints[0, 22] = (-500, 100)
    someone.visible[0, 22] = False
    crop = cut(someone, 0, box + np.array([40, 0, 40, 0], np.float32), SIZE, Unmirrored(np.random.PCG64(0)))
    assert 0 <= crop.keypoints[21, 0] < SIZE[0]
    assert crop.presence[20:23].tolist() == [HIDDEN, ABSENT, ABSENT]
    left_of_it = crop.keypoints[:, 0] < 0
    assert left_of_it.any()
    assert (crop.presence[left_of_it] == ABSENT).all()


def test_a_block_hides_what_it_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch, BLOCK_ODDS=1)
    someone = sample()
    someone.image[:] = np.random.default_rng(0).integers(0, 256, someone.image.shape)
    box = trainable(someone)[1][0]
    crop = cut(someone, 0, box, SIZE, Unmirrored(np.random.PCG64(3)))
    monkeypatch.setattr(crops, "BLOCK_ODDS", 0)
    whole = cut(someone, 0, box, SIZE, Unmirrored(np.random.PCG64(3)))
    covered = (crop.image != whole.image).any(axis=2).astype(np.uint8)
    x, y = np.round(crop.keypoints).astype(int).T
    amid, near = (change(covered, np.ones((3, 3)))[y, x] == 1 for change in (cv2.erode, cv2.dilate))
    assert amid.any()
    assert (crop.presence[amid] == HIDDEN).all()
    assert (crop.presence[~near] == VISIBLE).all()


def test_half_a_person_fills_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    calm(monkeypatch, HALF_ODDS=1)
    someone = sample()
    someone.keypoints[0, crops.LOWER, 1] = np.linspace(150, 190, 12)
    someone.keypoints[0, crops.UPPER, 1] = np.linspace(10, 60, 121)
    box = trainable(someone)[1][0]
    centres = set()
    for seed in range(30):
        crop = cut(someone, 0, box, SIZE, np.random.default_rng(seed))
        whole = {
            half: bool((crop.presence[joints] == VISIBLE).all())
            for half, joints in (("upper", crops.UPPER), ("lower", crops.LOWER))
        }
        assert sum(whole.values()) == 1
        centres.add(next(half for half, all_of_it in whole.items() if all_of_it))
    assert centres == {"upper", "lower"}


def test_the_same_seed_gives_the_same_crop() -> None:
    someone = sample()
    box = trainable(someone)[1][0]
    first, again, other = (cut(someone, 0, box, SIZE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert not np.array_equal(first.keypoints, other.keypoints)
