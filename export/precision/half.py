"""FP16 where it is safe: typed mixed-precision ONNX, its inputs and outputs as they were.

The converters of onnxruntime 1.31 and onnxconverter-common 1.16, told which nodes to keep, write graphs of
the students that do not load, and pass what goes from one kept node to another through FP16. That of NVIDIA's
AutoCast (nvidia-modelopt 0.47) writes those written here, but asks for an older onnx and for much besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from wholebody.export.precision.always import always_fp32
from wholebody.export.precision.casts import set_types
from wholebody.export.precision.graph import (
    HALF,
    HEAVY,
    consumers,
    element_types,
    half_inputs,
    is_float,
    is_quantized,
    name_of,
    operator_types,
    opset_of,
    producers,
    replace,
    with_types,
)

__all__ = ["always_fp32", "to_half"]


def to_half(model: ModelProto, *, keep: AbstractSet[str]) -> ModelProto:
    """`model` in FP16 but for the nodes named in `keep`; the given model is not changed.

    In FP32 stay also its inputs and outputs, what ONNX does not define in FP16, what is quantized (beside a
    Cast, a product is not fused with its Q/DQ), and operators without work of their own (a Relu, a Reshape)
    between nodes of FP32 alone. A node without a name goes by that of its first output. Raises ValueError
    where a weight of a node that is not kept is beyond FP16.
    """
    model = with_types(model)
    _plain_weights(model)
    set_types(model, _half_nodes(model, keep))
    onnx.checker.check_model(model, full_check=True)
    return model


def _plain_weights(model: ModelProto) -> None:
    """Constant nodes become weights, and weights no inputs, which they are in old files."""
    graph, rest = model.graph, []
    for node in graph.node:
        value = next((a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"), None)
        if value is None:
            rest.append(node)
        else:
            graph.initializer.add().CopyFrom(value)
            graph.initializer[-1].name = node.output[0]
    weights = {weight.name for weight in graph.initializer}
    replace(graph.node, rest)
    for values in (graph.input, graph.value_info):
        replace(values, [value for value in values if value.name not in weights])
    model.ir_version = max(model.ir_version, 4)


def _half_nodes(model: ModelProto, keep: AbstractSet[str]) -> set[str]:
    types, opset, made = element_types(model.graph), opset_of(model), producers(model.graph)
    half = {
        name_of(node): node
        for node in model.graph.node
        if name_of(node) not in keep and _can_be_half(node, types, opset) and not is_quantized(node, made)
    }
    return set(half) - _not_worth(half, model.graph, types)


def _can_be_half(node: NodeProto, types: Mapping[str, int], opset: int) -> bool:
    """Whether every FP32 output of the operator may be FP16, if its inputs are."""
    outputs = [i for i, name in enumerate(node.output) if is_float(types, name)]
    if node.op_type == "Cast":
        return bool(outputs)
    read, written = operator_types(node, opset)
    bound = {read[i].type_str for i in half_inputs(node, types, opset)}
    return bool(outputs) and all(HALF in written[i].types and written[i].type_str in bound for i in outputs)


def _not_worth(half: Mapping[str, NodeProto], graph: GraphProto, types: Mapping[str, int]) -> set[str]:
    """Operators without work of their own that only FP32 ones surround: their casts would cost more."""
    light = {name for name, node in half.items() if node.op_type not in HEAVY}
    beside = _neighbours(graph, types)
    found = set[str]()
    while light:
        group, todo = set[str](), {light.pop()}
        while todo:
            name = todo.pop()
            group.add(name)
            todo |= beside[name] & light
            light -= todo
        around = set[str]().union(*(beside[name] for name in group)) - group
        found |= group if not around.intersection(half) else set()
    return found


def _neighbours(graph: GraphProto, types: Mapping[str, int]) -> dict[str, set[str]]:
    """The nodes to which each node passes FP32 numbers, or that pass it some."""
    made, beside = producers(graph), {name_of(node): set[str]() for node in graph.node}
    for tensor, readers in consumers(graph).items():
        if tensor in made and is_float(types, tensor):
            for reader in readers:
                beside[name_of(made[tensor])].add(name_of(reader))
                beside[name_of(reader)].add(name_of(made[tensor]))
    return beside
