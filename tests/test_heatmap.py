"""Heatmaps: peaks that training put there, the plain implementation, and a trained student."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.kernels.crop import Cropper, crop_affines, to_source
from wholebody.runtime.kernels.heatmap import decode_heatmaps
from wholebody.runtime.kernels.oks import oks
from wholebody.runtime.skeletons import COCO17
from wholebody.runtime.spec import CropInput

CROP_WH = (192, 256)
MAP_WH = (48, 64)


def gaussian(x: float, y: float, high: float = 0.8, wh: tuple[int, int] = MAP_WH) -> np.ndarray:
    """(1, 1, h, w) a map with its target at (x, y), deviation 2 as in training."""
    across = np.exp(-((np.arange(wh[0]) - x) ** 2) / 8)
    down = np.exp(-((np.arange(wh[1]) - y) ** 2) / 8)
    return (high * down[:, None] * across)[None, None].astype(np.float32)


def plain_decode(maps: np.ndarray, input_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    n, k, height, width = maps.shape
    keypoints, scores = np.full((n, k, 2), np.nan, np.float32), np.zeros((n, k), np.float32)
    for person, joint in np.ndindex(n, k):
        one = maps[person, joint]
        row, column = map(int, np.unravel_index(one.argmax(), one.shape))
        if not one[row, column] > 0:
            continue
        x, y = float(column), float(row)
        if 0 < column < width - 1:
            x += 0.25 * float(np.sign(one[row, column + 1] - one[row, column - 1]))
        if 0 < row < height - 1:
            y += 0.25 * float(np.sign(one[row + 1, column] - one[row - 1, column]))
        keypoints[person, joint] = x * input_wh[0] / width, y * input_wh[1] / height
        scores[person, joint] = one[row, column]
    return keypoints, scores


@pytest.mark.parametrize("udp", [False, True])
def test_nobody(udp: bool) -> None:
    keypoints, scores = decode_heatmaps(np.zeros((0, 17, 64, 48), np.float32), CROP_WH, udp=udp)
    assert (keypoints.shape, scores.shape) == ((0, 17, 2), (0, 17))
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(2, 6), st.integers(2, 6)),
    dtype=st.sampled_from(["f2", "f4"]),
)
def test_the_plain_implementation_gives_the_same(
    seed: int, shape: tuple[int, int, int, int], dtype: str
) -> None:
    """Maps of small whole numbers: peaks on the edge, ties and peaks of zero are frequent."""
    maps = np.random.default_rng(seed).integers(-4, 3, shape).astype(dtype)
    for got, wanted in zip(decode_heatmaps(maps, (24, 30)), plain_decode(maps, (24, 30)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("worst", [0.0, -1.0, np.nan])
def test_a_map_without_a_positive_peak_is_unseen(worst: float, udp: bool) -> None:
    maps = np.concatenate([gaussian(20, 30), np.full((1, 1, 64, 48), worst, "f4")], axis=1)
    keypoints, scores = decode_heatmaps(maps, CROP_WH, udp=udp)
    np.testing.assert_allclose(scores, [[0.8, 0]])
    assert np.isfinite(keypoints[0, 0]).all()
    assert np.isnan(keypoints[0, 1]).all()


@given(x=st.floats(0, 191), y=st.floats(0, 255))
def test_plain_is_within_a_quarter_of_a_map_pixel(x: float, y: float) -> None:
    """Nearest pixel and a quarter towards the truth: never more than a quarter off, which is 1 crop pixel."""
    keypoints, _ = decode_heatmaps(gaussian(x / 4, y / 4), CROP_WH)
    inside = [4 <= x <= 184, 4 <= y <= 248]  # else the peak has one neighbour, or its pixel is off the map
    assert (np.abs(keypoints[0, 0] - (x, y))[inside] <= 1.001).all()
    assert (np.abs(keypoints[0, 0] - (x, y)) <= 3.001).all()


@given(
    x=st.floats(30, 160),
    y=st.floats(30, 220),
    high=st.just(0.0016) | st.floats(0.3, 1.5),
    lean=st.floats(-0.1, 0.1),
)
def test_udp_finds_what_training_encodes(x: float, y: float, high: float, lean: float) -> None:
    """UDP puts crop pixel 0 on map pixel 0 and the last on the last; the Newton step then hits the truth.

    Weak maps count as strong ones do; peaks that lean have a mixed second derivative.
    """
    scale = (np.array(CROP_WH) - 1) / (np.array(MAP_WH) - 1)
    column, row = (np.array([x, y]) / scale).tolist()
    across, down = np.arange(MAP_WH[0]) - column, np.arange(MAP_WH[1])[:, None] - row
    leaning = np.exp(lean * across * down - 0.01 * (across**2 + down**2))
    keypoints, scores = decode_heatmaps(
        (gaussian(column, row, high) * leaning).astype(np.float32), CROP_WH, udp=True
    )
    np.testing.assert_allclose(keypoints[0, 0], (x, y), atol=0.05)
    assert 0 < scores[0, 0] <= high * 1.001


@given(seed=st.integers(0, 10_000), noise=st.sampled_from([0.0, 1e-5, 0.1, 1.0]))
def test_udp_treats_each_map_for_itself(seed: int, noise: float) -> None:
    """Smoothing many maps in one picture: none reaches into the next, and every answer is a number."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, (19, 23), (6, 2))
    maps = np.concatenate([gaussian(x, y, 0.9, (20, 24)) for x, y in places]).reshape(2, 3, 24, 20)
    maps += rng.uniform(0, noise, maps.shape).astype(np.float32)
    keypoints, _ = decode_heatmaps(maps, (80, 96), udp=True)
    alone = [decode_heatmaps(maps[i : i + 1, j : j + 1], (80, 96), udp=True)[0] for i, j in np.ndindex(2, 3)]
    np.testing.assert_allclose(keypoints.reshape(6, 2), np.reshape(alone, (6, 2)), rtol=1e-4, atol=1e-3)
    assert np.isfinite(keypoints).all()


@pytest.mark.parametrize("udp", [False, True])
def test_the_maps_stay_as_they_are(udp: bool) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)
    before = maps.copy()
    decode_heatmaps(maps, (24, 32), udp=udp)
    np.testing.assert_array_equal(maps, before)


# --- a trained student ---


def test_a_trained_student_on_photographs(shared: Path) -> None:
    """The MobileNet of gluon-cv's SimplePose on the annotated boxes of 86 people: plain crops, quarter steps.

    Measured: plain 0.653, without the quarter step 0.647, crops and maps as for UDP 0.639.
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    model = shared / "data" / "models" / "ultralight_simplepose_coco17.onnx"
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    folder = shared / "data" / "images" / "coco_people"
    truth = json.loads((folder / "person_keypoints.json").read_text("utf-8"))
    cropper = Cropper(CropInput(256, 192, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb"))
    alike: list[float] = []
    for picture in truth["images"]:
        people = [a for a in truth["annotations"] if a["image_id"] == picture["id"] and a["num_keypoints"]]
        image = np.asarray(cv2.imread(str(folder / picture["file_name"])), np.uint8)
        x0, y0, width, height = np.array([p["bbox"] for p in people]).T
        affines = crop_affines(np.stack([x0, y0, x0 + width, y0 + height], axis=1), CROP_WH)
        maps = [session.run(None, {"data": crop[None]})[0] for crop in cropper(image, affines)]
        keypoints, _ = decode_heatmaps(np.concatenate(maps), CROP_WH)
        real = np.array([p["keypoints"] for p in people], np.float64).reshape(-1, 17, 3)
        area = np.array([p["area"] for p in people])
        similarity = oks(to_source(keypoints, affines), real[..., :2], area, COCO17.sigmas, real[..., 2] > 0)
        alike += similarity.diagonal().tolist()
    assert len(alike) == 86
    assert np.mean(alike) >= 0.653


@pytest.mark.parametrize("udp", [False, True])
def test_infinite_maps_are_unseen_and_a_single_pixel_is_found(udp: bool) -> None:
    infinite = np.stack([np.full((4, 4), np.inf), np.full((4, 4), -np.inf)])[None].astype(np.float32)
    keypoints, scores = decode_heatmaps(infinite, (16, 16), udp=udp)
    assert np.isnan(keypoints).all()
    assert not scores.any()
    keypoints, scores = decode_heatmaps(np.ones((1, 1, 1, 1), np.float32), (16, 16), udp=udp)
    assert keypoints.tolist() == [[[0, 0]]]
    assert scores.tolist() == [[1]]
