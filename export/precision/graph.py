"""An ONNX graph as whoever chooses precisions sees it: named nodes, and the types of what they pass on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.defs import OpSchema

__all__ = [
    "HALF",
    "HEAVY",
    "captured",
    "consumers",
    "element_types",
    "half_inputs",
    "is_float",
    "is_quantized",
    "name_of",
    "operator_types",
    "opset_of",
    "producers",
    "replace",
    "with_types",
]

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # nearly all of a network's arithmetic
HALF = "tensor(float16)"
AI_ONNX = ("", "ai.onnx")


def name_of(node: NodeProto) -> str:
    """A node's name; one without a name goes by that of its first output."""
    return node.name or node.output[0]


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that makes each tensor."""
    return {output: node for node in graph.node for output in node.output if output}


def consumers(graph: GraphProto) -> Mapping[str, list[NodeProto]]:
    """The nodes that read each tensor, once each; a node reads what the graphs inside it do."""
    found: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in dict.fromkeys([*node.input, *captured(node)]):
            found[name].append(node)
    return found


def captured(node: NodeProto) -> Iterator[str]:
    """All names that the graphs inside a node read; some are their own."""
    for inner in _graphs(node.attribute):
        for each in inner.node:
            yield from each.input
            yield from captured(each)


def _graphs(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    for attribute in attributes:
        yield from [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs


def is_quantized(node: NodeProto, made: Mapping[str, NodeProto]) -> bool:
    """Whether both factors of a product are dequantized; one alone may be what was rounded for another."""
    return node.op_type in HEAVY and all(
        name in made and made[name].op_type == "DequantizeLinear" for name in node.input[:2]
    )


def opset_of(model: ModelProto) -> int:
    """Of the `ai.onnx` operators."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in AI_ONNX)


def with_types(model: ModelProto) -> ModelProto:
    """A copy that tells the type of every tensor, as far as it follows from the operators."""
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def element_types(graph: GraphProto) -> dict[str, int]:
    """`TensorProto` type of each tensor that the graph tells the type of."""
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output, *graph.input)}
    return {**values, **{weight.name: weight.data_type for weight in graph.initializer}}


def operator_types(
    node: NodeProto, opset: int
) -> tuple[list[OpSchema.FormalParameter], list[OpSchema.FormalParameter]]:
    """What ONNX says of each input and output of an operator; nothing of one that it does not define."""
    domain = "" if node.domain in AI_ONNX else node.domain
    if not onnx.defs.has(node.op_type, opset, domain):
        return [], []
    schema = onnx.defs.get_schema(node.op_type, opset, domain)
    inputs, outputs = (
        [formal[min(i, len(formal) - 1)] for i in range(len(actual))]  # the last one may be repeated
        for formal, actual in ((schema.inputs, node.input), (schema.outputs, node.output))
    )
    return inputs, outputs


def half_inputs(node: NodeProto, types: Mapping[str, int], opset: int) -> list[int]:
    """The FP32 inputs that may be FP16 instead; the scales of a Resize, for one, may not."""
    inputs, _ = operator_types(node, opset)
    return [i for i, p in enumerate(inputs) if is_float(types, node.input[i]) and HALF in p.types]


def is_float(types: Mapping[str, int], tensor: str) -> bool:
    """Whether a tensor is FP32."""
    return types.get(tensor) == TensorProto.FLOAT


def replace(field: Any, values: Iterable[Any]) -> None:
    """Give a repeated field of a graph other values."""
    values = list(values)
    del field[:]
    field.extend(values)
