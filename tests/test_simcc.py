"""SimCC: golden cases, the plain implementation, and RTMW3D's third axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.top_down_stages import plain_decode
from wholebody.runtime.kernels.simcc import decode_depth, decode_simcc
from wholebody.runtime.spec import DepthSpec

RTMW3D = DepthSpec(576, 2.1744869)
HEIGHT = 384  # of RTMW3D's crop


def one_hot(bins: list[int], size: int, value: float = 1.0) -> np.ndarray:
    """(1, K, size)"""
    return (np.arange(size) == np.array(bins)[:, None]).astype(np.float32)[None] * np.float32(value)


def test_nobody() -> None:
    keypoints, scores = decode_simcc(np.zeros((0, 133, 384), "f4"), np.zeros((0, 133, 512), "f4"), 2.0)
    assert (keypoints.shape, scores.shape) == ((0, 133, 2), (0, 133))
    assert decode_depth(np.zeros((0, 133, 576), "f4"), RTMW3D).shape == (0, 133)


@pytest.mark.parametrize("name", ["rtmpose_t_256x192", "rtmpose_s_256x192"])
def test_golden(shared: Path, name: str) -> None:
    case = np.load(shared / "golden" / "rtmpose" / f"{name}.npz")
    keypoints, scores = decode_simcc(case["simcc_x"], case["simcc_y"], 2.0)
    np.testing.assert_allclose(keypoints, case["keypoints_input"], atol=0.01)
    np.testing.assert_allclose(scores, case["keypoint_scores"], atol=1e-6)


def test_best_bin_over_split_and_the_lesser_logit_as_it_is() -> None:
    keypoints, scores = decode_simcc(one_hot([0, 383, 7], 384, 3.5), one_hot([511, 0, 9], 512, 1.25), 2.0)
    np.testing.assert_array_equal(keypoints[0], [(0, 255.5), (191.5, 0), (3.5, 4.5)])
    np.testing.assert_array_equal(scores[0], [1.25, 1.25, 1.25])
    assert (keypoints.dtype, scores.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("worst", [0.0, -1.0, np.nan])
def test_a_keypoint_without_a_positive_peak_on_both_axes_is_unseen(worst: float) -> None:
    seen, unseen = one_hot([3, 5], 8), np.stack([one_hot([3], 8)[0, 0], np.full(8, worst, "f4")])[None]
    for simcc_x, simcc_y in ((seen, unseen), (unseen, seen)):
        keypoints, scores = decode_simcc(simcc_x, simcc_y, 2.0)
        assert np.isfinite(keypoints[0, 0]).all()
        assert np.isnan(keypoints[0, 1]).all()
        np.testing.assert_array_equal(scores[0] > 0, [True, False])
        assert scores[0, 1] == 0


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    split=st.sampled_from([1.0, 2.0, 3.0]),
    dtype=st.sampled_from(["f2", "f4"]),
)
def test_the_plain_implementation_gives_the_same(
    seed: int, shape: tuple[int, int, int, int], split: float, dtype: str
) -> None:
    """Logits are small whole numbers: ties and peaks of zero are frequent."""
    rng = np.random.default_rng(seed)
    n, k, width, height = shape
    simcc_x, simcc_y = (rng.integers(-3, 4, (n, k, size)).astype(dtype) for size in (width, height))
    expected = plain_decode(simcc_x, simcc_y, split)
    for got, wanted in zip(decode_simcc(simcc_x, simcc_y, split), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.float32


def test_the_inputs_stay_as_they_are() -> None:
    simcc_x, simcc_y = one_hot([3], 8, -1.0), one_hot([4], 8)
    before = simcc_x.copy(), simcc_y.copy()
    decode_simcc(simcc_x, simcc_y, 2.0)
    np.testing.assert_array_equal((simcc_x, simcc_y), before)


# --- the third axis ---


def test_the_middle_bin_is_at_the_hips_and_the_first_one_range_in_front() -> None:
    depth = decode_depth(one_hot([0, 144, 288, 432, 575], 576), RTMW3D)[0]
    np.testing.assert_allclose(depth[:4] / RTMW3D.range, [-1, -0.5, 0, 0.5], atol=1e-6)
    assert depth[4] < RTMW3D.range
    assert depth.dtype == np.float32


@given(metres=st.floats(-2.1, 2.1))
def test_what_training_encodes_is_decoded_to_half_a_bin(metres: float) -> None:
    """Training puts z at (z / range + 1) * 288 / 2 of a volume 288 deep, two bins a step."""
    target = round((metres / RTMW3D.range + 1) * 288 / 2 * 2)
    depth = decode_depth(one_hot([target], 576), RTMW3D)[0, 0]
    assert abs(depth - metres) <= RTMW3D.range / 288 / 2 + 1e-5


def test_a_popular_port_flattens_people_and_moves_them_to_the_camera() -> None:
    """It takes half of the crop's height, 192, for half of the volume's depth, 144."""
    bins = np.arange(576)
    ours = decode_depth(one_hot(bins.tolist(), 576), RTMW3D)[0]
    port = (bins / 2 / (HEIGHT / 2) - 1) * RTMW3D.range
    np.testing.assert_allclose(port, 0.75 * ours - 0.25 * RTMW3D.range, atol=1e-5)
    assert port[288] == pytest.approx(-0.5436, abs=1e-4)  # the hips themselves, which lie at 0
    assert np.ptp(port) == pytest.approx(0.75 * np.ptp(ours), rel=1e-5)
