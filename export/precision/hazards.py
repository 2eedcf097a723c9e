"""Which nodes leave FP16's range on real pictures: their values, or the sums that make these.

The graph runs in FP32, instrumented. A sum is bounded by its worst order, for nobody knows in which one a GPU
adds: of a product all that is positive or all that is negative, of a norm its squares. So it is seen what
tensors do not show: a ReduceL2 whose answer is small and whose sum of squares is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.always import always_fp32
from wholebody.export.precision.graph import (
    HEAVY,
    element_types,
    is_float,
    name_of,
    replace,
    with_types,
)
from wholebody.export.precision.poses import ask
from wholebody.runtime.backends.backend import Array
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.spec import AnySpec

__all__ = ["LARGEST", "SAFE", "Hazard", "fp32_nodes", "half_hazards"]

LARGEST, SMALLEST = 65504.0, 2.0**-14  # of the normal halves
SAFE = 0.25  # of the largest: other pictures reach further than the samples
ENOUGH = 16  # samples
PEAK, SUM, ONE_HALF = "|peak", "|sum", "|half"
# Operators that add up, and what tells the size of that sum of the same inputs.
SUMS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "ReduceL2": ("ReduceSumSquare", {}),
    "ReduceSumSquare": ("ReduceSumSquare", {}),
    "ReduceMean": ("ReduceL1", {}),
    "GlobalAveragePool": ("GlobalLpPool", {"p": 1}),
}


@dataclass(frozen=True)
class Hazard:
    """What would go wrong in a node: the largest of its values or sums is beyond, or all values are below."""

    node: str
    operator: str
    kind: Literal["value", "sum", "underflow"]
    reached: float

    def __str__(self) -> str:
        what = {
            "value": f"values reach {self.reached:.3g}",
            "sum": f"what it adds up reaches {self.reached:.3g}",
            "underflow": f"no value is above {self.reached:.3g}",
        }[self.kind]
        return f"{self.operator} {self.node}: {what} (FP16: {SMALLEST:.2g} to {LARGEST:g})"


class Inputs(Protocol):
    """Inputs of the FP32 graph by name, and how many there are; `calibration.Samples` is such."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Mapping[str, Array]]: ...


def fp32_nodes(model: ModelProto, spec: AnySpec, samples: Inputs) -> set[str]:
    """What `to_half` is told to keep: the nodes that stay by rule, and those that do by measurement.

    Measured on some 16 of the samples, spread over all: a hazard is a matter of magnitude.
    """
    ruled = always_fp32(model, spec)
    some = islice(samples, 0, None, max(1, len(samples) // ENOUGH))
    return ruled | set(half_hazards(model, some, keep=ruled))


def half_hazards(
    model: ModelProto,
    samples: Iterable[Mapping[str, Array]],
    *,
    keep: AbstractSet[str] = frozenset(),
    share: float = SAFE,
) -> dict[str, Hazard]:
    """Nodes that must stay in FP32 on these samples, by name, but for those in `keep`, at which nobody looks.

    samples  inputs of the FP32 graph by name
    share    of FP16's largest number that a value or sum may reach

    Raises BackendError where the graph does not run.
    """
    model = with_types(model)
    types, weights = element_types(model.graph), {weight.name for weight in model.graph.initializer}
    nodes = {
        name_of(node): (
            node,
            [t for t in (*node.input, *node.output) if is_float(types, t) and t not in weights],
        )
        for node in model.graph.node
        if name_of(node) not in keep and node.op_type != "Constant"
    }
    peaks = _peaks(_probe(model, nodes.values()), samples)
    limit, found = share * LARGEST, {}
    for name, (node, tensors) in nodes.items():
        values = [peaks[f"{tensor}{PEAK}"] for tensor in tensors]
        if hazard := _hazard(node, values, peaks.get(f"{name}{SUM}", 0.0), limit):
            found[name] = hazard
    return found


def _hazard(node: NodeProto, values: list[float], total: float, limit: float) -> Hazard | None:
    about = name_of(node), node.op_type
    if not all(value <= limit for value in values):  # NaN is over it
        return Hazard(*about, "value", float(np.max(values)))
    if not total <= limit:
        return Hazard(*about, "sum", total)
    low = [value for value in values if 0 < value < SMALLEST]
    return Hazard(*about, "underflow", max(low)) if low else None


def _peaks(probe: ModelProto, samples: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """The largest answers over all samples."""
    peaks: dict[str, float] = {}
    if not probe.graph.output:
        return peaks
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(probe.SerializeToString())
        backend = OnnxRuntime(path, providers=["CPUExecutionProvider"])
        for inputs in samples:
            for name, answer in ask(backend, inputs).items():
                peaks[name] = float(np.maximum(peaks.get(name, 0.0), answer))
    return peaks


def _probe(model: ModelProto, nodes: Iterable[tuple[NodeProto, list[str]]]) -> ModelProto:
    """The graph with other answers: the largest magnitude of each tensor and the largest sum in each node."""
    probe = ModelProto()
    probe.CopyFrom(model)
    graph, steps = probe.graph, _Steps()
    for node, tensors in nodes:
        for tensor in tensors:
            steps.largest(steps.absolute(tensor), f"{tensor}{PEAK}")
        if (total := steps.total(node)) is not None:
            steps.largest(total, f"{name_of(node)}{SUM}")
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), ONE_HALF))
    graph.node.extend(steps.nodes.values())
    replace(
        graph.output, [helper.make_tensor_value_info(name, TensorProto.FLOAT, ()) for name in steps.answers]
    )
    return probe


class _Steps:
    """Nodes added to a graph, once for each tensor that they make."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeProto] = {}
        self.answers: list[str] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output not in self.nodes:
            self.nodes[output] = helper.make_node(operator, inputs, [output], name=output, **attributes)
        return output

    def absolute(self, tensor: str) -> str:
        return self.add("Abs", [tensor], f"{tensor}|abs") if tensor else ""

    def largest(self, tensor: str, answer: str) -> None:
        if answer not in self.nodes:
            self.answers.append(self.add("ReduceMax", [tensor], answer, keepdims=0))

    def total(self, node: NodeProto) -> str | None:
        """The largest size that a sum inside a node can have on its way, element by element."""
        name = name_of(node)
        if node.op_type in SUMS:
            operator, attributes = SUMS[node.op_type]
            return self._like(node, operator, list(node.input), f"{name}|added", **attributes)
        if node.op_type == "ReduceSum":
            first, *axes = node.input
            return self._like(node, "ReduceSum", [self.absolute(first), *axes], f"{name}|added")
        if (
            node.op_type in HEAVY
        ):  # positive and negative part: half of (sum of magnitudes +- magnitude of sum)
            sizes = self._like(node, node.op_type, [self.absolute(t) for t in node.input], f"{name}|sizes")
            both = self.add("Add", [sizes, self.absolute(node.output[0])], f"{name}|both")
            return self.add("Mul", [both, ONE_HALF], f"{name}|added")
        return None

    def _like(self, node: NodeProto, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        """The operator with a node's attributes and these."""
        if output not in self.nodes:
            self.add(operator, inputs, output, **attributes)
            self.nodes[output].attribute.extend(node.attribute)
        return output
