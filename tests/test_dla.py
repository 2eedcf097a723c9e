"""Quantized graphs as an old compiler for DLA takes them: floats and ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from wholebody.export.dla import without_qdq
from wholebody.runtime.errors import ArtefactError

WEIGHTS = np.random.default_rng(0).integers(-127, 127, (4, 3, 3, 3)).astype(np.int8)


def graph(*, folded: bool = True, step: Any = 0.05, zero: int = 0) -> bytes:
    """Q/DQ pairs of an activation, of weights (in bytes, or quantized in the graph) and of an answer."""
    steps = np.linspace(0.01, 0.04, 4).astype(np.float32)
    floats = (WEIGHTS * steps[:, None, None, None]).astype(np.float32)
    arrays: dict[str, Any] = {
        "step": np.asarray(step, np.float32), "zero": np.full(np.shape(step), zero, np.int8), "steps": steps,
        "zeros": np.zeros(4, np.int8), "out_step": np.float32(2.0), "out_zero": np.int8(0),
        **({"w8": WEIGHTS} if folded else {"wf": floats}),
    }  # fmt: skip
    quantize = [helper.make_node("QuantizeLinear", ["wf", "steps", "zeros"], ["w8"], axis=0)]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x8"], axis=1),
        helper.make_node("DequantizeLinear", ["x8", "step", "zero"], ["xq"], axis=1),
        *([] if folded else quantize),
        helper.make_node("DequantizeLinear", ["w8", "steps", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["xq", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "out_step", "out_zero"], ["r8"]),
        helper.make_node("DequantizeLinear", ["r8", "out_step", "out_zero"], ["rq"]),
        helper.make_node("Add", ["rq", "rq"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def run(data: bytes, x: Any) -> Any:
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("folded", [True, False])
def test_floats_and_ranges(folded: bool) -> None:
    data, ranges = without_qdq(graph(folded=folded))
    assert ranges == {"x": pytest.approx(127 * 0.05), "r": pytest.approx(127 * 2.0)}
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Add"]
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    x = np.rint(x / 0.05).clip(-128, 127).astype(np.float32) * np.float32(
        0.05
    )  # what the pair leaves as it is
    np.testing.assert_allclose(
        run(data, x), run(graph(folded=folded), x), atol=2.1
    )  # a step of the last pair


def test_what_a_dla_cannot_do() -> None:
    with pytest.raises(ArtefactError, match="zero point that is not 0"):
        without_qdq(graph(zero=3))
    with pytest.raises(ArtefactError, match="channel by channel; a DLA needs one number"):
        without_qdq(graph(step=[0.1, 0.2, 0.3]))
