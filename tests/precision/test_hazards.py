"""Which nodes leave FP16's range: found from what the FP32 graph computes on samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.hazards import fp32_nodes, half_hazards
from wholebody.runtime.backends.backend import Array
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec

SHAPE = (1, 4, 3, 3)
CROPS = TopDownSpec(
    name="crops",
    head="simcc",
    input=CropInput(64, 32, (0, 0, 0), (1, 1, 1), "rgb"),
    skeleton="coco17",
    weights=WeightsSpec("made up", "0" * 64, "none"),
)
ONES = {"x": np.ones(SHAPE, np.float32)}


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=f"n_{output}", **attributes)


def graph(nodes: list[NodeProto], **weights: Any) -> ModelProto:
    """Of one input x, (1, 4, 3, 3), and one answer y."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def found(model: ModelProto, *samples: Mapping[str, Array], **options: Any) -> dict[str, str]:
    hazards = half_hazards(model, samples or [ONES], **options)
    assert all(name == hazard.node for name, hazard in hazards.items())
    return {name: hazard.kind for name, hazard in hazards.items()}


def test_a_calm_graph_has_none() -> None:
    assert found(graph([node("Mul", "x ten", "a"), node("Relu", "a", "y")], ten=10)) == {}


def test_values_too_large_concern_who_makes_and_who_reads_them() -> None:
    nodes = [
        node("Mul", "x big", "a"),
        node("Relu", "a", "b"),
        node("Div", "b big", "c"),
        node("Neg", "c", "y"),
    ]
    model = graph(nodes, big=1e5)
    assert found(model) == {"n_a": "value", "n_b": "value", "n_c": "value"}
    assert found(model, keep={"n_a", "n_b"}) == {"n_c": "value"}


def test_the_largest_of_all_samples_counts() -> None:
    model = graph([node("Mul", "x hundred", "y")], hundred=100)
    samples = [{"x": np.full(SHAPE, size, np.float32)} for size in (1, -200, 3)]
    (hazard,) = half_hazards(model, samples).values()
    assert hazard.reached == pytest.approx(20000)
    assert found(model, *samples, share=0.5) == {}


def test_values_too_small_to_be_told_apart() -> None:
    model = graph([node("Mul", "x tiny", "a"), node("Div", "a tiny", "y")], tiny=3e-5)
    assert found(model) == {"n_a": "underflow", "n_y": "underflow"}
    assert found(graph([node("Sub", "x x", "y")])) == {}  # nothing but zeros is no loss


def test_no_number_is_a_hazard() -> None:
    assert found(graph([node("Log", "x", "a"), node("Relu", "a", "y")]), {"x": -ONES["x"]})["n_a"] == "value"


@pytest.mark.parametrize(
    "operator", ["ReduceL2", "ReduceSumSquare", "ReduceMean", "ReduceSum", "GlobalAveragePool"]
)
def test_sums_are_seen_where_values_are_not(operator: str) -> None:
    """36 numbers of magnitude 1000, half of them negative: their sum is 0, on its way it is not."""
    x = np.where(np.indices(SHAPE).sum(axis=0) % 2, 1000, -1000).astype(np.float32)
    inputs = {"x": x}
    kind = found(graph([node(operator, "x", "a"), node("Relu", "a", "y")]), inputs)
    assert kind.get("n_a") == {"ReduceSumSquare": "value", "GlobalAveragePool": None}.get(operator, "sum")
    assert found(graph([node(operator, "x", "y")]), {"x": x / 1000}) == {}


def test_an_average_over_a_large_map() -> None:
    """Channel attention: the average of 64 x 64 numbers is small, their sum is not."""
    model = graph([node("GlobalAveragePool", "x", "y")])
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 64, 64)))
    assert found(model, {"x": np.full((1, 4, 64, 64), 8, np.float32)}) == {"n_y": "sum"}


def test_a_product_is_bounded_by_its_worst_order() -> None:
    """Two positive and two negative terms of 20000: whoever adds the positive ones first holds 40000."""
    weight = np.array([20000, 20000, -20000, -20000], np.float32).reshape(1, 4, 1, 1)
    model = graph([node("Conv", "x w", "y")], w=weight)
    (hazard,) = half_hazards(model, [ONES]).values()
    assert (hazard.kind, hazard.reached) == ("sum", pytest.approx(40000))
    assert str(hazard) == "Conv n_y: what it adds up reaches 4e+04 (FP16: 6.1e-05 to 65504)"
    assert found(graph([node("Conv", "x w", "y")], w=np.abs(weight) / 20)) == {}


def test_products_with_a_bias_and_of_two_activations() -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", "g"), node("Transpose", "g", "t"),
             node("MatMul", "t g", "y")]  # fmt: skip
    weights = {"w": np.full((36, 2), 10, np.float32), "b": np.array([100, -100], np.float32)}
    kinds = found(graph(nodes, **weights), share=0.01)
    assert kinds == {"n_y": "value"}  # 460 x 460; the Gemm reaches 460
    assert found(graph(nodes, **weights), share=0.006)["n_g"] == "value"


def test_kept_nodes_are_not_looked_at() -> None:
    model = graph([node("Mul", "x big", "a"), node("Div", "a big", "y")], big=1e5)
    assert found(model, keep={"n_a", "n_y"}) == {}


def test_some_of_many_samples_are_enough() -> None:
    """Spread over all of them, with the first."""

    class Many:
        def __len__(self) -> int:
            return 100

        def __iter__(self) -> Iterator[Mapping[str, Array]]:
            for i in range(100):
                yield {"x": np.full(SHAPE, 1e5 if i % 6 == 0 and i > 60 else 1, np.float32)}

    model = graph([node("Conv", "x w", "a"), node("Relu", "a", "y")], w=np.ones((4, 4, 1, 1), np.float32))
    assert fp32_nodes(model, CROPS, Many()) == {"n_a", "n_y"}
    assert fp32_nodes(model, CROPS, [ONES]) == set()


def test_a_student_with_regions(tiny_dope_onnx: ModelProto) -> None:
    """Whose proposals may be none; and the analysis changes nothing."""
    before = tiny_dope_onnx.SerializeToString()
    inputs = {"image": np.zeros((1, 3, 96, 128), np.float32), "size": np.array([96, 128], np.float32)}
    kinds = found(tiny_dope_onnx, inputs)
    assert set(kinds.values()) <= {"value", "sum", "underflow"}
    assert tiny_dope_onnx.SerializeToString() == before
