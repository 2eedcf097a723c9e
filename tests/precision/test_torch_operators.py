"""Each operator in PyTorch does what ONNX Runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.simulation import Simulated
from wholebody.export.precision.torch_operators import compute
from wholebody.runtime.errors import ArtefactError

RNG = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*values: int) -> NDArray[np.int64]:
    return np.array(values)


X = floats(2, 4, 6, 8)
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Add", [X, floats(4, 1, 1)], {}),
    ("Sub", [X, floats(4, 1, 1)], {}),
    ("Mul", [X, floats(8)], {}),
    ("Div", [X, floats(4, 1, 1)], {}),
    ("Pow", [np.abs(X), np.array(2.0, np.float32)], {}),
    ("Sqrt", [np.abs(X)], {}),
    ("Erf", [X], {}),
    ("MatMul", [X, floats(8, 3)], {}),
    ("Relu", [X], {}),
    ("Sigmoid", [X], {}),
    ("Identity", [X], {}),
    ("Expand", [floats(2, 1, 8), whole(1, 6, 1)], {}),
    ("GlobalAveragePool", [X], {}),
    ("Reshape", [X, whole(0, -1, 8)], {}),
    ("Slice", [X, whole(1, 0), whole(2**40, -1), whole(2, 3), whole(2, 1)], {}),
    ("Slice", [X, whole(1), whole(2)], {}),
    ("Squeeze", [floats(1, 3, 1), whole(0, 2)], {}),
    ("AveragePool", [X], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Clip", [X, np.array(-0.5, np.float32), np.array(0.5, np.float32)], {}),
    ("Clip", [X, None, np.array(0.5, np.float32)], {}),
    ("Concat", [X, X], {"axis": 1}),
    ("Conv", [X, floats(5, 4, 3, 3), floats(5)], {"pads": [1, 0, 1, 2], "strides": [2, 2]}),
    ("Conv", [X, floats(4, 2, 3, 3)], {"group": 2, "dilations": [2, 2]}),
    ("ConvTranspose", [X, floats(4, 3, 4, 4)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Flatten", [X], {}),
    ("Gemm", [floats(3, 4), floats(5, 4), floats(5)], {"transB": 1, "alpha": 0.5}),
    ("Gemm", [floats(4, 3), floats(4, 5)], {"transA": 1}),
    ("HardSigmoid", [X], {"alpha": 1 / 6, "beta": 0.4}),
    ("LeakyRelu", [X], {"alpha": 0.1}),
    ("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("QuickGelu", [X], {"alpha": 1.0}),
    ("ReduceL2", [X], {"axes": [-1], "keepdims": 1}),
    ("ReduceMean", [X], {"axes": [2, 3], "keepdims": 0}),
    ("Resize", [X, None, np.array([1, 1, 2, 2], np.float32)], NEAREST),
    ("Resize", [X, None, None, whole(2, 4, 12, 24)], {"mode": "nearest"}),
    ("Softmax", [X], {"axis": 1}),
    ("Split", [X, whole(3, 5)], {"axis": 3}),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}),
    (
        "RoiAlign",
        [X[:1], np.array([[3, 5, 40, 30], [-8, 0, 20, 90]], np.float32), whole(0, 0)],
        {"coordinate_transformation_mode": "output_half_pixel", "output_height": 7, "output_width": 7,
         "sampling_ratio": 2, "spatial_scale": 0.125},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES)
def test_as_onnxruntime(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
    outputs = ["y0", "y1"] if operator == "Split" else ["y0"]
    domain = "com.microsoft" if operator == "QuickGelu" else ""
    node = helper.make_node(operator, names, outputs, domain=domain, **attributes)
    answers = compute(node)(*(None if array is None else torch.from_numpy(array) for array in inputs))
    expected = onnxruntime_answers(node, dict(zip(names, inputs, strict=True)))
    answers = answers if isinstance(answers, tuple) else (answers,)
    for ours, theirs in zip(answers, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-5, atol=2e-6)


def onnxruntime_answers(node: NodeProto, inputs: dict[str, Any]) -> tuple[NDArray[Any], ...]:
    first, *rest = (name for name in node.input if name)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(first, TensorProto.FLOAT, inputs[first].shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
        [numpy_helper.from_array(inputs[name], name) for name in rest],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return Simulated(helper.make_model(graph, opset_imports=opsets, ir_version=8))(inputs[first])


@pytest.mark.parametrize(
    ("operator", "attributes", "named"),
    [
        ("NonMaxSuppression", {}, "NonMaxSuppression"),
        ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
        ("Resize", {"mode": "linear"}, "mode"),
        ("RoiAlign", {"coordinate_transformation_mode": "half_pixel"}, "half pixels"),
    ],
)
def test_what_is_not_known_is_named(operator: str, attributes: dict[str, Any], named: str) -> None:
    with pytest.raises(ArtefactError, match=named):
        compute(helper.make_node(operator, ["x"], ["y"], "culprit", **attributes))
