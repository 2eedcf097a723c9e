"""crop.cu against `crops` in crop.py, and against the fixed-point arithmetic of older OpenCVs."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.runtime.geometry import Pixels
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels.crop import crop_affines, crops
from wholebody.runtime.kernels.crop_gpu import GpuCropper, opencv_is_fixed_point
from wholebody.runtime.people import Floats
from wholebody.runtime.spec import CropInput

SPEC = CropInput(64, 48, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb")
BOXES = np.array(
    [[20, 10, 60, 90], [0, 0, 159, 119], [-30, -20, 40, 50], [100, 90, 200, 170], [50.3, 40.7, 52.1, 43.9]],
    np.float32,
)
TURNED = np.array([[[0.9, 0.3, -20], [-0.3, 0.9, 10]], [[0, 0, 5], [0, 0, 5]]])


def picture(height: int = 120, width: int = 160) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def levels(normalised: Floats, spec: CropInput = SPEC) -> Floats:
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (spec.mean, spec.std))
    return normalised * std + mean


def older_opencv(image: Pixels, affine: NDArray[np.float64], width: int, height: int) -> Pixels:
    """cv2.warpAffine up to OpenCV 4: steps of 1/1024 pixel for x and for y apart, then of 1/32."""
    m = affine
    det = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    d = 1 / det if det else 0
    turn = np.array([[m[1, 1] * d, m[0, 1] * -d], [m[1, 0] * -d, m[0, 0] * d]])
    shift = -turn[:, 0] * m[0, 2] - turn[:, 1] * m[1, 2]
    x, y = np.arange(width), np.arange(height)[:, None]
    place = [
        (
            np.rint((turn[i, 1] * y + shift[i]) * 1024).astype(int)
            + 16
            + np.rint(turn[i, 0] * x * 1024).astype(int)
        )
        >> 5
        for i in range(2)
    ]
    (left, top), (right, down) = (p >> 5 for p in place), ((p & 31)[..., None] for p in place)

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        inside = (row >= 0) & (row < len(image)) & (column >= 0) & (column < image.shape[1])
        found = image[row.clip(0, len(image) - 1), column.clip(0, image.shape[1] - 1)].astype(int)
        return np.where(inside[..., None], found, 0)

    upper = at(top, left) * (32 - right) + at(top, left + 1) * right
    lower = at(top + 1, left) * (32 - right) + at(top + 1, left + 1) * right
    return np.asarray((upper * (32 - down) + lower * down + 512) >> 10, np.uint8)


@pytest.mark.parametrize("people", [0, 1, 5])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_as_opencv_here(gpu: Gpu, people: int, color: Literal["rgb", "bgr"]) -> None:
    spec = CropInput(64, 48, SPEC.mean, SPEC.std, color)
    affines = crop_affines(BOXES[:people], (48, 64))
    got = gpu.download(GpuCropper(gpu, spec, 5)(gpu.upload(picture()), gpu.upload(affines)))
    expected = crops(picture(), affines, spec)
    if opencv_is_fixed_point():
        np.testing.assert_array_equal(got, expected)
        return
    apart = np.abs(np.rint(levels(got, spec)) - np.rint(levels(expected, spec)))  # it fuses sums as it likes
    assert apart.max(initial=0) <= 1
    assert (apart > 0).mean() < 1e-3 if people else got.shape == (0, 3, 64, 48)


@pytest.mark.parametrize("size", [(48, 64), (1, 1), (33, 9), (31, 70)], ids=str)
def test_as_older_opencvs(gpu: Gpu, size: tuple[int, int], order: str) -> None:
    width, height = size
    spec = CropInput(height, width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr")
    affines = np.concatenate([crop_affines(BOXES, size), TURNED])
    got = gpu.download(GpuCropper(gpu, spec, 9, fixed_point=True)(gpu.upload(picture()), gpu.upload(affines)))
    for crop, affine in zip(got, affines, strict=True):
        expected = older_opencv(picture(), affine, width, height)
        np.testing.assert_array_equal(crop.transpose(1, 2, 0), expected)


def test_normalised_as_the_specification(gpu: Gpu) -> None:
    affines = crop_affines(BOXES, (48, 64))
    got = gpu.download(GpuCropper(gpu, SPEC, 5, fixed_point=True)(gpu.upload(picture()), gpu.upload(affines)))
    mean, std = (np.array(v, np.float32) for v in (SPEC.mean, SPEC.std))
    for crop, affine in zip(got, affines, strict=True):
        rgb = older_opencv(picture(), affine, 48, 64)[..., ::-1].astype(np.float32)
        np.testing.assert_array_equal(crop.transpose(1, 2, 0), (rgb - mean) / std)


@pytest.mark.parametrize("fixed_point", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("size", [(2, 2), (120, 160), (94, 62)], ids=str)
def test_nv12(gpu: Gpu, size: tuple[int, int], dtype: type[np.floating], fixed_point: bool) -> None:
    """The crops of what OpenCV makes of it."""
    height, width = size
    nv12 = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    bgr = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8)
    affines = gpu.upload(crop_affines(BOXES, (48, 64)))
    got, expected = (
        gpu.download(GpuCropper(gpu, SPEC, 5, dtype, fixed_point=fixed_point)(gpu.upload(image), affines))
        for image in (nv12, bgr)
    )
    np.testing.assert_array_equal(got, expected)


def test_what_is_no_picture(gpu: Gpu) -> None:
    affines = gpu.upload(crop_affines(BOXES, (48, 64)))
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((6, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError, match=r"it must be uint8 \(height, width, 3\), or NV12"):
            GpuCropper(gpu, SPEC, 5)(gpu.upload(wrong), affines)


def test_half(gpu: Gpu) -> None:
    affines, image = gpu.upload(crop_affines(BOXES, (48, 64))), gpu.upload(picture())
    full = gpu.download(GpuCropper(gpu, SPEC, 5)(image, affines))
    half = gpu.download(GpuCropper(gpu, SPEC, 5, np.float16)(image, affines))
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_affines_of_another_type(gpu: Gpu) -> None:
    with pytest.raises(ValueError, match="float32; expected float64"):
        GpuCropper(gpu, SPEC, 5)(gpu.upload(picture()), gpu.empty((1, 2, 3), np.float32))
