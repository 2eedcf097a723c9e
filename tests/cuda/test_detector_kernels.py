"""What detectors need on the GPU: detections.cu against detections.py, levels against `Letterboxer`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.runtime.geometry import Pixels
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import person_boxes_gpu
from wholebody.runtime.kernels.detections import decode_rtmdet, decode_yolox
from wholebody.runtime.kernels.letterbox import Letterboxer, letterbox_in
from wholebody.runtime.kernels.person_boxes_gpu import GpuPersonBoxes
from wholebody.runtime.kernels.preprocess_gpu import GpuLetterboxer
from wholebody.runtime.spec import DetectorInput

SIZE = (64, 96)  # of the detectors' input
CELLS = sum((SIZE[0] // s) * (SIZE[1] // s) for s in (8, 16, 32))
INPUT = DetectorInput(48, 64, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "bgr", upscale=True)
Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]


def anchors(classes: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 1, (CELLS, 5 + classes)).astype(np.float32)
    made[:, 4:] = rng.uniform(0, 1, (CELLS, 1 + classes))
    return made


def maps(classes: int, seed: int = 0) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    sizes = [(SIZE[0] // s, SIZE[1] // s, classes + 4) for s in (8, 16, 32)]
    return [rng.normal(0, 2, size).astype(np.float32) for size in sizes]


def same(got: Boxes, expected: Boxes) -> None:
    assert len(got[0]) == len(expected[0])
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-6, atol=1e-7)


def check_yolox(gpu: Gpu, given: NDArray[Any], person: int, least: float) -> int:
    decode = GpuPersonBoxes(gpu, len(given), SIZE, person=person, min_score=least)
    decode.yolox(gpu.upload(given))
    decode.yolox(gpu.upload(given))  # in memory that was used before
    got = decode.unpack(gpu.download(decode.first))
    same(got, decode_yolox(given.astype(np.float32), SIZE, person=person, min_score=least))
    return len(got[0])


def check_rtmdet(gpu: Gpu, given: list[NDArray[Any]], person: int, least: float) -> int:
    decode = GpuPersonBoxes(gpu, CELLS, SIZE, person=person, min_score=least)
    decode.rtmdet([gpu.upload(level) for level in given])
    got = decode.unpack(gpu.download(decode.first))
    whole = [level.astype(np.float32) for level in given]
    same(got, decode_rtmdet(whole, SIZE, person=person, min_score=least))
    return len(got[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("classes", "person"), [(1, 0), (5, 3)])
@pytest.mark.parametrize("least", [0.3, 0.999, 0.0])
def test_as_the_reference(gpu: Gpu, classes: int, person: int, least: float, dtype: Any) -> None:
    found = check_yolox(gpu, anchors(classes).astype(dtype), person, least)
    assert 0 < found < CELLS or least != 0.3
    found = check_rtmdet(gpu, [level.astype(dtype) for level in maps(classes)], person, least)
    assert 0 < found < CELLS or least != 0.3


def test_a_published_size(gpu: Gpu) -> None:
    """8,400 cells, of which more score enough than are copied in the first go."""
    size = (640, 640)
    rng = np.random.default_rng(0)
    given = rng.normal(0, 1, (8400, 7)).astype(np.float32)
    given[:, 4:] = rng.uniform(0, 1, (8400, 3))
    decode = GpuPersonBoxes(gpu, 8400, size, person=1, min_score=0.5)
    decode.yolox(gpu.upload(given))
    got = decode.unpack(gpu.download(decode.first))
    assert len(got[0]) > person_boxes_gpu.EXPECTED
    same(got, decode_yolox(given, size, person=1, min_score=0.5))


def test_nobody_and_everybody(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    nothing = anchors(1)
    nothing[:, 4] = 0
    assert check_yolox(gpu, nothing, 0, 0.1) == 0
    monkeypatch.setattr(person_boxes_gpu, "EXPECTED", 3)
    assert check_yolox(gpu, anchors(1), 0, 0.0) == CELLS
    assert check_rtmdet(gpu, maps(1), 0, 0.0) == CELLS


def test_what_is_not_finite(gpu: Gpu) -> None:
    given = anchors(1)
    given[3, 0], given[4, 4], given[5, 2], given[6, 5] = np.nan, np.nan, 1000, np.inf
    with np.errstate(over="ignore"):
        assert check_yolox(gpu, given, 0, 0.0) == CELLS - 4
    levels = maps(1)
    levels[0][1, 2, 0], levels[1][0, 0, 3], levels[2][0, 0, 1] = np.nan, np.inf, -np.inf
    assert check_rtmdet(gpu, levels, 0, 0.0) == CELLS - 3


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_boxes_gpu, "blocks", lambda items, threads: 1)
    monkeypatch.setattr(person_boxes_gpu, "EXPECTED", 8)
    given = np.concatenate([anchors(1, seed) for seed in range(9)])
    given[CELLS:, 4] = 0
    assert len(given) > 2 * person_boxes_gpu.THREADS
    check_yolox(gpu, given[:CELLS], 0, 0.0)


# --- pictures -----------------------------------------------------------------------------------------------


def picture(height: int, width: int) -> Pixels:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def check_levels(gpu: Gpu, image: Pixels, bgr: Pixels, spec: DetectorInput, dtype: Any = np.float32) -> None:
    box = letterbox_in(bgr.shape[:2], spec)
    got = gpu.download(GpuLetterboxer(gpu, spec, dtype)(gpu.upload(image), box))
    expected = Letterboxer(spec)(bgr, box)
    assert got.dtype == dtype
    levels = np.abs(got.astype(np.float64) - expected) * np.array(spec.std)[:, None, None]
    assert levels.max() < 1.01 + 0.3 * (dtype == np.float16)
    assert (levels > 0.5).mean() < 0.15  # of noise, where OpenCV rounds otherwise
    outside = np.ones(got.shape[2:], bool)
    outside[: box.size[0], : box.size[1]] = False
    np.testing.assert_allclose(
        got[0][:, outside], expected[0][:, outside], atol=2e-6 + 2e-3 * (dtype != np.float32)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize("size", [(48, 64), (96, 128), (33, 20), (301, 403), (1, 1), (10, 500)], ids=str)
def test_levels(gpu: Gpu, size: tuple[int, int], color: Any, dtype: Any) -> None:
    spec = DetectorInput(48, 64, INPUT.mean, INPUT.std, color, upscale=size != (33, 20))
    check_levels(gpu, picture(*size), picture(*size), spec, dtype)


def test_levels_of_nv12(gpu: Gpu) -> None:
    nv12 = np.random.default_rng(0).integers(0, 256, (90 * 3 // 2, 150), dtype=np.uint8)
    check_levels(gpu, nv12, np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8), INPUT)


def test_the_rest_is_grey_after_a_larger_picture(gpu: Gpu) -> None:
    process = GpuLetterboxer(gpu, INPUT)
    for size in ((48, 64), (48, 20)):
        box = letterbox_in(size, INPUT)
        got = gpu.download(process(gpu.upload(picture(*size)), box))
        np.testing.assert_allclose(got, Letterboxer(INPUT)(picture(*size), box), atol=1e-5)
