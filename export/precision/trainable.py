"""A graph with Q/DQ pairs as PyTorch trains it: the very tensors are rounded that the graph rounds.

No library does that: torch.ao, torchao and modelopt place their own fake quantization into modules, and what
comes out is another graph than the one that is calibrated, fused for its target and measured. Here the
written graph itself is walked, with PyTorch's own fake quantization, whose gradient goes straight through
rounding and stops where a value is cut off. So any student is trained, whoever published it, and no
checkpoint is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from wholebody.export.precision.graph import HEAVY, producers
from wholebody.export.precision.torch_operators import Compute, compute

__all__ = ["Grid", "Trainable"]

LIMITS: Mapping[int, tuple[int, int]] = {
    TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255), TensorProto.INT32: (-(2**31), 2**31 - 1)
}  # fmt: skip
QUANTIZED = "_quantized"  # what onnxruntime's quantizer adds to the name of a weight
TRUNK = "backbone."  # begins the names of its weights


@dataclass(frozen=True)
class Grid:
    """The values that a tensor is rounded to: (whole number - zero) * scale, whole numbers low to high.

    scale, zero  one number each, or one for each entry along `axis`
    """

    scale: Tensor
    zero: Tensor
    low: int
    high: int
    axis: int

    def __call__(self, x: Tensor) -> Tensor:
        """The nearest values; the gradient is that of cutting off alone."""
        if self.scale.numel() == 1:
            scale, zero = self.scale.reshape(()), self.zero.reshape(())
            return torch.fake_quantize_per_tensor_affine(x, scale, zero, self.low, self.high)
        return torch.fake_quantize_per_channel_affine(
            x, self.scale, self.zero, self.axis, self.low, self.high
        )

    def whole_numbers(self, x: Tensor) -> NDArray[np.int64]:
        """Of the nearest values."""
        shape = [1] * x.ndim
        shape[self.axis if x.ndim > 1 else 0] = -1
        steps = (x.detach().double() / self.scale.double().reshape(shape)).round()
        return np.asarray((steps + self.zero.reshape(shape)).clamp(self.low, self.high).numpy(), np.int64)


@dataclass(frozen=True)
class _Step:
    compute: Compute
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Trainable:
    """The way from a Q/DQ graph's inputs to some of its tensors, in PyTorch.

    weights  what can be trained: those of convolutions and matrix products, and biases, as they were before
             they were rounded, by the names they had
    head     names of those behind the trunk; of DOPE also what looks into each region. Empty where the names
             do not tell which the trunk's are
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
        self._grids: dict[str, Grid] = {}  # of weights kept as whole numbers
        nodes = list(_upstream(quantized.graph, answers, given))
        self._steps = [self._step(node) for node in nodes]
        self.head = self._head(nodes)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The answers by name; inputs: those of the network and all that are given."""
        values: dict[str, Tensor] = {**self._constants, **self.weights, **inputs}
        for step in self._steps:
            answer = step.compute(*(values[name] if name else None for name in step.inputs))
            several = answer if isinstance(answer, tuple) else (answer,)
            values.update(zip(step.outputs, several, strict=False))
        return {name: values[name] for name in self._answers}

    def written(self) -> ModelProto:
        """The graph with the weights as they are now."""
        model = ModelProto()
        model.CopyFrom(self._model)
        for tensor in model.graph.initializer:
            name = tensor.name.removesuffix(QUANTIZED)
            if name not in self.weights or (name != tensor.name and name not in self._grids):
                continue
            kind, weight = helper.tensor_dtype_to_np_dtype(tensor.data_type), self.weights[name]
            grid = self._grids.get(name)
            values = weight.detach().numpy() if grid is None else grid.whole_numbers(weight)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
        return model

    def _step(self, node: NodeProto) -> _Step:
        inputs, outputs = tuple(node.input), tuple(node.output)
        if node.op_type == "QuantizeLinear":
            if inputs[0] in self._constants:
                self._train(inputs[0])
            return _Step(self._grid(node), inputs[:1], outputs)
        if node.op_type == "DequantizeLinear":
            if inputs[0] not in self._constants:  # already rounded
                return _Step(lambda x: x, inputs[:1], outputs)
            name = inputs[0].removesuffix(QUANTIZED)
            self._train(name)
            self._grids[name] = self._grid(node)
            return _Step(self._grids[name], (name,), outputs)
        if node.op_type in HEAVY:
            for name in inputs[1:]:
                if self._types.get(name) == TensorProto.FLOAT:
                    self._train(name)
        return _Step(compute(node), inputs, outputs)

    def _train(self, name: str) -> None:
        self.weights.setdefault(name, nn.Parameter(_tensor(self._floats[name])))

    def _grid(self, node: NodeProto) -> Grid:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        scale, zero = (self._constants[name] for name in node.input[1:3])
        return Grid(scale, zero.int(), *LIMITS[self._types[node.input[2]]], axis)

    def _head(self, nodes: list[NodeProto]) -> frozenset[str]:
        """Of a layer behind a RoiAlign, or whose weight has not a trunk's name."""
        behind, head = set[str](), set[str]()
        for node in nodes:
            if node.op_type == "RoiAlign" or behind.intersection(node.input):
                behind.update(node.output)
            if node.op_type in HEAVY:
                named = {self._source(tensor) for tensor in node.input[1:]} & self.weights.keys()
                trunk = any(name.startswith(TRUNK) for name in named) and not behind.intersection(node.input)
                head.update(() if trunk else named)
        return frozenset(head) if len(head) < len(self.weights) else frozenset()

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
