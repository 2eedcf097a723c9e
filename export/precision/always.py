"""What no measurement decides: the nodes that stay in FP32 in every student.

Coordinates: a half has a step of 1 pixel above 1024, so anchors, the decode of boxes and poses and
suppression stay. Norms: a sum of squares leaves the range of FP16, 65504, long before its vector does;
the answer is then finite and wrong. TensorRT makes a square, a sum and a root of ReduceL2, so that the sum
overflows where no tensor of the ONNX file does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from wholebody.export.precision.graph import HEAVY, consumers, name_of, producers
from wholebody.runtime.spec import AnySpec, TopDownSpec

__all__ = ["always_fp32", "held_by_half"]

NORMS = frozenset(
    {
        "LpNormalization", "LpPool", "GlobalLpPool", "ReduceLogSumExp", "InstanceNormalization",
        "LayerNormalization", "GroupNormalization", "MeanVarianceNormalization",
    }
)  # fmt: skip
SUMS_OF_SQUARES = frozenset({"ReduceL2", "ReduceSumSquare"})
SUMS = frozenset({"ReduceSum", "ReduceMean", "GlobalAveragePool"})
COORDINATES = frozenset({"NonMaxSuppression", "TopK", "RoiAlign"})  # all or some of their inputs are such
LOSS = 2.0**-10  # relative; rounding to normal halves loses half of it at most


def always_fp32(model: ModelProto, spec: AnySpec) -> set[str]:
    """Names of the nodes that `to_half` must keep: decode, anchors, suppression, norms, unfit weights.

    What a top-down student answers is how likely each place is, and no coordinates: it need not stay.
    """
    graph = model.graph
    answers = [] if isinstance(spec, TopDownSpec) else [value.name for value in graph.output]
    kept = [*_decoding(graph, answers), *_normalizing(graph), *_unfit(graph)]
    return {name_of(node) for node in kept}


def _decoding(graph: GraphProto, answers: list[str]) -> Iterator[NodeProto]:
    """From the answers, and from what suppression and pooling of regions read, up to the last product."""
    made, seen, todo = producers(graph), set[str](), list(answers)
    for node in graph.node:
        if node.op_type in COORDINATES:
            yield node
            todo += node.input[1:] if node.op_type == "RoiAlign" else node.input
    while todo:
        node = made.get(tensor := todo.pop())
        if node is None or tensor in seen or node.op_type in HEAVY:
            continue
        seen.add(tensor)
        yield node
        todo += node.input


def _normalizing(graph: GraphProto) -> Iterator[NodeProto]:
    """Norms; of a sum of squares also what is computed of it alone, and what applies it."""
    made, readers = producers(graph), consumers(graph)
    constant = {weight.name for weight in graph.initializer}
    constant |= {t for t, node in made.items() if node.op_type == "Constant"}
    for node in graph.node:
        squares = [made[t] for t in node.input if t in made and _is_square(made[t])]
        if node.op_type in NORMS:
            yield node
        elif node.op_type in SUMS_OF_SQUARES or (node.op_type in SUMS and squares):
            yield from squares
            yield from _applied(node, readers, constant)


def _is_square(node: NodeProto) -> bool:
    return node.op_type == "Pow" or (node.op_type == "Mul" and len({*node.input}) == 1)


def _applied(
    norm: NodeProto, readers: Mapping[str, list[NodeProto]], constant: AbstractSet[str]
) -> Iterator[NodeProto]:
    todo = [norm]
    while todo:
        node = todo.pop()
        if node.op_type in HEAVY:
            continue
        yield node
        if node is norm or len({*node.input} - constant) == 1:
            todo += [reader for tensor in node.output for reader in readers.get(tensor, ())]


def _unfit(graph: GraphProto) -> Iterator[NodeProto]:
    """Nodes with a weight that FP16 cannot hold: beyond its range, or all of it below."""
    unfit = {w.name for w in graph.initializer if not _fits(w)}
    for node in graph.node:
        if unfit.intersection(node.input):
            yield node


def _fits(weight: TensorProto) -> bool:
    return weight.data_type != TensorProto.FLOAT or held_by_half(numpy_helper.to_array(weight))


def held_by_half(numbers: NDArray[np.generic]) -> bool:
    """Whether FP16 holds these numbers about as well as it holds any of its normal range."""
    exact = np.asarray(numbers, np.float64)
    exact = exact[np.isfinite(exact)]
    with np.errstate(over="ignore"):
        lost = np.linalg.norm(exact.astype(np.float16) - exact)
    return bool(lost <= LOSS * np.linalg.norm(exact))
