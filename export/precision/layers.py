"""The layers of a graph that a precision is chosen for, and how much each of them computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import onnx
import onnx.shape_inference
from onnx import ModelProto, NodeProto

from wholebody.export.precision.graph import HEAVY, name_of
from wholebody.export.precision.poses import ask
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.backends.backend import Array

__all__ = ["Layer", "layers_of"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product: its node's name, operator and multiply-accumulates for one input."""

    name: str
    operator: str
    macs: int


def layers_of(model: ModelProto, inputs: Mapping[str, Array]) -> tuple[Layer, ...]:
    """The layers in the order of the graph; `inputs` are one sample."""
    nodes = [node for node in model.graph.node if node.op_type in HEAVY]
    tensors = {name for node in nodes for name in (*node.input[:2], *node.output)}
    shapes = _inferred(model, inputs)
    if missing := tensors - set(shapes):
        shapes |= _observed(model, missing, inputs)
    return tuple(Layer(name_of(node), node.op_type, _macs(node, shapes)) for node in nodes)


def _inferred(model: ModelProto, inputs: Mapping[str, Array]) -> dict[str, Shape]:
    """The shapes that follow from those of the inputs."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    given = _given(fixed)
    for value in given:  # a network's only input has any name
        array = next(iter(inputs.values())) if len(given) == len(inputs) == 1 else inputs[value.name]
        for dim, size in zip(value.type.tensor_type.shape.dim, array.shape, strict=True):
            dim.dim_value = size
    for value in (*fixed.graph.output, *fixed.graph.value_info):
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    known = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            known[value.name] = tuple(dim.dim_value for dim in dims)
    return known


def _observed(model: ModelProto, tensors: Iterable[str], inputs: Mapping[str, Array]) -> dict[str, Shape]:
    """The shapes that tensors have when the graph runs: those of proposals and open axes follow from none."""
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(tensors))
    return {name: array.shape for name, array in ask(Simulated(probe), inputs).items()}


def _given(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights, which older files list as well."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    first, second, answer = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "Conv":  # weights are (out, in / groups, *kernel)
        return prod(answer) * prod(second[1:])
    if node.op_type == "ConvTranspose":  # weights are (in, out / groups, *kernel)
        return prod(first) * prod(second[1:])
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(answer) * first[0 if transposed else 1]
    return prod(answer) * first[-1]
