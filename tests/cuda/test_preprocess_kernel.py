"""preprocess.cu against `Preprocessor` in geometry.py."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wholebody.runtime.geometry import Pixels, letterbox, preprocess
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import preprocess_gpu
from wholebody.runtime.kernels.preprocess_gpu import GpuPreprocessor
from wholebody.runtime.spec import InputSpec

SPEC = InputSpec(48, 64, 48, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(height: int, width: int) -> Pixels:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tolerance(image: Pixels, dtype: type[np.floating]) -> float:
    """OpenCV counts source pixels in float32, so weights are off by its step, times black to white."""
    return 3e-6 + 4.5 * 2.0**-23 * max(image.shape) + (2e-3 if dtype == np.float16 else 0)


def check(gpu: Gpu, image: Pixels, dtype: type[np.floating] = np.float32) -> None:
    box = letterbox(image.shape[:2], SPEC)
    got = gpu.download(GpuPreprocessor(gpu, SPEC, dtype)(gpu.upload(image), box))
    np.testing.assert_allclose(got, preprocess(image, box, SPEC), rtol=0, atol=tolerance(image, dtype))


SIZES = [
    (48, 64),
    (96, 128),
    (24, 32),
    (100, 64),
    (10, 1000),
    (1000, 1),
    (1, 1),
    (3, 2),
    (2, 3),
    (47, 63),
    (301, 403),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_pictures_of_any_size(gpu: Gpu, size: tuple[int, int], dtype: type[np.floating]) -> None:
    check(gpu, picture(*size), dtype)


@pytest.mark.parametrize("canvas", [(47, 63), (33, 65), (64, 66), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_inputs_of_any_size(gpu: Gpu, canvas: tuple[int, int], dtype: type[np.floating]) -> None:
    """Two columns are written at once only where rows begin at even places."""
    spec = InputSpec(*canvas, *canvas, SPEC.mean, SPEC.std)
    for size in ((100, 64), (31, 90)):
        image = picture(*size)
        box = letterbox(size, spec)
        got = gpu.download(GpuPreprocessor(gpu, spec, dtype)(gpu.upload(image), box))
        np.testing.assert_allclose(got, preprocess(image, box, spec), rtol=0, atol=tolerance(image, dtype))


def test_the_rest_is_zero_after_a_larger_picture(gpu: Gpu) -> None:
    process = GpuPreprocessor(gpu, SPEC)
    for size in ((48, 64), (48, 20)):
        image = picture(*size)
        box = letterbox(size, SPEC)
        got = gpu.download(process(gpu.upload(image), box))
        np.testing.assert_allclose(got, preprocess(image, box, SPEC), rtol=0, atol=1e-4)


def test_a_picture_that_begins_anywhere_in_memory(gpu: Gpu) -> None:
    tall = picture(60, 21)  # rows of 63 bytes
    for first in range(5):
        image = tall[first:]
        box = letterbox(image.shape[:2], SPEC)
        got = gpu.download(GpuPreprocessor(gpu, SPEC)(gpu.upload(tall)[first:], box))
        np.testing.assert_allclose(
            got, preprocess(image, box, SPEC), rtol=0, atol=tolerance(image, np.float32)
        )


@pytest.mark.parametrize("size", [(48, 64), (2, 2), (2, 100), (94, 62), (180, 320)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_nv12(gpu: Gpu, size: tuple[int, int], dtype: type[np.floating]) -> None:
    height, width = size
    image = np.random.default_rng([height, width]).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    bgr = np.asarray(cv2.cvtColor(image, cv2.COLOR_YUV2BGR_NV12), np.uint8)
    box = letterbox(size, SPEC)
    got = gpu.download(GpuPreprocessor(gpu, SPEC, dtype)(gpu.upload(image), box))
    np.testing.assert_allclose(got, preprocess(bgr, box, SPEC), rtol=0, atol=tolerance(bgr, dtype))


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocess_gpu, "blocks", lambda items, threads: 1)
    check(gpu, picture(70, 90))


@pytest.mark.parametrize("shape", [(5, 6, 4), (5, 7, 3), (7, 6), (8, 6), (6, 5)])
def test_a_picture_of_another_size(gpu: Gpu, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the picture is uint8 of shape"):
        GpuPreprocessor(gpu, SPEC)(gpu.empty(shape, np.uint8), letterbox((5, 6), SPEC))
