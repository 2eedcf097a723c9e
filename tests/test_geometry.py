"""Letterbox and preprocessing against an independent, slow reading of their definitions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.runtime.geometry import Letterbox, Pixels, Preprocessor, letterbox, preprocess
from wholebody.runtime.people import Floats
from wholebody.runtime.spec import InputSpec

SPEC = InputSpec(48, 64, 48, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def bilinear(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Half-pixel centres, no antialias, borders repeated; in float64, one axis after the other."""
    for axis, count in enumerate(size):
        n = plane.shape[axis]
        at = np.clip((np.arange(count) + 0.5) * n / count - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        plane = plane.take(low, axis) * (1 - share) + plane.take(np.minimum(low + 1, n - 1), axis) * share
    return plane


def slow_preprocess(image: Pixels, size: tuple[int, int], spec: InputSpec) -> np.ndarray:
    out = np.zeros((1, 3, spec.height, spec.width))
    for c, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        plane = (image[..., 2 - c].astype(np.float64) / 255 - mean) / std
        out[0, c, : size[0], : size[1]] = bilinear(plane, size)
    return out


def tolerance(height: int, width: int) -> float:
    """OpenCV counts source pixels in float32, so weights are off by its step, times black to white."""
    return 2e-6 + 4.5 * 2.0**-23 * max(height, width)


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((48, 64), (48, 64)),
        ((96, 128), (48, 64)),
        ((24, 32), (48, 64)),
        ((100, 64), (48, 30)),  # the input is too low: 48 / 100
        ((10, 1000), (1, 64)),  # 0.64 rounded down would be no row at all
        ((1000, 1), (48, 1)),
        ((1, 1), (48, 48)),
    ],
)
def test_letterbox_sizes(source: tuple[int, int], size: tuple[int, int]) -> None:
    assert letterbox(source, SPEC).size == size


def test_the_published_sizes_of_a_wide_picture() -> None:
    spec = replace(SPEC, height=800, width=1344, min_size=800, max_size=1333)
    assert letterbox((720, 1280), spec).size == (749, 1333)
    assert letterbox((480, 640), spec).size == (800, 1066)


def test_the_floor_is_taken_of_the_exact_product() -> None:
    assert int(47 * (384 / 47)) == 383  # what binary fractions make of it
    spec = replace(SPEC, height=384, width=384, min_size=384, max_size=384)
    assert letterbox((47, 47), spec).size == (384, 384)


@pytest.mark.parametrize("source", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(source: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        letterbox(source, SPEC)


sides = st.integers(1, 5000)
network_sides = st.integers(16, 1400)


@given(sides, sides, network_sides, network_sides, network_sides, network_sides)
def test_letterbox_fits_and_goes_back(
    h: int, w: int, height: int, width: int, min_size: int, max_size: int
) -> None:
    spec = InputSpec(height, width, min_size, max_size, SPEC.mean, SPEC.std)
    box = letterbox((h, w), spec)
    assert 1 <= box.size[0] <= height
    assert 1 <= box.size[1] <= width
    assert max(box.size) <= max_size
    assert min(box.size) <= min_size
    scale = min(min_size / min(h, w), max_size / max(h, w), height / h, width / w)
    assert max(abs(box.size[0] - h * scale), abs(box.size[1] - w * scale)) <= 1 + 1e-6
    sx, sy = box.to_source
    assert (box.size[1] * sx, box.size[0] * sy) == pytest.approx((w, h))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 80), st.integers(8, 80), st.integers(8, 80))
def test_preprocess_is_the_definition(h: int, w: int, height: int, width: int, min_size: int) -> None:
    spec = InputSpec(height, width, min_size, max(height, width), SPEC.mean, SPEC.std)
    image, box = picture(h, w), letterbox((h, w), spec)
    got = preprocess(image, box, spec)
    assert got.shape == (1, 3, height, width)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slow_preprocess(image, box.size, spec), rtol=0, atol=tolerance(h, w))


@pytest.mark.parametrize("source", [(48, 64), (40, 64), (90, 120), (97, 64), (1080, 1440), (6, 9)])
def test_preprocess_at_the_sizes_that_take_other_ways(source: tuple[int, int]) -> None:
    image, box = picture(*source), letterbox(source, SPEC)
    expected = slow_preprocess(image, box.size, SPEC)
    atol = 1e-6 if source == box.size else tolerance(*source)
    np.testing.assert_allclose(preprocess(image, box, SPEC), expected, rtol=0, atol=atol)


def test_a_preprocessor_remembers_nothing_of_the_last_picture() -> None:
    preprocessor = Preprocessor(SPEC)
    for i, source in enumerate([(48, 64), (100, 64), (200, 64), (100, 64), (48, 64), (20, 64), (1080, 1440)]):
        image, box = picture(*source, seed=i), letterbox(source, SPEC)
        assert _same(preprocessor(image, box), preprocess(image, box, SPEC))


def test_each_thread_has_its_own_buffers() -> None:
    preprocessor = Preprocessor(SPEC)
    box = letterbox((90, 120), SPEC)
    mine = preprocessor(picture(90, 120), box)
    before = mine.copy()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(preprocessor, picture(90, 120, seed=1), box).result()
    assert _same(mine, before)


def test_padding_is_zero_right_and_below() -> None:
    got = preprocess(picture(100, 64), Letterbox((100, 64), (48, 30)), SPEC)
    assert not got[..., 30:].any()
    assert got[..., :30].all()


def test_channels_become_red_green_blue() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 2] = 255  # red, in OpenCV's order
    red, green, blue = preprocess(image, letterbox((48, 64), SPEC), SPEC)[0, :, 0, 0]
    assert (red, green, blue) == pytest.approx(((1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225))


@pytest.mark.parametrize("view", ["cropped", "mirrored", "read-only"])
def test_views_are_pictures_too(view: str) -> None:
    whole = picture(80, 90)
    image = {
        "cropped": whole[5:53, 7:71],
        "mirrored": whole[:48, 63::-1],
        "read-only": whole[:48, :64].copy(),
    }[view]
    image.flags.writeable = view != "read-only"
    box = letterbox((48, 64), SPEC)
    assert _same(preprocess(image, box, SPEC), preprocess(np.array(image), box, SPEC))


def test_the_picture_is_left_alone() -> None:
    image = picture(200, 300)
    before = image.copy()
    preprocess(image, letterbox((200, 300), SPEC), SPEC)
    assert (image == before).all()


def _same(a: Floats, b: Floats) -> bool:
    return bool((a == b).all())
