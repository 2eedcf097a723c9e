"""Crops: golden affines, the plain implementation's pixels, and boxes that cannot be cropped."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.top_down_stages import CROP, plain_crops
from wholebody.runtime.kernels.crop import Cropper, check_boxes, crop_affines, crops, to_source
from wholebody.runtime.spec import CropInput

GOLDEN = ["rtmpose_t_256x192", "rtmpose_s_256x192"]
SMALL = CropInput(32, 24, (10, 20, 30), (2, 4, 8), "rgb")


def boxes_of(rng: np.random.Generator, people: int) -> np.ndarray:
    """Boxes of 1 to 120 pixels a side, in, about and beyond a picture of 100 x 80."""
    corner = rng.uniform(-60, 100, (people, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 120, (people, 2))], axis=1).astype(np.float32)


def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (80, 100, 3), np.uint8)


def test_nobody() -> None:
    boxes = np.zeros((0, 4), np.float32)
    check_boxes(boxes, (80, 100))
    affines = crop_affines(boxes, (24, 32))
    assert (affines.shape, affines.dtype) == ((0, 2, 3), np.float64)
    assert crops(np.zeros((80, 100, 3), np.uint8), affines, SMALL).shape == (0, 3, 32, 24)
    assert to_source(np.zeros((0, 17, 2)), affines).shape == (0, 17, 2)


# --- affines ---


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(shared: Path, name: str) -> None:
    case = np.load(shared / "golden" / "rtmpose" / f"{name}.npz")
    width, height = map(int, case["input_wh"])
    affines = crop_affines(case["boxes_xyxy"], (width, height))
    np.testing.assert_allclose(affines, case["warp"], atol=1e-3)
    source = to_source(case["keypoints_input"], affines)
    np.testing.assert_allclose(source, case["keypoints_image"], atol=0.01)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_pixels(shared: Path, name: str) -> None:
    """The crops are those of affines in double precision, through three points as mmpose lays them."""
    case = np.load(shared / "golden" / "rtmpose" / f"{name}.npz")
    image = np.asarray(cv2.imread(str(shared / "data" / "images" / str(case["image"]))), np.uint8)
    made = crops(image, crop_affines(case["boxes_xyxy"], (192, 256)), CROP)
    mean, std = np.array(CROP.mean, np.float32), np.array(CROP.std, np.float32)
    for crop, (x0, y0, x1, y1) in zip(made, case["boxes_xyxy"].astype(np.float64), strict=True):
        centre = np.array([x0 + x1, y0 + y1]) / 2
        half = max((x1 - x0) * 1.25, (y1 - y0) * 1.25 * 192 / 256) / 2
        there = np.array([centre, centre - [half, 0], centre - [half, half]], np.float64)
        here = np.array([[96, 128], [0, 128], [0, 32]], np.float64)
        affine = np.linalg.solve(np.c_[there, np.ones(3)], here).T
        warped = cv2.warpAffine(image, affine, (192, 256), flags=cv2.INTER_LINEAR)[..., ::-1]
        np.testing.assert_array_equal(crop.transpose(1, 2, 0), (warped.astype(np.float32) - mean) / std)


@given(
    seed=st.integers(0, 10_000),
    wh=st.sampled_from([(192, 256), (288, 384), (256, 256)]),
    padding=st.sampled_from([1.0, 1.25, 1.5]),
)
def test_the_padded_box_fills_the_crop_on_one_side_at_least(
    seed: int, wh: tuple[int, int], padding: float
) -> None:
    boxes = boxes_of(np.random.default_rng(seed), 4).astype(np.float64)
    affines = crop_affines(boxes, wh, padding)
    corners = np.array([[(0, 0), wh]] * 4)
    region = to_source(corners, affines).astype(np.float64)  # the crop's outline in the source picture
    sides, wanted = region[:, 1] - region[:, 0], (boxes[:, 2:] - boxes[:, :2]) * padding
    np.testing.assert_allclose(region.mean(axis=1), (boxes[:, :2] + boxes[:, 2:]) / 2, atol=1e-3)
    np.testing.assert_allclose(sides[:, 0] * wh[1], sides[:, 1] * wh[0], rtol=1e-4)
    np.testing.assert_allclose((sides / wanted).min(axis=1), 1, rtol=1e-4)


def test_udp_lays_the_outline_on_the_centres_of_the_outer_pixels() -> None:
    box = np.array([[10, 20, 40, 60]])  # of the crop's aspect
    corners = np.array([[(0, 0), (23, 31)]])
    affines = crop_affines(box, (24, 32), 1.0, udp=True)
    np.testing.assert_allclose(to_source(corners, affines)[0], [(10, 20), (40, 60)], atol=1e-4)


@given(seed=st.integers(0, 10_000), people=st.integers(0, 5))
def test_to_source_undoes_the_affine(seed: int, people: int) -> None:
    rng = np.random.default_rng(seed)
    affines = crop_affines(boxes_of(rng, people), (24, 32))
    source = rng.uniform(-100, 200, (people, 7, 2))
    crop = np.einsum("nij,nkj->nki", affines[:, :, :2], source) + affines[:, None, :, 2]
    np.testing.assert_allclose(to_source(crop, affines), source, atol=1e-2)


def test_an_unseen_keypoint_stays_so() -> None:
    affines = crop_affines(np.array([[0, 0, 10, 10]]), (24, 32))
    got = to_source(np.array([[[np.nan, np.nan], [12, 16]]]), affines)
    np.testing.assert_allclose(got, [[[np.nan, np.nan], [5, 5]]])


# --- pixels ---


@given(seed=st.integers(0, 10_000), people=st.integers(0, 5), color=st.sampled_from(["rgb", "bgr"]))
def test_the_plain_implementation_gives_the_same_pixels(seed: int, people: int, color: Any) -> None:
    rng = np.random.default_rng(seed)
    image, boxes = picture(rng), boxes_of(rng, people)
    spec = CropInput(32, 24, (10.5, 20.25, 30), (2, 3, 7), color)
    expected, affines = plain_crops(image, boxes, spec)
    np.testing.assert_allclose(crop_affines(boxes, (24, 32)), affines, rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(crops(image, affines, spec), expected)


def test_channels_are_in_the_networks_order_and_normalised() -> None:
    blue = np.full((80, 100, 3), (200, 100, 50), np.uint8)
    affines = crop_affines(np.array([[20, 20, 60, 60]]), (24, 32))
    rgb = crops(blue, affines, SMALL)[0, :, 16, 12]
    np.testing.assert_array_equal(rgb, [(50 - 10) / 2, (100 - 20) / 4, (200 - 30) / 8])
    bgr = crops(blue, affines, CropInput(32, 24, SMALL.mean, SMALL.std, "bgr"))[0, :, 16, 12]
    np.testing.assert_array_equal(bgr, [(200 - 10) / 2, (100 - 20) / 4, (50 - 30) / 8])


def test_outside_the_picture_is_black_before_it_is_normalised() -> None:
    affines = crop_affines(np.array([[-200, -200, -100, -100]]), (24, 32))
    crop = crops(np.full((80, 100, 3), 255, np.uint8), affines, SMALL)[0]
    np.testing.assert_array_equal(crop, np.broadcast_to(np.array([-5, -5, -3.75])[:, None, None], crop.shape))


def test_buffers_are_kept_and_people_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    image, cropper = picture(rng), Cropper(SMALL)
    for people in (2, 5, 0, 1, 5):
        affines = crop_affines(boxes_of(rng, people), (24, 32))
        made = cropper(image, affines)
        np.testing.assert_array_equal(made, crops(image, affines, SMALL))
        assert made.flags.c_contiguous
    assert np.shares_memory(made, cropper(image, affines))


def test_each_thread_has_buffers_of_its_own() -> None:
    cropper, image = Cropper(SMALL), picture(np.random.default_rng(0))
    affines = crop_affines(np.array([[10, 10, 50, 50]]), (24, 32))
    made: list[np.ndarray] = []
    worker = threading.Thread(target=lambda: made.append(cropper(image, affines)))
    worker.start()
    worker.join()
    assert not np.shares_memory(made[0], cropper(image, affines))
    np.testing.assert_array_equal(made[0], cropper(image, affines))


# --- boxes that cannot be cropped ---


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((0, 0, np.nan, 10), "is not finite"),
        ((0, 0, np.inf, 10), "is not finite"),
        ((0, 0, 1e300, 10), "is not finite"),
        ((10, 0, 5, 10), "is inverted"),
        ((0, 10, 10, 5), "is inverted"),
        ((5, 5, 5, 10), "has no area"),
        ((0, 0, 1e-30, 1e-30), "has no area"),
        ((-1e30, -1e30, 1e30, 1e30), "is too large"),
        ((100, 0, 120, 10), "lies outside the picture of 100 x 80 pixels"),
        ((0, 80, 10, 90), "lies outside"),
        ((-20, 0, -1, 10), "lies outside"),
        ((0, -20, 10, -1), "lies outside"),
    ],
)
def test_wrong_boxes_are_named(box: tuple[float, ...], why: str) -> None:
    with pytest.raises(ValueError, match=rf"^box 1 \(.*\) {why}") as error:
        check_boxes(np.array([(1, 2, 30, 40), box]), (80, 100))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(4,), (2, 5), (1, 2, 4), (0,)])
def test_another_shape_is_no_list_of_boxes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        check_boxes(np.ones(shape))


def test_boxes_partly_outside_and_without_a_picture_are_fine() -> None:
    check_boxes(np.array([(-50, -50, 0, 0), (99, 79, 400, 300)]), (80, 100))
    check_boxes(np.array([(5000, 5000, 5010, 5010)]))
