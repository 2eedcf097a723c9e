"""A graph as onnxruntime's CPU provider computes it fastest, beside its INT8 kernels.

What it computes at once is written as one operator: it finds such by itself in a floating graph, but not
where Q/DQ pairs stand between the parts. And what is added or multiplied with two or three numbers again and
again goes in steps of that length, ten times slower than where these are written out first.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

__all__ = ["fused_for_onnxruntime", "write_out_short_terms"]

ONNXRUNTIME = "com.microsoft"
FEW = 16  # numbers


def fused_for_onnxruntime(model: ModelProto) -> None:
    """In place: x · sigmoid(x) becomes QuickGelu, and a mean over rows and columns GlobalAveragePool."""
    graph = model.graph
    sigmoids = {node.output[0]: node for node in graph.node if node.op_type == "Sigmoid"}
    consumers = {name: sum(name in node.input for node in graph.node) for name in sigmoids}
    dropped = set[str]()
    for node in graph.node:
        if node.op_type == "Mul" and (gate := _gate(node, sigmoids)) and consumers[gate.output[0]] == 1:
            dropped.add(gate.output[0])
            node.CopyFrom(_quick_gelu(gate.input[0], node))
        elif node.op_type == "ReduceMean" and _over_space(node):
            node.CopyFrom(helper.make_node("GlobalAveragePool", node.input, node.output, node.name))
    kept = [node for node in graph.node if node.output[0] not in dropped]
    del graph.node[:]
    graph.node.extend(kept)
    if dropped:
        model.opset_import.append(helper.make_opsetid(ONNXRUNTIME, 1))


def _gate(node: NodeProto, sigmoids: Mapping[str, NodeProto]) -> NodeProto | None:
    """The sigmoid of what the product multiplies with it."""
    for value, factor in (node.input, node.input[::-1]):
        if factor in sigmoids and sigmoids[factor].input[0] == value:
            return sigmoids[factor]
    return None


def _quick_gelu(value: str, node: NodeProto) -> NodeProto:
    return helper.make_node("QuickGelu", [value], node.output, node.name, domain=ONNXRUNTIME, alpha=1.0)


def _over_space(node: NodeProto) -> bool:
    """Whether a mean is over the last two axes of four, which stay with length 1 (opset 17)."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return attributes.get("axes") in ([2, 3], [-2, -1]) and attributes.get("keepdims", 1) == 1


def write_out_short_terms(model: ModelProto, int8: Set[str]) -> None:
    """In place: where (..., 1, n), n few, is added to (..., m, n) or multiplied, it is expanded to m times n.

    Nodes named in `int8` stay as they are.
    """
    shapes, made = _shapes(model), list[NodeProto]()
    for node in model.graph.node:
        if node.op_type in ("Add", "Mul") and node.name not in int8:
            ours, theirs = (shapes.get(name, ()) for name in node.input)
            for i, short, long in ((0, ours, theirs), (1, theirs, ours)):
                if _repeats(short, long):
                    made.append(_expand(model, node, i, [1] * (len(long) - 2) + list(long[-2:])))
        made.append(node)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _repeats(short: tuple[int, ...], long: tuple[int, ...]) -> bool:
    if len(short) != len(long) or len(long) < 3:
        return False
    return short[-2] == 1 < long[-2] and 1 < short[-1] == long[-1] < FEW


def _expand(model: ModelProto, node: NodeProto, i: int, shape: list[int]) -> NodeProto:
    """A node before input i of another, which from then on reads it."""
    name = f"{node.name}_written_out"
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape), f"{name}_shape"))
    expand = helper.make_node("Expand", [node.input[i], f"{name}_shape"], [name], name)
    node.input[i] = name
    return expand


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Of the tensors that the graph tells one of; an open axis is 0."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    told = {v.name: v.type.tensor_type.shape.dim for v in values if v.type.tensor_type.HasField("shape")}
    return {name: tuple(dim.dim_value for dim in dims) for name, dims in told.items()}
