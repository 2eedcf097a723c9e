"""Graphs in INT8 for TensorRT: symmetric, without zero points, weights per channel, sums as it fuses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.int8 import to_int8
from wholebody.export.precision.prepare import prepared
from wholebody.export.precision.simulation import Simulated

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass
class Graph:
    """A graph's nodes by what they make and read, and its weights."""

    model: ModelProto
    made: Mapping[str, NodeProto] = field(init=False)
    weights: Mapping[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.made = {tensor: node for node in self.model.graph.node for tensor in node.output}
        self.weights = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    def of_type(self, *operators: str) -> Iterator[NodeProto]:
        return (node for node in self.model.graph.node if node.op_type in operators)

    def readers(self, tensor: str) -> list[NodeProto]:
        return [node for node in self.model.graph.node if tensor in node.input]

    def maker(self, tensor: str) -> str:
        """The operator that makes a tensor; "" for a weight or input."""
        return self.made[tensor].op_type if tensor in self.made else ""

    def layers(self, *, quantized: bool) -> list[NodeProto]:
        return [n for n in self.of_type(*LAYERS) if (self.maker(n.input[1]) == DEQUANTIZE) == quantized]

    def rounded_from(self, tensor: str) -> str:
        """The tensor whose Q/DQ pair this is the answer of."""
        return self.made[self.made[tensor].input[0]].input[0]


def assert_no_orphans(graph: Graph) -> None:
    """Every Q is read by a DQ and by nothing else; every DQ reads a Q or a stored integer."""
    for node in graph.of_type(QUANTIZE):
        readers = graph.readers(node.output[0])
        assert readers, node.name
        assert {reader.op_type for reader in readers} == {DEQUANTIZE}, node.name
    for node in graph.of_type(DEQUANTIZE):
        assert graph.readers(node.output[0]), node.name
        assert graph.maker(node.input[0]) == QUANTIZE or node.input[0] in graph.weights, node.name


def assert_s8s8(made: ModelProto, original: ModelProto) -> None:
    """Symmetric, zero points 0, weights per channel in float, float bias, floating answers."""
    graph, before = Graph(made), Graph(original)
    assert [(o.domain, o.version <= 17) for o in made.opset_import] == [("", True)]
    assert made.ir_version <= 8
    assert_no_orphans(graph)
    for node in graph.of_type(QUANTIZE, DEQUANTIZE):
        scale, zero = graph.weights[node.input[1]], graph.weights[node.input[2]]
        assert zero.dtype == np.int8, node.name
        assert not zero.any(), node.name
        assert scale.dtype == np.float32, node.name
        assert np.all(scale > 0), node.name
        assert scale.shape == zero.shape, node.name
    for node in graph.layers(quantized=True):
        assert graph.maker(node.input[0]) == DEQUANTIZE, node.name
        assert graph.maker(graph.made[node.input[0]].input[0]) == QUANTIZE, node.name
        assert len(node.input) < 3 or node.input[2] in graph.weights, f"bias of {node.name}"
        _assert_weight(graph, before, node)
    rounded = {graph.rounded_from(n.input[0]) for n in graph.layers(quantized=True)}
    residuals = set(assert_residuals(graph))
    activations = {n.input[0] for n in graph.of_type(QUANTIZE)} - set(graph.weights)
    assert activations == rounded | residuals  # and nothing else: what layers answer stays floating


def _assert_weight(graph: Graph, before: Graph, node: NodeProto) -> None:
    dequantize = graph.made[node.input[1]]
    quantize = graph.made[dequantize.input[0]]
    weight, scale = graph.weights[quantize.input[0]], graph.weights[quantize.input[1]]
    axis = channel_axis(node)
    for pair in (quantize, dequantize):
        assert helper.get_node_attr_value(pair, "axis") == axis, node.name
    np.testing.assert_array_equal(weight, before.weights[quantize.input[0]])
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peaks = np.abs(weight).max(axis=others)
    np.testing.assert_allclose(scale[peaks > 0], (peaks / 127)[peaks > 0], rtol=1e-5)


def channel_axis(node: NodeProto) -> int:
    """Of a layer's weight, the axis of its answers."""
    if node.op_type == "Conv":
        return 0
    transposed = {a.name: a.i for a in node.attribute}.get("transB", 0)
    return 0 if transposed else 1


def assert_residuals(graph: Graph) -> Iterator[str]:
    """Sums with one Q/DQ pair: on the branch that no convolution ends in but the other one does."""
    for node in graph.of_type("Add"):
        pairs = [tensor for tensor in node.input if graph.maker(tensor) == DEQUANTIZE]
        if pairs:
            (pair,) = pairs
            (other,) = (tensor for tensor in node.input if tensor != pair)
            assert graph.maker(other) in ("Conv", "Relu", "Mul"), node.name
            assert not [r for r in graph.readers(other) if r.op_type == QUANTIZE], node.name
            yield graph.rounded_from(pair)


# --- students -----------------------------------------------------------------------------------------------

FLOATING = ("Exp", "NonMaxSuppression", "ReduceL2", "RoiAlign", "Sigmoid", "Softmax", "TopK")


@pytest.fixture(params=["tiny_dope_onnx", "tiny_rtmpose_onnx"])
def student(request: pytest.FixtureRequest) -> ModelProto:
    """A DOPE student and a top-down one."""
    model: ModelProto = request.getfixturevalue(request.param)
    return model


def test_every_layer_as_tensorrt_wants_it(
    student: ModelProto, noise: Callable[..., Any], cache: Path
) -> None:
    made = to_int8(student, noise(student), target="tensorrt", method="minmax")
    assert_s8s8(made, student)
    graph = Graph(made)
    constant = set(graph.weights)
    left = [n.name for n in graph.layers(quantized=False) if n.input[1] in constant]
    assert left == []


def test_what_is_no_layer_stays_floating(student: ModelProto, noise: Callable[..., Any], cache: Path) -> None:
    """What Q/DQ pairs stand around are layers and sums; a pair before one may be before others, too."""
    graph = Graph(to_int8(student, noise(student), target="tensorrt", method="minmax"))
    for node in graph.of_type(*FLOATING):
        assert not [r for t in node.output for r in graph.readers(t) if r.op_type == DEQUANTIZE], node.name
    before = {n.name for n in student.graph.node}
    assert before == {n.name for n in graph.model.graph.node if n.op_type not in (QUANTIZE, DEQUANTIZE)}


def test_one_pair_for_every_residual_block(
    tiny_dope_onnx: ModelProto, noise: Callable[..., Any], cache: Path
) -> None:
    """A block whose branch around is a convolution of its own has that one rounded."""
    graph = Graph(to_int8(tiny_dope_onnx, noise(tiny_dope_onnx), target="tensorrt", method="minmax"))
    residuals = list(assert_residuals(graph))
    sums = [n for n in graph.of_type("Add") if graph.maker(n.output[0] or "") and _is_residual(graph, n)]
    assert len(residuals) == len(sums) == 4  # one a stage: each with a convolution on either branch
    assert {graph.maker(tensor) for tensor in residuals} == {"Conv"}


def _is_residual(graph: Graph, node: NodeProto) -> bool:
    return [r.op_type for r in graph.readers(node.output[0])] == ["Relu"]


def test_the_given_model_is_not_changed(student: ModelProto, noise: Callable[..., Any], cache: Path) -> None:
    before = student.SerializeToString(deterministic=True)
    to_int8(student, noise(student), target="tensorrt", method="minmax")
    assert student.SerializeToString(deterministic=True) == before


def test_it_answers_alike(tiny_rtmpose_onnx: ModelProto, noise: Callable[..., Any], cache: Path) -> None:
    samples = noise(tiny_rtmpose_onnx)
    exact = Simulated(prepared(tiny_rtmpose_onnx))
    rounded = Simulated(to_int8(tiny_rtmpose_onnx, samples, target="tensorrt", method="minmax"))
    for sample in samples:
        for ours, theirs in zip(rounded(*sample.values()), exact(*sample.values()), strict=True):
            a, b = np.asarray(ours, np.float32).ravel(), np.asarray(theirs, np.float32).ravel()
            assert not np.array_equal(a, b)
            assert np.corrcoef(a, b)[0, 1] > 0.98


@pytest.mark.parametrize("kept", ["first", "last", "all"])
def test_what_is_excluded_stays_floating(
    tiny_rtmpose_onnx: ModelProto, noise: Callable[..., Any], cache: Path, kept: str
) -> None:
    layers = [n.name for n in tiny_rtmpose_onnx.graph.node if n.op_type == "Conv"]
    exclude = {
        "first": layers[:1],
        "last": layers[-1:],
        "all": [n.name for n in tiny_rtmpose_onnx.graph.node],
    }
    made = to_int8(
        tiny_rtmpose_onnx, noise(tiny_rtmpose_onnx), target="tensorrt", method="minmax",
        exclude=set(exclude[kept]),
    )  # fmt: skip
    assert_s8s8(made, tiny_rtmpose_onnx)
    graph = Graph(made)
    assert {n.name for n in graph.layers(quantized=False)} >= set(exclude[kept]) & set(layers)
    assert not {n.name for n in graph.layers(quantized=True)} & set(exclude[kept])
    assert bool(list(graph.of_type(QUANTIZE))) == (kept != "all")


# --- small graphs -------------------------------------------------------------------------------------------


def small(nodes: list[NodeProto], weights: Mapping[str, NDArray[Any]], channels: int = 3) -> ModelProto:
    """A graph from "x" (1, 3, 8, 8) to "y"."""
    shape = [1, channels, 8, 8]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv(given: str, made: str, weight: str = "w") -> NodeProto:
    return helper.make_node("Conv", [given, weight], [made], f"conv_{made}", pads=[1, 1, 1, 1])


W = np.random.default_rng(1).normal(size=(3, 3, 3, 3)).astype(np.float32)


def test_a_sum_that_ends_no_block_stays_floating(noise: Callable[..., Any], cache: Path) -> None:
    """The decode of boxes adds, too, and no layer follows."""
    model = small(
        [conv("x", "a"), conv("a", "b"), helper.make_node("Add", ["a", "b"], ["y"], "sum")], {"w": W}
    )
    graph = Graph(to_int8(model, noise(model), target="tensorrt", method="minmax"))
    assert_s8s8(graph.model, model)
    assert list(assert_residuals(graph)) == []


def test_the_branch_around_is_the_shorter_one(noise: Callable[..., Any], cache: Path) -> None:
    model = small(
        [
            conv("x", "a"), conv("a", "b"), helper.make_node("Relu", ["b"], ["c"], "relu"), conv("c", "d"),
            helper.make_node("Add", ["d", "a"], ["e"], "sum"), conv("e", "y"),
        ],
        {"w": W},
    )  # fmt: skip
    graph = Graph(to_int8(model, noise(model), target="tensorrt", method="minmax"))
    assert_s8s8(graph.model, model)
    assert list(assert_residuals(graph)) == ["a"]


def test_a_layer_that_never_answers_anything_else_stays_floating(
    given: Callable[..., Any], cache: Path
) -> None:
    """A dead layer's answers have no range to divide, and neither has what is made of them alone."""
    model = small([conv("x", "a", "dead"), conv("a", "b"), conv("x", "c"),
                   helper.make_node("Concat", ["b", "c"], ["d"], "join", axis=1),
                   helper.make_node("Conv", ["d", "v"], ["y"], "conv_y")],
                  {"w": W, "dead": 0 * W, "v": np.ones((2, 6, 1, 1))})  # fmt: skip
    rng = np.random.default_rng(0)
    samples = given(*({"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(3)))
    graph = Graph(to_int8(model, samples, target="tensorrt", method="minmax"))
    assert {n.name for n in graph.layers(quantized=False)} == {"conv_a", "conv_b"}
    assert {n.name for n in graph.layers(quantized=True)} == {"conv_c", "conv_y"}


def test_it_survives_a_file(tiny_rtmpose_onnx: ModelProto, noise: Callable[..., Any], cache: Path) -> None:
    made = to_int8(tiny_rtmpose_onnx, noise(tiny_rtmpose_onnx), target="tensorrt", method="minmax")
    path = cache.parent / "student.onnx"
    onnx.save(made, path)
    onnx.checker.check_model(str(path), full_check=True)
