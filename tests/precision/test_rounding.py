"""Rounding in PyTorch is that of a Q/DQ pair, to the bit; its gradients are those of its paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wholebody.export.precision.rounding import Rounding
from wholebody.export.precision.simulation import Simulated

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
X = np.random.default_rng(0).normal(scale=2, size=(3, 5, 7)).astype(np.float32)


def pair(x: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int) -> NDArray[Any]:
    """What ONNX Runtime makes of it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=axis),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    constants = [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(zero, "zero")]
    graph = helper.make_graph(nodes, "pair", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Simulated(model)(x)[0]


@pytest.mark.parametrize(
    ("kind", "scale", "zero", "axis"),
    [
        ("int8", 0.031, 0, 1),
        ("int8", 0.003, 0, 1),  # most is cut off
        ("uint8", 0.017, 101, 1),
        ("uint8", 0.25, 0, 1),  # many lie halfway
        ("int8", [0.01, 0.02, 0.03], [0, 0, 0], 0),
        ("int8", [0.01, 0.02, 0.03, 0.04, 0.05], [0, 0, 0, 0, 0], 1),
    ],
)
def test_as_a_pair(kind: str, scale: Any, zero: Any, axis: int) -> None:
    x = (np.round(X * 8) / 8).astype(np.float32) if scale == 0.25 else X
    scales, zeros = np.array(scale, np.float32), np.array(zero, kind)
    rounding = Rounding(*LIMITS[kind], axis)
    tensors = (torch.from_numpy(np.asarray(array)) for array in (x, scales, zeros))
    np.testing.assert_allclose(rounding(*tensors).numpy(), pair(x, scales, zeros, axis), rtol=0, atol=1e-6)


def test_whole_numbers() -> None:
    scale, zero = torch.tensor([0.01, 0.02, 0.03, 0.04, 0.05]), torch.zeros(5, dtype=torch.int8)
    rounding, x = Rounding(-128, 127, 1), torch.from_numpy(X)
    numbers = rounding.whole_numbers(x, scale, zero)
    assert numbers.min() >= -128
    assert numbers.max() <= 127
    np.testing.assert_allclose(numbers * scale[:, None].numpy(), rounding(x, scale, zero).numpy(), atol=1e-6)


def test_gradients() -> None:
    """Inside, of x: 1, of the scale: how far rounding moved x, in steps. Outside: 0, and the limit."""
    x = torch.tensor([0.26, -0.74, 3.0, -3.0, 0.0], requires_grad=True)
    scale = torch.tensor(0.1, requires_grad=True)
    rounded = Rounding(0, 20)(x, scale, torch.tensor(10))
    assert rounded.tolist() == pytest.approx([0.3, -0.7, 1.0, -1.0, 0.0])
    weights = torch.tensor([1.0, 10, 100, 1000, 10000])
    (rounded * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.tolist() == [1.0, 10, 0, 0, 10000]
    assert float(scale.grad) == pytest.approx(0.4 + 10 * 0.4 + 100 * 10 - 1000 * 10, rel=1e-4)


def test_scales_of_channels_may_hang_on_what_learns() -> None:
    """As those of a bias do on its input's; they are taken as they are."""
    x = torch.from_numpy(X).requires_grad_()
    scale = torch.full((5,), 0.02, requires_grad=True)
    Rounding(-128, 127, 1)(x, scale * 2, torch.zeros(5)).sum().backward()
    assert x.grad is not None
    assert scale.grad is None
