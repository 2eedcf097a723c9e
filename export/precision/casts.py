"""Types for the tensors of a graph whose nodes compute in FP16 or FP32, and a Cast where the two meet.

Each tensor has at most one Cast, right behind the node that makes it and shared by all who read it; what is
read back in the type it was made in passes none. Weights are written in the type that they are read in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from wholebody.export.precision.graph import (
    captured,
    element_types,
    half_inputs,
    is_float,
    name_of,
    opset_of,
    replace,
)

__all__ = ["UNTYPED", "set_types"]

UNTYPED = ("Cast", "Shape", "Size")  # they read any type
TYPES = {True: TensorProto.FLOAT16, False: TensorProto.FLOAT}


@dataclass(frozen=True)
class _Read:
    """Input number `index` of a node: an FP32 tensor so far, and whether the node wants it in FP16."""

    node: NodeProto
    index: int
    tensor: str
    half: bool


@dataclass(frozen=True)
class _Names:
    """What the tensors are called in either type.

    made    of each tensor, whether it is made in FP16
    plain   of each tensor, whether its name of before stands for FP16
    asked   (tensor, whether in FP16) for all that is read
    """

    made: Mapping[str, bool]
    plain: Mapping[str, bool]
    asked: AbstractSet[tuple[str, bool]]
    suffix: Mapping[bool, str]

    def __call__(self, tensor: str, half: bool) -> str:
        return tensor if half == self.plain.get(tensor, half) else tensor + self.suffix[half]

    def is_cast(self, tensor: str) -> bool:
        return tensor in self.made and (tensor, not self.made[tensor]) in self.asked


def set_types(model: ModelProto, half: AbstractSet[str]) -> None:
    """In place; `half` names the nodes that shall compute in FP16.

    The graph must tell the types of its tensors. Raises ValueError for a weight that would be infinite.
    """
    graph, types = model.graph, element_types(model.graph)
    reads = list(_reads(model, types, half))
    names = _names(model, types, half, reads)
    values = list(_values(model, names))
    casts = {tensor: _cast(tensor, names) for tensor in names.made if names.is_cast(tensor)}
    nodes = [casts[value.name] for value in graph.input if value.name in casts]
    for node in graph.node:
        nodes += [node, *(casts[tensor] for tensor in node.output if tensor in casts)]
    for read in reads:
        read.node.input[read.index] = names(read.tensor, read.half)
    for node in graph.node:
        if name_of(node) in half:
            _make_half(node, types, names)
    _write_weights(model, names)
    replace(graph.node, nodes)
    replace(graph.value_info, values)


def _reads(model: ModelProto, types: Mapping[str, int], half: AbstractSet[str]) -> Iterator[_Read]:
    made_half = {t for node in model.graph.node if name_of(node) in half for t in node.output}
    for node in model.graph.node:
        wanted = half_inputs(node, types, opset_of(model)) if name_of(node) in half else []
        for i, tensor in enumerate(node.input):
            if is_float(types, tensor):
                as_it_is = node.op_type in UNTYPED
                yield _Read(node, i, tensor, tensor in made_half if as_it_is else i in wanted)


def _names(model: ModelProto, types: Mapping[str, int], half: AbstractSet[str], reads: list[_Read]) -> _Names:
    graph = model.graph
    weights = {weight.name for weight in graph.initializer if is_float(types, weight.name)}
    made = {value.name: False for value in graph.input if is_float(types, value.name)}
    for node in graph.node:
        made |= {t: name_of(node) in half for t in node.output if is_float(types, t)}
    outside = {value.name for value in graph.output} | {t for node in graph.node for t in captured(node)}
    asked = {(read.tensor, read.half) for read in reads} | {(t, False) for t in outside}
    plain = {t: is_half and t not in outside for t, is_half in made.items()}
    plain |= {weight: (weight, False) not in asked for weight in weights}
    suffix = {True: "_fp16", False: "_fp32"}
    while any(t + s in types for t in plain for s in suffix.values()):
        suffix = {kind: f"{s}_" for kind, s in suffix.items()}
    return _Names(made, plain, asked, suffix)


def _cast(tensor: str, names: _Names) -> NodeProto:
    half = not names.made[tensor]
    target = names(tensor, half)
    return helper.make_node(
        "Cast", [names(tensor, not half)], [target], name=f"{target}_cast", to=TYPES[half]
    )


def _make_half(node: NodeProto, types: Mapping[str, int], names: _Names) -> None:
    for i, tensor in enumerate(node.output):
        if is_float(types, tensor):
            node.output[i] = names(tensor, True)
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to":
            attribute.i = TensorProto.FLOAT16


def _write_weights(model: ModelProto, names: _Names) -> None:
    weights = model.graph.initializer
    for weight in list(weights):
        if (weight.name, True) in names.asked:
            half = _in_half(weight, names(weight.name, True))
            if names.plain[weight.name]:
                weight.CopyFrom(half)
            else:
                weights.append(half)


def _in_half(weight: TensorProto, name: str) -> TensorProto:
    numbers = numpy_helper.to_array(weight)
    with np.errstate(over="ignore"):
        halves = numbers.astype(np.float16)
    if (np.isinf(halves) & np.isfinite(numbers)).any():
        raise ValueError(
            f"weight {weight.name} has {np.abs(numbers).max():.3g}, beyond FP16: keep the nodes that read it"
        )
    return numpy_helper.from_array(halves, name)


def _values(model: ModelProto, names: _Names) -> Iterator[ValueInfoProto]:
    """What the graph tells of tensors between nodes, and now of those that a Cast makes or reads.

    Of some tensors of open shape, onnx's inference tells many times over.
    """
    graph = model.graph
    ends = {value.name for value in (*graph.input, *graph.output)}
    told = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    for value in told.values():
        kinds = {names.made[value.name]} if value.name in names.made else set()
        kinds |= {not kind for kind in kinds if names.is_cast(value.name)}
        if not kinds and value.name not in ends:
            yield value
        for kind in kinds:
            if (name := names(value.name, kind)) not in ends:
                yield _typed(value, name, kind)


def _typed(value: ValueInfoProto, name: str, half: bool) -> ValueInfoProto:
    typed = ValueInfoProto()
    typed.CopyFrom(value)
    typed.name = name
    typed.type.tensor_type.elem_type = TYPES[half]
    return typed
