"""Which way values go through a graph: from layer to layer, or out of the network."""

from __future__ import annotations

from collections import defaultdict

from onnx import GraphProto, NodeProto, TensorProto

__all__ = ["ACTIVATIONS", "LAYERS", "Flow"]

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})  # with a constant weight: what computes nearly everything
ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "LeakyRelu", "QuickGelu", "Relu", "Sigmoid"})
WAYS = ACTIVATIONS | {  # from one layer to the next
    "Add", "AveragePool", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Mul", "ReduceMean", "Reshape",
    "Resize",
}  # fmt: skip
SELECTIONS = frozenset({"ArgMax", "NonMaxSuppression", "TopK"})  # what they answer is no feature


class Flow:
    """A graph's nodes and tensors, asked where they lead."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes = list(graph.node)
        self._constants = {t.name: t for t in graph.initializer}
        self._producer = {output: node for node in graph.node for output in node.output}
        self._consumers: dict[str, list[NodeProto]] = defaultdict(list)
        self._depth: dict[str, int] = {}
        for node in graph.node:  # in an order in which every input is known
            depth = 1 + max((self.depth(name) for name in node.input), default=0)
            self._depth |= dict.fromkeys(node.output, depth)
            for name in node.input:
                self._consumers[name].append(node)
        self._leads_on: dict[str, bool] = {}
        self._is_needed: dict[str, bool] = {}

    def is_layer(self, node: NodeProto) -> bool:
        """Whether it is a convolution or matrix product with a constant weight."""
        weight = self._constants.get(node.input[1]) if node.op_type in LAYERS else None
        return weight is not None and weight.data_type == TensorProto.FLOAT and len(weight.dims) >= 2

    def varying(self, node: NodeProto) -> list[str]:
        """Its inputs that are no constants."""
        return [name for name in node.input if name and name not in self._constants]

    def depth(self, tensor: str) -> int:
        """Nodes on the longest way to it from an input of the network."""
        return self._depth.get(tensor, 0)

    def leads_on(self, tensor: str) -> bool:
        """Whether a layer takes it, after no more than activations, sums, products, joins and pooling."""
        if tensor not in self._leads_on:
            self._leads_on[tensor] = any(
                self.is_layer(node) or (node.op_type in WAYS and self.leads_on(node.output[0]))
                for node in self._consumers[tensor]
            )
        return self._leads_on[tensor]

    def is_needed(self, tensor: str) -> bool:
        """Whether a layer computes with it, whatever lies between; to choose boxes by it is no computing."""
        if tensor not in self._is_needed:
            self._is_needed[tensor] = any(
                self.is_layer(node) or any(self.is_needed(output) for output in node.output)
                for node in self._consumers[tensor]
                if node.op_type not in SELECTIONS and (node.op_type != "RoiAlign" or node.input[0] == tensor)
            )
        return self._is_needed[tensor]

    def comes_from_convolution(self, tensor: str) -> bool:
        """Whether a convolution answers it, or did before its activation."""
        node = self._producer.get(tensor)
        if node is None or node.op_type == "Conv":
            return node is not None and self.is_layer(node)
        return node.op_type in ACTIVATIONS | {"Mul"} and any(map(self.comes_from_convolution, node.input))
