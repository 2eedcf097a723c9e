"""Which (box, class) pairs are chosen, and what comes with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.kernels.proposals import JOINTS, PARTS, Candidates, Detections, Part
from wholebody.runtime.kernels.proposals import select_best_class as best_class
from wholebody.runtime.kernels.proposals import select_candidates as select

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def network(n: int, k: int, j: int = 13, seed: int = 0, dtype: str = "float32") -> Arrays:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(k + 1), n).reshape(n, k + 1)
    shapes = ((n, 4), (n, k, j, 2), (n, k, j, 3))
    return (scores.astype(dtype), *(rng.random(shape).astype(dtype) for shape in shapes))  # type: ignore[return-value]


def check(got: Candidates, chosen: list[tuple[int, int]], arrays: Arrays) -> None:
    scores, boxes, pose2d, pose3d = arrays
    assert len(got) == len(chosen)
    assert got.score.dtype == got.box.dtype == got.pose2d.dtype == got.pose3d.dtype == np.float32
    assert got.label.dtype == np.int64
    for i, (box, label) in enumerate(chosen):
        assert (got.score[i], got.label[i]) == (scores[box, label + 1], label)
        np.testing.assert_array_equal(got.box[i], boxes[box])
        np.testing.assert_array_equal(got.pose2d[i], pose2d[box, label])
        np.testing.assert_array_equal(got.pose3d[i], pose3d[box, label])


@given(n=st.integers(0, 12), k=st.integers(1, 6), seed=st.integers(0, 1000), half=st.booleans())
def test_every_pair_over_the_threshold_in_box_major_order(n: int, k: int, seed: int, half: bool) -> None:
    arrays = network(n, k, seed=seed, dtype="float16" if half else "float32")
    pairs = [(box, label) for box in range(n) for label in range(k)]
    over = [(box, label) for box, label in pairs if arrays[0][box, label + 1] >= np.float32(0.2)]
    check(select(*arrays, 0.2), over, arrays)


@given(n=st.integers(0, 12), k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_best_class_of_each_box(n: int, k: int, seed: int) -> None:
    arrays = network(n, k, seed=seed)
    best = [(box, int(arrays[0][box, 1:].argmax())) for box in range(n)]
    check(best_class(*arrays), [(b, c) for b, c in best if arrays[0][b, c + 1] >= np.float32(0.3)], arrays)


def test_default_threshold_is_a_tenth_of_an_even_share_and_included() -> None:
    arrays = network(1, 10)
    arrays[0][0, 1:] = [0.01, 0.0099, 0.5, 0, 0, 0, 0, 0, 0, 0.0101]
    assert select(*arrays).label.tolist() == [0, 2, 9]


def test_background_is_no_class() -> None:
    arrays = network(2, 3)
    arrays[0][:] = [1, 0, 0, 0]
    assert len(select(*arrays)) == 0
    assert len(best_class(*arrays)) == 0


def test_only_the_chosen_poses_are_read() -> None:
    """Poses that nobody chose may be anything, and the network's arrays stay as they were."""
    arrays = network(3, 2)
    arrays[0][:] = [[0.8, 0.2, 0], [1, 0, 0], [0.4, 0, 0.6]]
    chosen = np.array([[True, False], [False, False], [False, True]])
    arrays[2][~chosen] = arrays[3][~chosen] = np.nan
    before = [a.copy() for a in arrays]
    got = select(*arrays, 0.1)
    assert got.label.tolist() == [0, 1]
    assert np.isfinite(got.pose2d).all()
    got.pose2d[:] = 0
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scaling_touches_pixels_only() -> None:
    candidates = select(*network(4, 3))
    got = candidates.scaled(2, 0.5)
    np.testing.assert_allclose(got.box, candidates.box * [2, 0.5, 2, 0.5])
    np.testing.assert_allclose(got.pose2d, candidates.pose2d * [2, 0.5])
    np.testing.assert_array_equal(got.pose3d, candidates.pose3d)
    assert got.box.dtype == got.pose2d.dtype == np.float32


@pytest.mark.parametrize("part", PARTS)
def test_empty_detections(part: Part) -> None:
    none = Detections.empty(part)
    assert len(none) == 0
    assert none.pose3d.shape == (0, JOINTS[part], 3)
    assert (none.is_right is not None) == (part == "hand")
