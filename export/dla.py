"""Running on a Jetson's deep-learning accelerator (DLA), with the GPU for what that cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from wholebody.runtime.errors import ArtefactError

__all__ = ["without_qdq"]

LARGEST = 127  # of a signed byte


def without_qdq(data: bytes) -> tuple[bytes, dict[str, float]]:
    """A quantized graph as a DLA takes it: in floats, with the largest magnitude of each quantized tensor.

    Compilers for DLA before TensorRT 11.4.1 do not know Q/DQ pairs: they want a range for each tensor beside
    the graph. The scale of an activation's pair is that range / 127. Weights go back to floats, and are
    quantized by their own largest value. data: an ONNX file. Raises ArtefactError where a zero point is not 0
    or an activation's scale is not one number, for a DLA quantizes symmetrically, tensor by tensor.
    """
    model = onnx.load_model_from_string(data)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    quantized = {n.output[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    renamed: dict[str, str] = {}
    ranges: dict[str, float] = {}
    for node in [n for n in model.graph.node if n.op_type == "DequantizeLinear"]:
        _check_zero_point(node, constants)
        quantize = quantized.get(node.input[0])
        source = quantize.input[0] if quantize else node.input[0]
        if source in constants:
            _add_floats(model, node, constants)
            continue
        renamed[node.output[0]] = source
        ranges[source] = LARGEST * _scale(node, constants)
    _drop_pairs(model, renamed)
    return model.SerializeToString(), ranges


def _add_floats(model: ModelProto, node: NodeProto, constants: dict[str, NDArray[Any]]) -> None:
    """The weights of a pair as floats, under the name that its reader expects."""
    values = constants.get(node.input[0])
    if values is None:  # quantized in the graph: the floats are there already
        quantize = next(n for n in model.graph.node if n.output and n.output[0] == node.input[0])
        floats = constants[quantize.input[0]]
    else:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        scale = constants[node.input[1]]
        shape = [-1 if i == axis else 1 for i in range(values.ndim)] if scale.ndim else ()
        floats = values.astype(np.float32) * scale.reshape(shape).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(floats), node.output[0]))


def _drop_pairs(model: ModelProto, renamed: dict[str, str]) -> None:
    kept = [n for n in model.graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    for node in kept:
        for i, name in enumerate(node.input):
            while name in renamed:
                name = renamed[name]
            node.input[i] = name
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _check_zero_point(node: NodeProto, constants: dict[str, NDArray[Any]]) -> None:
    if len(node.input) > 2 and node.input[2] and np.any(constants.get(node.input[2], 1)):
        raise ArtefactError(
            f"{node.name or node.output[0]} has a zero point that is not 0; a DLA quantizes symmetrically: "
            "quantize with `--target tensorrt`"
        )


def _scale(node: NodeProto, constants: dict[str, NDArray[Any]]) -> float:
    scale = constants.get(node.input[1])
    if scale is None or scale.size != 1:
        raise ArtefactError(
            f"{node.name or node.output[0]} scales an activation channel by channel; a DLA needs one number: "
            "quantize activations per tensor"
        )
    return float(scale.reshape(-1)[0])
