"""An ONNX file of any origin as a graph that can be quantized."""

from __future__ import annotations

import onnx
import onnxslim
from onnx import ModelProto, TensorProto, version_converter

from wholebody.export.onnx_graph import IR_VERSION, OPSET
from wholebody.runtime.errors import ArtefactError

__all__ = ["prepared", "require_float"]

INTEGER_OPERATORS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
)


def prepared(model: ModelProto) -> ModelProto:
    """The same network in opset 17, its BatchNorms folded, its nodes named, its tensors' shapes written down.

    A model that wholebody exported stays as it is but for names. Raises ArtefactError for one that is
    quantized already or that opset 17 cannot express.
    """
    require_float(model)
    made = ModelProto()
    made.CopyFrom(model)
    if _opset(made) != OPSET or any(n.op_type in ("BatchNormalization", "Constant") for n in made.graph.node):
        made = _simplified(_converted(made))
    _name_nodes(made)
    return onnx.shape_inference.infer_shapes(made)


def require_float(model: ModelProto) -> None:
    """Raises ArtefactError for a model that is quantized already, or computes in halves."""
    for node in model.graph.node:
        if node.op_type in INTEGER_OPERATORS or node.op_type.startswith("QLinear"):
            raise ArtefactError(
                f"it is quantized already, as {node.op_type} ({node.name}) shows: quantize the FP32 student"
            )
    if any(t.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for t in model.graph.initializer):
        raise ArtefactError("it is in half precision already: quantize the FP32 student")


def _opset(model: ModelProto) -> int:
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _converted(model: ModelProto) -> ModelProto:
    if _opset(model) == OPSET:
        return model
    _drop_weights_from_inputs(model)
    _drop_spatial(model)
    try:
        made = version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter's own exceptions share no base
        why = " ".join(str(error).split())[:200]
        raise ArtefactError(f"its opset {_opset(model)} cannot be taken to {OPSET} ({why})") from None
    made.ir_version = IR_VERSION
    return made


def _drop_weights_from_inputs(model: ModelProto) -> None:
    """Before IR 4 every weight was an input, too."""
    weights = {t.name for t in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, IR_VERSION)


def _drop_spatial(model: ModelProto) -> None:
    """Before opset 9 a BatchNorm could be said to be per pixel; MXNet says so of those per channel, too."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and ranks.get(node.input[1]) == 1:
            kept = [attribute for attribute in node.attribute if attribute.name != "spatial"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _simplified(model: ModelProto) -> ModelProto:
    simplified = onnxslim.slim(model)
    assert isinstance(simplified, ModelProto)
    return simplified


def _name_nodes(model: ModelProto) -> None:
    """A node without a name of its own goes by its first output's."""
    names = set[str]()
    for node in model.graph.node:
        if not node.name or node.name in names:
            node.name = node.output[0]
        names.add(node.name)
