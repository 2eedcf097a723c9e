"""Graphs in INT8 for onnxruntime on a CPU: what it runs is what the graph says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.fused import fused_for_onnxruntime, write_out_short_terms
from wholebody.export.precision.int8 import to_int8
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.backends.onnxrt import OnnxRuntime

RNG = np.random.default_rng(0)


def graph_of(nodes: list[NodeProto], given: list[int], **weights: NDArray[Any]) -> ModelProto:
    """From "x" of a shape to "y"."""
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in weights.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def random(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def test_a_layer_in_floating_point_stays_so_between_others_in_int8(
    noise: Callable[..., Any], cache: Path
) -> None:
    """onnxruntime's optimizer would round its weights, all of them to nothing beside the large ones."""
    first, middle = random(8, 3, 3, 3), random(8, 8, 1, 1) / 4
    first[0], middle[:, 0] = 0.001 * first[0], 100
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["t"], "first"),
        helper.make_node("Conv", ["t", "b"], ["u"], "middle"),
        helper.make_node("Conv", ["u", "c"], ["v"], "third"),
        helper.make_node("Conv", ["v", "c"], ["y"], "last"),
    ]
    model = graph_of(nodes, [1, 3, 6, 6], a=first, b=middle, c=random(8, 8, 1, 1) / 4)
    samples = noise(model)
    made = to_int8(model, samples, target="cpu", method="minmax", exclude={"middle"})
    path = cache.parent / "mixed.onnx"
    onnx.save(made, path)
    sample = next(iter(samples))["x"]
    (as_written,) = Simulated(made)(sample)
    (as_run,) = OnnxRuntime(path, providers=["CPUExecutionProvider"], threads=1)(sample)
    assert_near(as_run, as_written, 0.03 * np.abs(as_written).max())


def assert_near(ours: NDArray[Any], theirs: NDArray[Any], most: float) -> None:
    np.testing.assert_allclose(np.asarray(ours, np.float32), np.asarray(theirs, np.float32), atol=most)


@pytest.mark.parametrize("swapped", [False, True])
def test_fusing_changes_no_answer(swapped: bool) -> None:
    product = ["x", "gate"][:: -1 if swapped else 1]
    model = graph_of(
        [
            helper.make_node("Sigmoid", ["x"], ["gate"], "gate"),
            helper.make_node("Mul", product, ["silu"], "silu"),
            helper.make_node("ReduceMean", ["silu"], ["mean"], "mean", axes=[2, 3]),
            helper.make_node("Add", ["silu", "mean"], ["y"], "sum"),
        ],
        [2, 4, 5, 6],
    )
    before = Simulated(model)(x := random(2, 4, 5, 6))
    fused_for_onnxruntime(model)
    assert [node.op_type for node in model.graph.node] == ["QuickGelu", "GlobalAveragePool", "Add"]
    assert_near(Simulated(model)(x)[0], before[0], 1e-6)


def test_a_gate_that_others_read_stays() -> None:
    model = graph_of(
        [
            helper.make_node("Sigmoid", ["x"], ["gate"], "gate"),
            helper.make_node("Mul", ["x", "gate"], ["silu"], "silu"),
            helper.make_node("Add", ["silu", "gate"], ["y"], "sum"),
        ],
        [1, 2, 3, 3],
    )
    fused_for_onnxruntime(model)
    assert [node.op_type for node in model.graph.node] == ["Sigmoid", "Mul", "Add"]


@pytest.mark.parametrize(
    ("shape", "repeated", "written_out"),
    [
        ((6, 4, 84, 2), (6, 1, 1, 2), True),  # the corner of a box, added to its poses' joints
        ((6, 4, 84, 2), (6, 1, 84, 2), False),  # long enough
        ((6, 4, 84, 32), (6, 1, 1, 32), False),
        ((6, 4, 1, 2), (6, 1, 1, 2), False),
        ((6, 2), (1, 2), False),
    ],
)
@pytest.mark.parametrize("operator", ["Add", "Mul"])
def test_short_terms_are_written_out(
    shape: tuple[int, ...], repeated: tuple[int, ...], written_out: bool, operator: str
) -> None:
    node = helper.make_node(operator, ["term", "x"], ["y"], "y")
    model = graph_of([node], list(shape), term=random(*repeated))
    model.graph.value_info.append(helper.make_tensor_value_info("term", TensorProto.FLOAT, repeated))
    (before,) = Simulated(model)(x := random(*shape))
    write_out_short_terms(model, set())
    assert [n.op_type for n in model.graph.node] == (["Expand"] if written_out else []) + [operator]
    np.testing.assert_array_equal(Simulated(model)(x)[0], before)


def test_what_is_joined_has_the_joins_scale(noise: Callable[..., Any], cache: Path) -> None:
    """So that onnxruntime copies it; but for what is read elsewhere, too."""
    model = graph_of(
        [
            helper.make_node("Conv", ["x", "w"], ["alone"], "alone"),
            helper.make_node("Conv", ["x", "v"], ["large"], "large"),
            helper.make_node("Conv", ["x", "w"], ["shared"], "shared"),
            helper.make_node("Concat", ["alone", "large", "shared"], ["all"], "join", axis=1),
            helper.make_node("Conv", ["all", "u"], ["t"], "after"),
            helper.make_node("Conv", ["shared", "w"], ["s"], "aside"),
            helper.make_node("Add", ["t", "s"], ["r"], "sum"),
            helper.make_node("Conv", ["r", "w"], ["y"], "last"),
        ],
        [1, 3, 6, 6], w=random(3, 3, 1, 1), v=9 * random(3, 3, 1, 1), u=random(3, 9, 1, 1),
    )  # fmt: skip
    made = to_int8(model, noise(model), target="cpu", method="minmax")
    scales = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer if t.name.endswith("_scale")}
    assert scales["alone_scale"] == scales["large_scale"] == scales["all_scale"] > scales["shared_scale"]
