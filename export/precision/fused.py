"""Operators that onnxruntime's CPU provider computes at once, written as such.

It finds them by itself in a floating graph, but not where Q/DQ pairs stand between their parts.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, helper

__all__ = ["fused_for_onnxruntime"]

ONNXRUNTIME = "com.microsoft"


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
