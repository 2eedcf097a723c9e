"""What detectors answer, decoded: boxes that were encoded come back, and nothing that is not finite does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wholebody.runtime.kernels.detections import decode_rtmdet, decode_yolox, unpack_suppressed
from wholebody.runtime.people import Floats

SIZE = 96, 160  # height, width
STRIDES = 8, 16, 32
GRIDS = [(SIZE[0] // stride, SIZE[1] // stride) for stride in STRIDES]
ANCHORS = sum(rows * columns for rows, columns in GRIDS)

# A stride, a cell of its grid as fractions, and a box around that cell.
cells = st.tuples(st.sampled_from(STRIDES), st.floats(0, 0.999), st.floats(0, 0.999))
sides = st.tuples(*[st.floats(1, 200, width=32)] * 4)


def empty_maps(classes: int = 1) -> list[Floats]:
    maps = [np.zeros((*grid, classes + 4), np.float32) for grid in GRIDS]
    for level in maps:
        level[..., :classes] = -20
    return maps


def empty_anchors(classes: int = 1) -> Floats:
    return np.zeros((ANCHORS, 5 + classes), np.float32)


def place(stride: int, across: float, down: float) -> tuple[int, int, int]:
    """Index of the stride, row and column of a cell."""
    level = STRIDES.index(stride)
    rows, columns = GRIDS[level]
    return level, int(down * rows), int(across * columns)


def anchor_index(level: int, row: int, column: int) -> int:
    return sum(rows * columns for rows, columns in GRIDS[:level]) + row * GRIDS[level][1] + column


@given(cells, sides, st.permutations(range(3)))
def test_rtmdet_finds_the_box_around_a_cell_in_any_order_of_maps(
    cell: tuple[int, float, float], sides: tuple[float, ...], order: list[int]
) -> None:
    maps = empty_maps()
    level, row, column = place(*cell)
    maps[level][row, column] = 0, *sides
    boxes, score = decode_rtmdet([maps[i] for i in order], SIZE, min_score=0.3)
    x, y, (left, top, right, bottom) = column * cell[0], row * cell[0], sides
    np.testing.assert_allclose(boxes, [[x - left, y - top, x + right, y + bottom]], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(score, [0.5])
    assert boxes.dtype == score.dtype == np.float32


@given(cells, st.tuples(*[st.floats(-1, 1, width=32)] * 2), st.tuples(*[st.floats(-2, 2, width=32)] * 2))
def test_yolox_finds_the_box_of_a_cell(
    cell: tuple[int, float, float], offset: tuple[float, float], size: tuple[float, float]
) -> None:
    anchors = empty_anchors()
    level, row, column = place(*cell)
    anchors[anchor_index(level, row, column)] = *offset, *size, 0.8, 0.5
    boxes, score = decode_yolox(anchors, SIZE, min_score=0.3)
    stride = cell[0]
    centre = np.array([column + offset[0], row + offset[1]]) * stride
    half = np.exp(size) * stride / 2
    np.testing.assert_allclose(boxes, [[*(centre - half), *(centre + half)]], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(score, [0.4], rtol=1e-6)
    assert boxes.dtype == score.dtype == np.float32


def test_a_cell_begins_at_its_corner() -> None:
    maps = empty_maps()
    maps[2][1, 2] = 4, 0, 0, 32, 32
    boxes, _ = decode_rtmdet(maps, SIZE, min_score=0.5)
    assert boxes.tolist() == [[64, 32, 96, 64]]
    anchors = empty_anchors()
    anchors[anchor_index(2, 1, 2)] = 0.5, 0.5, 0, 0, 1, 1
    boxes, _ = decode_yolox(anchors, SIZE, min_score=0.5)
    assert boxes.tolist() == [[64, 32, 96, 64]]


def test_the_class_of_people_counts_alone() -> None:
    maps, anchors = empty_maps(3), empty_anchors(3)
    maps[0][0, 0, :3] = 2, -9, 9
    anchors[7] = 0, 0, 0, 0, 1, 0.4, 0.05, 0.9
    for person, expected in ((0, 1), (1, 0), (2, 1)):
        assert len(decode_rtmdet(maps, SIZE, person=person, min_score=0.3)[1]) == expected
        assert len(decode_yolox(anchors, SIZE, person=person, min_score=0.3)[1]) == expected
    _, score = decode_yolox(anchors, SIZE, person=2, min_score=0.3)
    np.testing.assert_allclose(score, [0.9], rtol=1e-6)


def test_suppressed_boxes_of_people() -> None:
    dets = np.array([[0, 0, 4, 4, 0.9], [1, 1, 5, 5, 0.8], [2, 2, 6, 6, 0.2]], np.float32)
    labels = np.array([0, 1, 0])
    boxes, score = unpack_suppressed(dets, labels, min_score=0.3)
    assert boxes.tolist() == [[0, 0, 4, 4]]
    np.testing.assert_allclose(score, [0.9])
    assert unpack_suppressed(dets, labels, person=1)[0].tolist() == [[1, 1, 5, 5]]
    assert len(unpack_suppressed(dets, None, min_score=0.3)[1]) == 2


Decode = Callable[[Floats], tuple[Floats, Floats]]
DECODERS: dict[str, tuple[tuple[int, ...], Decode]] = {
    "rtmdet": ((*GRIDS[0], 5), lambda a: decode_rtmdet([a, *empty_maps()[1:]], SIZE, min_score=0.3)),
    "yolox": ((ANCHORS, 6), lambda a: decode_yolox(a, SIZE, min_score=0.3)),
    "suppressed": ((40, 5), lambda a: unpack_suppressed(a, np.zeros(40, np.int64), min_score=0.3)),
}


@pytest.mark.parametrize("layout", DECODERS)
def test_nobody(layout: str) -> None:
    shape, decode = DECODERS[layout]
    nothing = np.zeros(shape, np.float32)
    nothing[..., 0] = -20
    for answer in (nothing, np.full(shape, np.nan, np.float32)):
        boxes, score = decode(answer)
        assert boxes.shape == (0, 4)
        assert score.shape == (0,)
        assert boxes.dtype == score.dtype == np.float32


def test_no_rows_at_all() -> None:
    boxes, score = unpack_suppressed(np.zeros((0, 5), np.float32), np.zeros(0, np.int64))
    assert (boxes.shape, score.shape) == ((0, 4), (0,))


@pytest.mark.parametrize("layout", DECODERS)
@given(data=st.data())
def test_what_is_not_finite_or_scores_too_little_is_left_out(layout: str, data: st.DataObject) -> None:
    shape, decode = DECODERS[layout]
    anything = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32), fill=st.just(1.0)))
    boxes, score = decode(anything)
    assert len(boxes) == len(score)
    assert np.isfinite(boxes).all()
    assert np.isfinite(score).all()
    assert (score >= np.float32(0.3)).all()
