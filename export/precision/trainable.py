"""A graph with Q/DQ pairs as PyTorch trains it: the very tensors are rounded that the graph rounds.

No library does that: torch.ao, torchao and modelopt place their own fake quantization into modules, and what
comes out is another graph than the one that is calibrated, fused for its target and measured. Here the
written graph itself is walked. So any student is trained, whoever published it, and no checkpoint is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from wholebody.export.precision.graph import HEAVY, producers
from wholebody.export.precision.rounding import Rounding
from wholebody.export.precision.torch_operators import Compute, compute

__all__ = ["Trainable"]

LIMITS: Mapping[int, tuple[int, int]] = {
    TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255), TensorProto.INT32: (-(2**31), 2**31 - 1)
}  # fmt: skip
QUANTIZED = "_quantized"  # what onnxruntime's quantizer adds to the name of a weight
TRUNK = "backbone."  # begins the names of its weights


@dataclass(frozen=True)
class _Step:
    compute: Compute
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Trainable:
    """The way from a Q/DQ graph's inputs to some of its tensors, in PyTorch.

    weights  of convolutions and matrix products, and biases, as they were before they were rounded, by the
             names they had
    scales   of activations: logarithms of how much they have grown, by name; those that are equal are one
    head     names of both behind the trunk; of DOPE also of what looks into each region. Empty where the
             names do not tell which the trunk's are

    Scales of weights stay as they are.
    """

    def __init__(
        self, quantized: ModelProto, floating: ModelProto, answers: Collection[str], given: Collection[str]
    ) -> None:
        """answers: the tensors to compute. given: those handed in besides the inputs, not computed.

        Raises ArtefactError where an operator on the way is not known.
        """
        self._model = quantized
        self._constants = {t.name: _tensor(t) for t in quantized.graph.initializer}
        self._types = {t.name: t.data_type for t in quantized.graph.initializer}
        self._floats = {t.name: t for t in floating.graph.initializer}
        self._made = producers(quantized.graph)
        self._answers = tuple(answers)
        self.weights: dict[str, nn.Parameter] = {}
        self.scales: dict[str, nn.Parameter] = {}
        self._same: dict[str, str] = {}  # the name in `scales` of a scale
        self._whole: dict[str, NodeProto] = {}  # what makes floats of a weight kept in whole numbers
        nodes = list(_upstream(quantized.graph, answers, given))
        self._products = dict(self._bias_scales(nodes))
        self._steps = [self._step(node) for node in nodes]
        self.head = self._head(nodes)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The answers by name; inputs: those of the network and all that are given."""
        values: dict[str, Tensor] = {**self._constants, **self._learnt(), **inputs}
        for step in self._steps:
            answer = step.compute(*(values[name] if name else None for name in step.inputs))
            several = answer if isinstance(answer, tuple) else (answer,)
            values.update(zip(step.outputs, several, strict=False))
        return {name: values[name] for name in self._answers}

    def written(self) -> ModelProto:
        """The graph with weights and scales as they are now."""
        model = ModelProto()
        model.CopyFrom(self._model)
        now = {name: tensor.detach() for name, tensor in {**self._constants, **self._learnt()}.items()}
        for of_bias, (of_input, of_weight) in self._products.items():
            now[of_bias] = now[of_input] * now[of_weight]
        for name, node in self._whole.items():
            scale, zero = (now[tensor] for tensor in node.input[1:3])
            numbers = self._rounding(node).whole_numbers(now[name], scale, zero)
            now[node.input[0]] = torch.from_numpy(numbers)
        for tensor in model.graph.initializer:
            kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            array = now[tensor.name].numpy().astype(kind).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return model

    def _learnt(self) -> dict[str, Tensor]:
        growth = {name: scale.exp() for name, scale in self.scales.items()}
        scales = {name: self._constants[name] * growth[same] for name, same in self._same.items()}
        return {**self.weights, **scales}

    def _step(self, node: NodeProto) -> _Step:
        inputs, outputs = tuple(node.input), tuple(node.output)
        if node.op_type == "QuantizeLinear":
            if inputs[0] in self._constants:
                self._train(inputs[0])
            else:
                self._train_scale(inputs[1])
            return _Step(self._rounding(node), inputs, outputs)
        if node.op_type == "DequantizeLinear":
            if inputs[0] not in self._constants:  # already rounded
                return _Step(lambda x: x, inputs[:1], outputs)
            name = inputs[0].removesuffix(QUANTIZED)
            self._train(name)
            self._whole[name] = node
            if (factors := self._products.get(inputs[1])) is None:
                return _Step(self._rounding(node), (name, *inputs[1:]), outputs)
            rounding = self._rounding(node)
            return _Step(lambda b, x, w, zero: rounding(b, x * w, zero), (name, *factors, inputs[2]), outputs)
        if node.op_type in HEAVY:
            for name in inputs[1:]:
                if self._types.get(name) == TensorProto.FLOAT:
                    self._train(name)
        return _Step(compute(node), inputs, outputs)

    def _bias_scales(self, nodes: list[NodeProto]) -> Iterator[tuple[str, tuple[str, str]]]:
        """The scales of biases in whole numbers, and of the input and the weight, whose products they are."""
        for node in nodes:
            if node.op_type in HEAVY and len(node.input) > 2 and node.input[2] in self._made:
                of_input, of_weight, of_bias = (self._made[name].input[1] for name in node.input)
                yield of_bias, (of_input, of_weight)

    def _train(self, name: str) -> None:
        self.weights.setdefault(name, nn.Parameter(_tensor(self._floats[name])))

    def _train_scale(self, name: str) -> None:
        """Those of tensors that are joined, or pooled, were made equal, and are to stay so."""
        scale = self._constants[name]
        equal = (other for other in self.scales if torch.equal(self._constants[other], scale))
        self._same[name] = next(equal, name)
        self.scales.setdefault(self._same[name], nn.Parameter(torch.zeros(())))

    def _rounding(self, node: NodeProto) -> Rounding:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        return Rounding(*LIMITS[self._types[node.input[2]]], axis)

    def _head(self, nodes: list[NodeProto]) -> frozenset[str]:
        """Of a layer behind a RoiAlign, or whose weight has not a trunk's name."""
        behind, head = set[str](), set[str]()
        for node in nodes:
            if node.op_type == "RoiAlign" or behind.intersection(node.input):
                behind.update(node.output)
            if node.op_type in HEAVY:
                named = {self._source(tensor) for tensor in node.input[1:]} & self.weights.keys()
                trunk = any(name.startswith(TRUNK) for name in named) and not behind.intersection(node.input)
                if not trunk:
                    head.update(named, self._scale_of(node.input[0]))
        return frozenset(head) if self.weights.keys() - head else frozenset()

    def _scale_of(self, tensor: str) -> set[str]:
        """The scale by which a tensor is rounded, if it is."""
        pair = self._made[tensor].input[1:2] if tensor in self._made else ()
        return {self._same[scale] for scale in pair if scale in self._same}

    def _source(self, tensor: str) -> str:
        """The weight that a tensor is, or is rounded from."""
        while tensor in self._made and self._made[tensor].op_type in ("QuantizeLinear", "DequantizeLinear"):
            tensor = self._made[tensor].input[0]
        return tensor.removesuffix(QUANTIZED)


def _upstream(graph: GraphProto, answers: Collection[str], given: Collection[str]) -> Iterator[NodeProto]:
    """The nodes that the answers need, in the order of the graph."""
    needed, kept = set(answers), list[NodeProto]()
    for node in reversed(graph.node):
        if needed.intersection(node.output) - set(given):
            kept.append(node)
            needed.update(node.input)
    return reversed(kept)


def _tensor(tensor: TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(tensor).copy())
