"""Where INT8 goes in a graph: which nodes compute in it, and which tensors are rounded to it.

TensorRT wants a Q/DQ pair on what goes into a convolution or matrix product, on its weight, and on that
branch of a residual addition which is not the convolution that it fuses the addition with; what comes out
stays floating. ONNX Runtime's CPU kernels read and write INT8: there a convolution's answer is rounded, too,
and so are the cheap nodes on the way from one convolution to the next (sums, products, joins, pooling), for
each change to floating point and back costs as much as they do.

What decodes boxes and poses, suppresses, selects or normalises lies on no such way and is left alone, and so
are a network's last convolutions on a CPU, whose answers would have to be rounded.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from onnx import GraphProto, NodeProto

from wholebody.export.precision.flow import ACTIVATIONS, Flow

__all__ = ["Placement", "Target", "place"]

Target = Literal["tensorrt", "cpu"]

# What ONNX Runtime's CPU provider computes in 8 bits.
CHEAP = frozenset(
    {"Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Relu",
     "Resize"}
)  # fmt: skip
FLOATING_ANSWERS = frozenset({"Gemm", "MatMul"})  # of 8-bit factors: as exact as the sums


@dataclass(frozen=True)
class Placement:
    """nodes: the names of those that compute in INT8. activations: the tensors that are rounded."""

    nodes: frozenset[str]
    activations: frozenset[str]


def place(graph: GraphProto, target: Target, exclude: Set[str] = frozenset()) -> Placement:
    """Where INT8 goes in a graph whose nodes have names, but for those excluded."""
    return _for_tensorrt(Flow(graph), exclude) if target == "tensorrt" else _for_cpu(Flow(graph), exclude)


def _for_tensorrt(flow: Flow, exclude: Set[str]) -> Placement:
    nodes, rounded = set[str](), set[str]()
    for node in flow.nodes:
        tensor = node.input[0] if flow.is_layer(node) else _residual(flow, node)
        if tensor is not None and node.name not in exclude:
            nodes.add(node.name)
            rounded.add(tensor)
    return Placement(frozenset(nodes), frozenset(rounded))


def _residual(flow: Flow, node: NodeProto) -> str | None:
    """Of an addition that ends a residual block, the branch around the convolutions: the shorter one."""
    branches = flow.varying(node)
    if node.op_type != "Add" or len(set(branches)) != 2 or not flow.leads_on(node.output[0]):
        return None
    shorter, longer = sorted(branches, key=flow.depth)
    return shorter if flow.comes_from_convolution(longer) else None


def _for_cpu(flow: Flow, exclude: Set[str]) -> Placement:
    nodes, rounded = set[str](), set[str]()
    integer = set[str]()  # what INT8 nodes answer, and activations of that
    for node in flow.nodes:
        if node.op_type in ACTIVATIONS and integer.intersection(node.input):
            integer.update(node.output)
        if node.name in exclude or not _computes_in_8_bits(flow, node, integer):
            continue
        nodes.add(node.name)
        rounded.update(node.input[:1] if flow.is_layer(node) else flow.varying(node))
        if node.op_type not in FLOATING_ANSWERS:
            rounded.update(node.output)
            integer.update(node.output)
    return Placement(frozenset(nodes), frozenset(rounded))


def _computes_in_8_bits(flow: Flow, node: NodeProto, integer: set[str]) -> bool:
    if flow.is_layer(node):
        return node.op_type in FLOATING_ANSWERS or flow.is_needed(node.output[0])
    given = flow.varying(node)
    return (
        node.op_type in CHEAP
        and (len(given) == 2 or node.op_type not in ("Add", "Mul"))
        and bool(integer.intersection(given))
        and flow.leads_on(node.output[0])
    )
