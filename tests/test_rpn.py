"""Anchors, boxes, suppression and proposals against hand-computed values and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wholebody.export.onnx_graph import to_onnx
from wholebody.export.students.rpn import (
    MIN_BOX_SIDE,
    RegionProposals,
    anchor_grid,
    box_iou,
    decode_boxes,
    encode_boxes,
    propose,
    suppress,
)


def random_boxes(count: int, seed: int, extent: float = 60.0) -> Tensor:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, extent, (count, 2))
    return torch.from_numpy(
        np.hstack([corner, corner + rng.uniform(1, extent, (count, 2))]).astype(np.float32)
    )


# --- anchors --------------------------------------------------------------------------------------


def test_anchors_equal_those_computed_by_hand() -> None:
    anchors = anchor_grid((32,), (0.5, 1.0, 2.0), rows=2, columns=3, stride=16)
    # side 32: ratio 0.5 is 45.25 wide and 22.63 high; halves rounded to whole pixels.
    base = torch.tensor([[-23.0, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])
    assert torch.equal(anchors[:3], base)
    assert torch.equal(anchors[3:6], base + torch.tensor([16.0, 0, 16, 0]))  # along the row first
    assert torch.equal(anchors[-3:], base + torch.tensor([32.0, 16, 32, 16]))
    assert anchors.shape == (2 * 3 * 3, 4)


def test_anchors_vary_in_size_before_ratio() -> None:
    anchors = anchor_grid((32, 64), (1.0, 2.0), 1, 1, 16)
    assert (anchors[:, 2] - anchors[:, 0]).tolist() == [32, 64, 22, 46]


def test_network_outputs_lie_in_anchor_order() -> None:
    head = RegionProposals(channels=1, width=1, anchors_per_cell=3)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        head.conv.weight[0, 0, 1, 1] = 1  # passes the features on
        head.cls_logits.weight[2] = 1  # the third anchor sees them
        head.bbox_pred.weight[4 * 1 + 3] = 1  # the second anchor's fourth delta
    features = torch.zeros(1, 1, 4, 5)
    features[0, 0, 2, 3] = 7
    logits, deltas = head(features)
    cell = 2 * 5 + 3
    assert logits.nonzero().tolist() == [[0, cell * 3 + 2]]
    assert deltas.nonzero().tolist() == [[0, cell * 3 + 1, 3]]


# --- boxes ----------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_encode_and_decode_are_inverse(seed: int, count: int) -> None:
    boxes, anchors = random_boxes(count, seed), random_boxes(count, seed + 1)
    torch.testing.assert_close(
        decode_boxes(encode_boxes(boxes, anchors), anchors), boxes, atol=1e-3, rtol=1e-5
    )


def test_deltas_move_and_scale_the_anchor() -> None:
    anchor = torch.tensor([[10.0, 20, 30, 60]])
    assert decode_boxes(torch.zeros(1, 4), anchor).tolist() == anchor.tolist()
    assert decode_boxes(torch.tensor([[0.5, -0.25, 0, 0]]), anchor).tolist() == [[20, 10, 40, 50]]
    doubled = decode_boxes(torch.tensor([[0, 0, np.log(2), 0]], dtype=torch.float32), anchor)
    torch.testing.assert_close(doubled, torch.tensor([[0.0, 20, 40, 60]]))


def test_growth_is_limited() -> None:
    anchor = torch.tensor([[0.0, 0, 16, 16]])
    x0, _, x1, _ = decode_boxes(torch.tensor([[0, 0, 50.0, 0]]), anchor)[0].tolist()
    assert x1 - x0 == pytest.approx(1000, rel=1e-5)


def test_iou_of_empty_boxes_is_zero() -> None:
    empty, full = torch.zeros(1, 4), torch.tensor([[0.0, 0, 2, 2]])
    assert box_iou(empty, empty).item() == 0
    assert box_iou(empty, full).item() == 0
    assert box_iou(full, torch.tensor([[1.0, 0, 3, 2]])).item() == pytest.approx(1 / 3)
    assert box_iou(torch.zeros(0, 4), full).shape == (0, 1)


# --- suppression ----------------------------------------------------------------------------------


def slow_suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, count: int) -> list[int]:
    kept: list[int] = []
    for i in sorted(np.flatnonzero(scores > 0), key=lambda i: -scores[i]):
        if len(kept) < count and all(slow_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(int(i))
    return kept


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.sampled_from([0.3, 0.5, 0.7]), st.integers(1, 12))
def test_suppression_equals_a_plain_loop(seed: int, n: int, threshold: float, count: int) -> None:
    boxes = random_boxes(n, seed).double()
    scores = torch.from_numpy(np.random.default_rng(seed).permutation(n) - n / 4.0)
    index, real = suppress(boxes, scores, threshold, count)
    kept = slow_suppress(boxes.numpy(), scores.numpy(), threshold, count)
    assert index.tolist() == kept + [0] * (count - len(kept))
    assert real.tolist() == [True] * len(kept) + [False] * (count - len(kept))


class Suppression(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index, real = suppress(boxes, scores, 0.5, 12)
        return boxes.index_select(0, index) * real[:, None], index, real


@pytest.fixture(scope="module")
def suppression_in_onnx() -> Any:
    inputs = {"boxes": random_boxes(30, 0), "scores": torch.arange(30.0)}
    model = to_onnx(Suppression().eval(), inputs, ["kept", "index", "real"])
    assert "NonMaxSuppression" in [node.op_type for node in model.graph.node]
    return ort.InferenceSession(model.SerializeToString())


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), below=st.integers(0, 30))
def test_exported_suppression_equals_pytorch(suppression_in_onnx: Any, seed: int, below: int) -> None:
    boxes = random_boxes(30, seed)
    scores = torch.from_numpy(np.random.default_rng(seed).permutation(30).astype(np.float32)) - below + 0.5
    answer = suppression_in_onnx.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    for got, expected in zip(answer, Suppression()(boxes, scores), strict=True):
        np.testing.assert_array_equal(got, expected.numpy())


def test_exported_suppression_of_everything(suppression_in_onnx: Any) -> None:
    boxes, scores = random_boxes(30, 0).numpy(), -np.ones(30, np.float32)
    for output in suppression_in_onnx.run(None, {"boxes": boxes, "scores": scores}):
        assert len(output) == 12
        assert not output.any()


def test_suppression_is_a_well_formed_operator() -> None:
    torch.library.opcheck(suppress, (random_boxes(10, 0), torch.arange(10.0), 0.5, 4))
    torch.library.opcheck(suppress, (torch.zeros(0, 4), torch.zeros(0), 0.5, 4))


# --- proposals ------------------------------------------------------------------------------------


def proposals_of(boxes: Tensor, logits: Tensor, count: int = 4) -> tuple[Tensor, Tensor]:
    """Proposals of anchors that need no deltas, in a picture of 40 x 50."""
    return propose(logits, torch.zeros_like(boxes), boxes, torch.tensor([40.0, 50.0]), 3, count, 0.7)


def test_proposals_are_the_best_ones_clipped_and_filled_up() -> None:
    anchors = torch.tensor([[-5.0, 1, 9, 9], [20, 20, 30, 30], [40, 30, 90, 90], [0, 0, 5, 5]])
    boxes, real = proposals_of(anchors, torch.tensor([1.0, 3.0, 2.0, 0.5]))  # the fourth is no candidate
    assert boxes.tolist() == [[20, 20, 30, 30], [40, 30, 50, 40], [0, 1, 9, 9], [0, 0, 0, 0]]
    assert real.tolist() == [True, True, True, False]


def test_boxes_without_an_inside_are_no_proposals() -> None:
    thin = torch.tensor([[10.0, 10, 10 + MIN_BOX_SIDE / 4, 30], [60, 5, 80, 9], [3, 3, 9, 9]])
    boxes, real = proposals_of(thin, torch.tensor([9.0, 8.0, 7.0]))
    assert real.tolist() == [True, False, False, False]
    assert boxes[0].tolist() == [3, 3, 9, 9]


def test_no_proposal_at_all() -> None:
    boxes, real = proposals_of(torch.full((3, 4), 10.0), torch.zeros(3))
    assert not real.any()
    assert not boxes.any()


def test_saturated_logits_keep_their_order() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 40, 40]])
    boxes, real = proposals_of(anchors, torch.tensor([100.0, 101.0, 99.0]))  # sigmoid: all exactly 1
    assert boxes[:2].tolist() == [[0, 0, 10, 9], [20, 20, 40, 40]]
    assert real.tolist() == [True, True, False, False]
