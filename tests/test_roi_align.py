"""RoIAlign against a sample-by-sample reading of its definition, and against ONNX Runtime's operator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from wholebody.export.onnx_graph import to_onnx
from wholebody.export.students import roi_align as module
from wholebody.export.students.roi_align import pool, roi_align

HEIGHT, WIDTH, STRIDE = 5, 7, 16


def slow_roi_align(
    features: np.ndarray, box: np.ndarray, bins: int, samples: int, scale: float
) -> np.ndarray:
    """One box of (C, h, w) features, in float64."""
    x0, y0, x1, y1 = (float(v) * scale for v in box)
    bin_w, bin_h = max(x1 - x0, 1.0) / bins, max(y1 - y0, 1.0) / bins
    out = np.zeros((len(features), bins, bins))
    for i, j, k, m in np.ndindex(bins, bins, samples, samples):
        y, x = y0 + bin_h * (i + (k + 0.5) / samples), x0 + bin_w * (j + (m + 0.5) / samples)
        out[:, i, j] += slow_sample(features, y, x) / samples**2
    return out


def slow_sample(features: np.ndarray, y: float, x: float) -> np.ndarray:
    _, height, width = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(features))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = features[:, top, left] * (1 - dx) + features[:, top, right] * dx
    lower = features[:, bottom, left] * (1 - dx) + features[:, bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def random_case(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Features, and boxes inside, across and outside the borders, some without an inside."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    corner = rng.uniform(-40, 130, (count, 2))
    boxes = np.hstack(
        [corner, corner + rng.choice([0.0, 5.0, 90.0], (count, 2)) * rng.uniform(0, 1, (count, 2))]
    )
    return torch.from_numpy(features), torch.from_numpy(boxes.astype(np.float32))


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 4), st.integers(1, 3))
def test_equals_sampling_one_by_one(seed: int, count: int, bins: int, samples: int) -> None:
    features, boxes = random_case(seed, count)
    got = roi_align(features.double(), boxes.double(), bins, samples, 1 / STRIDE)
    expected = [
        slow_roi_align(features[0].double().numpy(), box.numpy(), bins, samples, 1 / STRIDE) for box in boxes
    ]
    assert got.shape == (count, 3, bins, bins)
    for region, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(region.numpy(), other, atol=1e-9)


def test_a_constant_map_stays_constant() -> None:
    boxes = torch.tensor([[0.0, 0, 80, 60], [30.3, 20.2, 31, 21]])
    torch.testing.assert_close(
        roi_align(torch.full((1, 2, 5, 7), 3.0), boxes, 7, 2, 1 / STRIDE), torch.full((2, 2, 7, 7), 3.0)
    )


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features, boxes = random_case(0, 7)
    whole = roi_align(features, boxes, 3, 2, 1 / STRIDE)
    monkeypatch.setattr(module, "CHUNK", 3)
    torch.testing.assert_close(roi_align(features, boxes, 3, 2, 1 / STRIDE), whole)


def test_gradients_reach_the_features() -> None:
    features, boxes = random_case(1, 4)
    features = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: pool(f, boxes.double(), 2, 2, 1 / STRIDE), (features,))


def test_is_a_well_formed_operator() -> None:
    torch.library.opcheck(torch.ops.wholebody.roi_align.default, (*random_case(2, 3), 2, 2, 1 / STRIDE))
    torch.library.opcheck(torch.ops.wholebody.roi_align.default, (*random_case(2, 0), 2, 2, 1 / STRIDE))


class Pooling(nn.Module):
    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        return roi_align(features, boxes, 7, 2, 1 / STRIDE)


@pytest.fixture(scope="module")
def pooling_in_onnx() -> Any:
    features, boxes = random_case(0, 6)
    model = to_onnx(Pooling().eval(), {"features": features, "boxes": boxes}, ["regions"])
    assert [node.op_type for node in model.graph.node] == ["RoiAlign"]
    return ort.InferenceSession(model.SerializeToString())


@given(seed=st.integers(0, 2**32 - 1))
def test_exported_operator_equals_pytorch(pooling_in_onnx: Any, seed: int) -> None:
    features, boxes = random_case(seed, 6)
    (got,) = pooling_in_onnx.run(None, {"features": features.numpy(), "boxes": boxes.numpy()})
    np.testing.assert_allclose(np.asarray(got), Pooling()(features, boxes).numpy(), atol=2e-5)
