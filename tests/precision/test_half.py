"""Typed FP16 graphs: which nodes compute in it, where a Cast stands; it is still the same network."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from wholebody.export.precision.always import always_fp32
from wholebody.export.precision.certificate import precision_of_layers
from wholebody.export.precision.graph import HEAVY, element_types, name_of, producers
from wholebody.export.precision.half import to_half
from wholebody.runtime.onnxfile import tensor_types
from wholebody.runtime.spec import CropInput, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
SHAPE = (1, 4, 6, 6)
BLACK, UNIT = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
BOXES = DetectorSpec("boxes", "suppressed", DetectorInput(64, 64, BLACK, UNIT, "rgb"), WEIGHTS)
CROPS = TopDownSpec("crops", "simcc", CropInput(64, 32, BLACK, UNIT, "rgb"), "coco17", WEIGHTS)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=f"n_{output}", **attributes)


def graph(
    nodes: list[NodeProto], outputs: str, weights: dict[str, Any] | None = None, opset: int = 17, ir: int = 8
) -> ModelProto:
    """Of one input x, (1, 4, 6, 6); `w` is always there, a 1 x 1 convolution of four channels."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32), **(weights or {})}
    return helper.make_model(
        helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", FLOAT, SHAPE)],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs.split()],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)], ir_version=ir,
    )  # fmt: skip


def casts(model: ModelProto) -> list[NodeProto]:
    return [n for n in model.graph.node if n.op_type == "Cast"]


def kinds(model: ModelProto) -> dict[str, str]:
    """Of each tensor that a node of the given graph makes, "fp16" or "fp32"."""
    return tensor_types(model.SerializeToString())


def run(model: ModelProto, **inputs: Any) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def x(seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)


def test_everything_in_half_but_the_ends() -> None:
    model = graph([node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Conv", "b w", "y")], "y")
    before = model.SerializeToString()
    half = to_half(model, keep=set())
    assert model.SerializeToString() == before
    assert [n.op_type for n in half.graph.node] == ["Cast", "Conv", "Relu", "Conv", "Cast"]
    assert [v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)] == [FLOAT, FLOAT]
    assert [v.name for v in (*half.graph.input, *half.graph.output)] == ["x", "y"]
    assert [w.data_type for w in half.graph.initializer] == [FLOAT16]
    assert kinds(half) == {
        "x": "fp32",
        "x_fp16": "fp16",
        "a": "fp16",
        "b": "fp16",
        "y_fp16": "fp16",
        "y": "fp32",
    }
    np.testing.assert_allclose(run(half, x=x())[0], run(model, x=x())[0], rtol=0, atol=0.01)


def test_kept_nodes_pass_their_values_on_unrounded() -> None:
    """Three kept in a row: one Cast in, one out, and nothing between them in FP16."""
    nodes = [node("Conv", "x w", "a"), node("Mul", "a big", "b"), node("Mul", "b big", "c"),
             node("Div", "c bigger", "d"), node("Conv", "d w", "y")]  # fmt: skip
    model = graph(nodes, "y", {"big": np.float32(1000), "bigger": np.float32(1e6)})
    half = to_half(model, keep={"n_b", "n_c", "n_d"})
    assert {t: kinds(half)[t] for t in "abcd"} == {"a": "fp16", "b": "fp32", "c": "fp32", "d": "fp32"}
    assert [n.input[0] for n in casts(half)] == ["x", "a", "d", "y_fp16"]
    with np.errstate(over="ignore"):
        (answer,) = ReferenceEvaluator(half).run(None, {"x": x()})
    np.testing.assert_allclose(np.asarray(answer), run(model, x=x())[0], rtol=0, atol=0.01)


def test_readers_of_one_tensor_share_its_cast() -> None:
    nodes = [node("Conv", "x w", "a"), node("Exp", "a", "b"), node("Neg", "a", "c"), node("Add", "b c", "d"),
             node("Conv", "a w", "e"), node("Add", "d e", "y")]  # fmt: skip
    half = to_half(graph(nodes, "y"), keep={"n_b", "n_c", "n_d", "n_y"})
    assert [n.input[0] for n in casts(half)] == ["x", "a", "e"]


def test_a_weight_read_in_both_types_is_there_twice() -> None:
    model = graph([node("Conv", "x w", "a"), node("Conv", "a w", "b"), node("Conv", "b w", "y")], "y")
    half = to_half(model, keep={"n_b"})
    weights = {w.name: w.data_type for w in half.graph.initializer}
    assert weights == {"w": FLOAT, "w_fp16": FLOAT16}
    assert [n.input[1] for n in half.graph.node if n.op_type == "Conv"] == ["w_fp16", "w", "w_fp16"]


def test_what_the_input_gives_to_fp32_passes_no_cast() -> None:
    model = graph([node("Conv", "x w", "a"), node("Add", "a x", "y")], "y")
    half = to_half(model, keep={"n_y"})
    assert next(n for n in half.graph.node if n.op_type == "Add").input[1] == "x"


def test_an_answer_that_is_read_on_keeps_its_name_and_type() -> None:
    model = graph([node("Conv", "x w", "y"), node("Conv", "y w", "z")], "y z")
    half = to_half(model, keep=set())
    assert kinds(half)["y"] == "fp32"
    assert [n.input[0] for n in half.graph.node if n.op_type == "Conv"] == ["x_fp16", "y_fp16"]
    for got, expected in zip(run(half, x=x()), run(model, x=x()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("keep", [{"n_a", "n_d"}, {"n_a", "n_b", "n_d"}])
def test_cheap_operators_between_fp32_are_not_worth_a_cast(keep: set[str]) -> None:
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Neg", "b", "c")]
    nodes += [node("Conv", "c w", "d"), node("Conv", "d w", "y")]
    half = to_half(graph(nodes, "y"), keep=keep)
    assert [n.input[0] for n in casts(half)] == ["d", "y_fp16"]


def test_nothing_in_half_is_no_cast_at_all() -> None:
    model = graph([node("Conv", "x w", "a"), node("Relu", "a", "y")], "y")
    half = to_half(model, keep={"n_a"})
    assert [n.op_type for n in half.graph.node] == ["Conv", "Relu"]
    assert [w.data_type for w in half.graph.initializer] == [FLOAT]


def test_inputs_that_onnx_has_in_fp32_alone_stay() -> None:
    resized = node("Resize", "a _ scales", "b", mode="nearest")
    resized.input[1] = ""
    nodes = [node("Conv", "x w", "a"), resized, node("Conv", "b w", "y")]
    model = graph(nodes, "y", {"scales": np.array([1, 1, 2, 2], np.float32)})
    half = to_half(model, keep=set())
    assert {w.name: w.data_type for w in half.graph.initializer} == {"w": FLOAT16, "scales": FLOAT}
    assert kinds(half)["b"] == "fp16"
    np.testing.assert_allclose(run(half, x=x())[0], run(model, x=x())[0], rtol=0, atol=0.01)


def test_pictures_of_bytes_are_cast_once() -> None:
    model = graph([node("Cast", "pixels", "a", to=FLOAT), node("Conv", "a w", "y")], "y")
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, SHAPE))
    half = to_half(model, keep=set())
    assert [(n.input[0], n.attribute[0].i) for n in casts(half)] == [("pixels", FLOAT16), ("y_fp16", FLOAT)]


def test_constants_and_weights_that_are_inputs() -> None:
    """As files of older exporters have them."""
    value = numpy_helper.from_array(np.full((1, 4, 1, 1), 2, np.float32))
    nodes = [helper.make_node("Constant", [], ["two"], value=value), node("Mul", "x two", "a"),
             node("Conv", "a w", "y")]  # fmt: skip
    model = graph(nodes, "y", opset=8, ir=3)
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, (4, 4, 1, 1)))
    half = to_half(model, keep=set())
    assert [v.name for v in half.graph.input] == ["x"]
    assert {w.name: w.data_type for w in half.graph.initializer} == {"w": FLOAT16, "two": FLOAT16}
    np.testing.assert_allclose(run(half, x=x())[0], run(model, x=x())[0], rtol=0, atol=0.02)


def test_nodes_without_a_name_go_by_their_first_output() -> None:
    model = graph([node("Conv", "x w", "a"), node("Conv", "a w", "y")], "y")
    for one in model.graph.node:
        one.name = ""
    assert kinds(to_half(model, keep={"a"}))["a"] == "fp32"


def test_types_are_told_once() -> None:
    model = graph([node("Conv", "x w", "a"), node("Conv", "a w", "y")], "y")
    model.graph.value_info.extend([helper.make_tensor_value_info("a", FLOAT, SHAPE)] * 3)
    half = to_half(model, keep=set())
    assert sorted(v.name for v in half.graph.value_info) == ["a", "x_fp16", "y_fp16"]


def test_names_that_are_taken() -> None:
    model = graph(
        [node("Conv", "x w", "x_fp16"), node("Conv", "x_fp16 w", "y_fp32"), node("Relu", "y_fp32", "y")], "y"
    )
    np.testing.assert_allclose(
        run(to_half(model, keep=set()), x=x())[0], run(model, x=x())[0], rtol=0, atol=0.01
    )


def test_a_weight_beyond_fp16_is_refused_unless_kept() -> None:
    model = graph([node("Conv", "x huge", "a"), node("Conv", "a w", "y")], "y",
                  {"huge": np.full((4, 4, 1, 1), 1e6, np.float32)})  # fmt: skip
    with pytest.raises(ValueError, match=r"weight huge has 1e\+06, beyond FP16"):
        to_half(model, keep=set())
    assert {"n_a"} <= always_fp32(model, CROPS)
    to_half(model, keep={"n_a"})


def test_what_is_quantized_stays_whole() -> None:
    """Q, DQ, the convolution between them and its Relu: a Cast there would keep them apart."""
    numbers = {"s": np.float32(0.05), "z": np.int8(0), "q": np.ones((4, 4, 1, 1), np.int8)}
    nodes = [
        node("Conv", "x w", "a"),
        node("QuantizeLinear", "a s z", "aq"),
        node("DequantizeLinear", "aq s z", "ad"),
        node("DequantizeLinear", "q s z", "qd"),
        node("Conv", "ad qd", "b"),
        node("Relu", "b", "c"),
        node("QuantizeLinear", "c s z", "cq"),
        node("DequantizeLinear", "cq s z", "cd"),
        node("Conv", "cd qd", "d"),
        node("Conv", "d w", "y"),
    ]
    half = to_half(graph(nodes, "y", numbers), keep=set())
    assert [kinds(half)[tensor] for tensor in "abcd"] == ["fp16", "fp32", "fp32", "fp32"]
    assert [n.input[0] for n in casts(half)] == ["x", "a", "d", "y_fp16"]


def test_a_layer_that_reads_what_was_rounded_for_another_may_be_in_half() -> None:
    numbers = {"s": np.float32(0.05), "z": np.int8(0), "q": np.ones((4, 4, 1, 1), np.int8)}
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "q s z", "qd"),
        node("Conv", "xd qd", "a"),
        node("Conv", "xd w", "b"),
    ]
    half = to_half(graph(nodes, "a b", numbers), keep=set())
    assert precision_of_layers(half) == {"int8": ["n_a"], "fp16": ["n_b"], "fp32": []}
    assert [n.input[0] for n in casts(half)] == ["xd", "b_fp16"]


def test_sizes_and_whole_numbers_are_read_from_either_type() -> None:
    nodes = [
        node("Conv", "x w", "a"),
        node("Shape", "a", "size"),
        node("Cast", "a", "whole", to=TensorProto.INT64),
        node("Expand", "whole size", "same"),
        node("Conv", "a w", "y"),
    ]
    half = to_half(graph(nodes, "y"), keep=set())
    reads = {n.op_type: n.input[0] for n in half.graph.node if n.output[0] in ("size", "whole")}
    assert reads == {"Shape": "a", "Cast": "a"}
    assert kinds(half) == {**kinds(half), "a": "fp16", "size": "other", "whole": "other", "same": "other"}


def test_what_a_graph_inside_reads_has_its_name_in_fp32() -> None:
    answer = helper.make_tensor_value_info("inner", FLOAT, SHAPE)
    inside = helper.make_graph([helper.make_node("Neg", ["a"], ["inner"])], "inside", [], [answer])
    choice = node("If", "yes", "b", then_branch=inside, else_branch=inside)
    nodes = [node("Conv", "x w", "a"), choice, node("Conv", "b w", "y")]
    model = graph(nodes, "y", {"yes": np.array(True)})
    half = to_half(model, keep=set())
    assert kinds(half)["a"] == "fp32"
    np.testing.assert_allclose(run(half, x=x())[0], run(model, x=x())[0], rtol=0, atol=0.01)


# --- any graph ----------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[ModelProto, set[str]]:
    """A network of some ten operators, of which some are kept."""
    tensors, nodes = ["x"], list[NodeProto]()
    for i in range(draw(st.integers(1, 10))):
        operator = draw(st.sampled_from(["Conv", "Relu", "Sigmoid", "Add", "Mul", "Concat"]))
        first, second = (draw(st.sampled_from(tensors)) for _ in range(2))
        if operator == "Concat":  # of the first two channels of each, so that all have four
            halves = [node("Slice", f"{t} zero two one", f"h{i}{k}") for k, t in enumerate((first, second))]
            nodes += [*halves, node("Concat", f"h{i}0 h{i}1", f"t{i}", axis=1)]
        else:
            inputs = {"Conv": f"{first} w", "Add": f"{first} {second}", "Mul": f"{first} {second}"}
            nodes.append(node(operator, inputs.get(operator, first), f"t{i}"))
        tensors.append(f"t{i}")
    unread = [t for t in tensors if not any(t in n.input for n in nodes)]
    outputs = sorted({*unread, draw(st.sampled_from(tensors[1:]))})
    numbers = {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])}
    keep = draw(st.sets(st.sampled_from([n.name for n in nodes])))
    return graph(nodes, " ".join(outputs), numbers), keep


@given(graphs())
def test_any_graph_is_the_same_network_with_no_cast_too_many(drawn: tuple[ModelProto, set[str]]) -> None:
    model, keep = drawn
    half = to_half(model, keep=keep)
    types, made = element_types(half.graph), producers(half.graph)
    for one in half.graph.node:
        read = {types[t] for t in one.input if types[t] in (FLOAT, FLOAT16)}
        if one.op_type != "Cast":
            assert len(read) <= 1
            assert name_of(one) not in keep or read <= {FLOAT}
            assert read == {FLOAT16} or one.op_type != "Conv" or name_of(one) in keep
    sources = Counter(one.input[0] for one in casts(half))
    assert max(sources.values(), default=1) == 1
    assert not any(made[t].op_type == "Cast" for t in sources if t in made)
    told = [v.name for v in half.graph.value_info]
    assert len(set(told)) == len(told)
    readers = {t for one in half.graph.node for t in one.input} | {v.name for v in half.graph.output}
    assert all(one.output[0] in readers for one in casts(half))
    picture = np.clip(x(), -1, 1) * np.float32(0.5)
    for got, expected in zip(run(half, x=picture), run(model, x=picture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.02)


# --- the students -------------------------------------------------------------------------------------------


def test_a_dope_student(tiny_dope_onnx: ModelProto) -> None:
    """Its boxes and poses are decoded, and suppressed, in FP32; all products are in FP16."""
    half = to_half(tiny_dope_onnx, keep=always_fp32(tiny_dope_onnx, BOXES))
    types, made = element_types(half.graph), producers(half.graph)
    operators = {n.op_type: n for n in half.graph.node}
    boxes = (*operators["NonMaxSuppression"].input[:2], *operators["RoiAlign"].input[:2])
    decoding = [n for n in half.graph.node if n.op_type in ("Exp", "TopK", "Softmax")]
    assert {types[t] for t in (*boxes, *(n.input[0] for n in decoding))} == {FLOAT}
    assert {types[n.output[0]] for n in half.graph.node if n.op_type in HEAVY} == {FLOAT16}
    assert all(made[v.name].op_type != "Cast" for v in half.graph.output)
    assert "size" not in {n.input[0] for n in casts(half)}
    assert {o.version for o in half.opset_import} == {17}
    picture = np.random.default_rng(0).normal(0, 1, (1, 3, 96, 128)).astype(np.float32)
    inputs = {"image": picture, "size": np.array([96, 128], np.float32)}
    got, expected = run(half, **inputs), run(tiny_dope_onnx, **inputs)
    assert all(np.isfinite(array).all() for array in got)
    assert [a.shape for a in got] == [a.shape for a in expected]


def test_a_top_down_student(tiny_rtmpose_onnx: ModelProto) -> None:
    """Its norms are in FP32, at the price of one Cast to each and one from it."""
    half = to_half(tiny_rtmpose_onnx, keep=always_fp32(tiny_rtmpose_onnx, CROPS))
    types = element_types(half.graph)
    norms = [n for n in half.graph.node if n.op_type in ("ReduceL2", "Clip")]
    norms += [n for n in half.graph.node if n.op_type == "Div" and n.input[1] in {c.output[0] for c in norms}]
    assert [n.op_type for n in norms].count("Div") == 2
    assert {types[t] for n in norms for t in (n.input[0], n.output[0])} == {FLOAT}
    assert len(casts(half)) == 1 + 2 * 2 + 2  # picture, two norms, two answers
    crops = np.random.default_rng(0).normal(0, 1, (3, 3, 64, 32)).astype(np.float32)
    for got, expected in zip(run(half, image=crops), run(tiny_rtmpose_onnx, image=crops), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=0.02 * np.abs(expected).max())
