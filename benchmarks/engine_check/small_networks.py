"""Networks of one layer, so that what fails in TensorRT is not the student's fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SMALL", "small_networks"]

SMALL = ("conv", "half", "int8", "nonzero")


def small_networks(folder: Path) -> None:
    """A convolution in FP32, FP16 and INT8, and a network whose output has a size that only the run tells."""
    import onnx
    from onnx import TensorProto, helper

    for kind in SMALL:
        nodes, weights = small_network(kind)
        shape: list[Any] = [64] if kind == "nonzero" else ["batch", 3, 32, 32]
        answer: list[Any] = [1, "count"] if kind == "nonzero" else ["batch", 8, 32, 32]
        answered = TensorProto.INT32 if kind == "nonzero" else TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            kind,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", answered, answer)],
            weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), folder / f"{kind}.onnx")


def small_network(kind: str) -> tuple[list[Any], list[Any]]:
    """Nodes and weights, from x to y."""
    from onnx import TensorProto, helper, numpy_helper

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], output, **attributes)

    values = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    arrays: dict[str, Any] = {"w": values}
    pads = {"pads": [1, 1, 1, 1]}
    if kind == "nonzero":
        return [node("NonZero", "x", "found"), node("Cast", "found", "y", to=TensorProto.INT32)], []
    if kind == "conv":
        nodes = [node("Conv", "x w", "y", **pads)]
    elif kind == "half":
        arrays["w"] = values.astype(np.float16)
        nodes = [
            node("Cast", "x", "x16", to=TensorProto.FLOAT16), node("Conv", "x16 w", "y16", **pads),
            node("Cast", "y16", "y", to=TensorProto.FLOAT),
        ]  # fmt: skip
    else:
        steps = (np.abs(values).max((1, 2, 3)) / 127).astype(np.float32)
        bytes_ = np.rint(values / steps[:, None, None, None]).astype(np.int8)
        arrays = {"w8": bytes_, "steps": steps, "zeros": np.zeros(8, np.int8)}
        arrays |= {"step": np.float32(4 / 127), "zero": np.int8(0)}
        nodes = [
            node("QuantizeLinear", "x step zero", "x8"), node("DequantizeLinear", "x8 step zero", "xq"),
            node("DequantizeLinear", "w8 steps zeros", "w", axis=0), node("Conv", "xq w", "y", **pads),
        ]  # fmt: skip
    return nodes, [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
