"""A graph of anyone's as reduced precision needs it: opset 17, BatchNorm folded, every node named.

A BatchNorm of its own has weights that FP16 cannot hold and ranges that INT8 wastes. Opset 13 brought weights
quantized per channel; importers of TensorRT up to 9 misread reductions of opset 18.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx
import onnxslim
from onnx import ModelProto, TensorProto

from wholebody.export.onnx_graph import IR_VERSION, OPSET
from wholebody.export.precision.graph import name_of, opset_of, replace, with_types
from wholebody.runtime.errors import ArtefactError

__all__ = ["prepared"]


def prepared(model: ModelProto) -> ModelProto:
    """The same network, simplified; what `wholebody export` wrote stays as it is, the given model unchanged.

    Raises ArtefactError where it is of reduced precision already, or in no opset that leads to 17.
    """
    _require_fp32(model)
    copy = ModelProto()
    copy.CopyFrom(model)
    simplified: Any = copy
    if opset_of(model) != OPSET or any(node.op_type == "BatchNormalization" for node in model.graph.node):
        simplified = onnxslim.slim(_at_opset(onnxslim.slim(copy)))
    assert isinstance(simplified, ModelProto)
    simplified.ir_version = IR_VERSION
    _name_nodes(simplified)
    return with_types(simplified)


def _require_fp32(model: ModelProto) -> None:
    kinds = {weight.data_type for weight in model.graph.initializer}
    operators = {node.op_type for node in model.graph.node}
    if "DequantizeLinear" in operators or TensorProto.FLOAT16 in kinds or TensorProto.BFLOAT16 in kinds:
        raise ArtefactError("the graph is of reduced precision already: start from the FP32 file")


def _at_opset(model: ModelProto) -> ModelProto:
    """In opset 17, its weights no longer inputs as old files have them."""
    weights = {weight.name for weight in model.graph.initializer}
    replace(model.graph.input, [value for value in model.graph.input if value.name not in weights])
    model.ir_version = IR_VERSION
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:  # the converter's own errors share no public base
        reason = " ".join(str(error).split())[:200]
        raise ArtefactError(
            f"the graph's opset is {opset_of(model)} and cannot be made {OPSET} ({reason}): export it again"
        ) from None


def _name_nodes(model: ModelProto) -> None:
    """Every node gets a name of its own."""
    names = Counter[str]()
    for node in model.graph.node:
        name = name_of(node)
        names[name] += 1
        node.name = name if names[name] == 1 else f"{name}_{names[name]}"
