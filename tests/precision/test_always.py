"""Which nodes stay in FP32 by rule: what decodes, suppresses and normalises, and weights FP16 cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.always import always_fp32, held_by_half
from wholebody.export.precision.graph import HEAVY
from wholebody.runtime.spec import CropInput, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

BLACK, UNIT = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
BOXES = DetectorSpec("boxes", "suppressed", DetectorInput(64, 64, BLACK, UNIT, "rgb"), WEIGHTS)
CROPS = TopDownSpec("crops", "simcc", CropInput(64, 32, BLACK, UNIT, "rgb"), "coco17", WEIGHTS)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=output, **attributes)


def graph(nodes: list[NodeProto], outputs: str, **weights: Any) -> ModelProto:
    arrays = {
        "w": np.ones((4, 4, 1, 1), np.float32),
        "floor": np.float32(1e-5),
        "scale": np.float32(0.5),
    } | weights
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 6, 6))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.split()],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )


def test_a_detector_decodes_in_fp32_down_to_its_last_convolutions() -> None:
    nodes = [
        node("Conv", "x w", "features"),
        node("Relu", "features", "active"),
        node("Conv", "active w", "offsets"),
        node("Exp", "offsets", "sides"),
        node("Add", "sides x", "boxes"),
    ]
    assert always_fp32(graph(nodes, "boxes"), BOXES) == {"sides", "boxes"}


def test_the_answers_of_a_top_down_student_are_no_coordinates() -> None:
    model = graph([node("Conv", "x w", "maps"), node("Sigmoid", "maps", "likely")], "likely")
    assert always_fp32(model, CROPS) == set()
    assert always_fp32(model, BOXES) == {"likely"}


def test_regions_are_chosen_and_pooled_in_fp32_but_not_their_features() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        node("Relu", "c", "features"),
        node("Conv", "features w", "deltas"),
        node("Mul", "deltas scale", "decoded"),
        node("Reshape", "decoded four", "boxes"),
        node("RoiAlign", "features boxes picture", "regions", output_height=1, output_width=1),
        node("Conv", "regions w", "answer"),
    ]
    four, picture = np.array([-1, 4]), np.zeros(36, np.int64)
    found = always_fp32(graph(nodes, "answer", four=four, picture=picture), CROPS)
    assert found == {"decoded", "boxes", "regions"}


def test_suppression_and_what_it_reads() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c boxes_shape", "boxes"),
        node("Conv", "x w", "d"),
        node("Sigmoid", "d", "likely"),
        node("Reshape", "likely scores_shape", "scores"),
        node("NonMaxSuppression", "boxes scores", "chosen"),
    ]
    shapes = {"boxes_shape": np.array([1, 36, 4]), "scores_shape": np.array([1, 4, 36])}
    found = always_fp32(graph(nodes, "c", **shapes), CROPS)
    assert found == {"boxes", "likely", "scores", "chosen"}


SCALE_NORM = [
    node("ReduceL2", "c", "norm", axes=[-1], keepdims=1),
    node("Mul", "norm scale", "rms"),
    node("Clip", "rms floor", "floored"),
    node("Div", "c floored", "scaled"),
]
SQUARED = [
    node("Mul", "c c", "square"),
    node("ReduceMean", "square", "mean", axes=[-1], keepdims=1),
    node("Sqrt", "mean", "root"),
    node("Div", "c root", "scaled"),
]
LAYER_NORM = [
    node("ReduceMean", "c", "centre", axes=[-1], keepdims=1),
    node("Sub", "c centre", "apart"),
    node("Pow", "apart two", "square"),
    node("ReduceMean", "square", "variance", axes=[-1], keepdims=1),
    node("Sqrt", "variance", "deviation"),
    node("Div", "apart deviation", "scaled"),
]
FUSED = [node("LayerNormalization", "c ones", "scaled")]


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (SCALE_NORM, {"norm", "rms", "floored", "scaled"}),
        (SQUARED, {"square", "mean", "root", "scaled"}),
        (LAYER_NORM, {"square", "variance", "deviation", "scaled"}),
        (FUSED, {"scaled"}),
    ],
    ids=["ScaleNorm", "squares", "LayerNorm", "fused"],
)
def test_a_norm_from_its_squares_to_where_it_is_applied(nodes: list[NodeProto], found: set[str]) -> None:
    around = [node("Conv", "x w", "c"), *nodes, node("Relu", "scaled", "r"), node("Conv", "r w", "y")]
    model = graph(around, "y", two=np.float32(2), ones=np.ones(6, np.float32))
    assert always_fp32(model, CROPS) == found


def test_an_average_and_a_square_alone_are_no_norm() -> None:
    """Channel attention averages; the attention of RTMPose squares what it multiplies."""
    nodes = [
        node("Conv", "x w", "c"),
        node("ReduceMean", "c", "mean", axes=[2, 3], keepdims=1),
        node("Mul", "c mean", "attended"),
        node("Mul", "attended attended", "square"),
        node("Conv", "square w", "y"),
    ]
    assert always_fp32(graph(nodes, "y"), CROPS) == set()


def test_weights_that_fp16_cannot_hold() -> None:
    nodes = [node("Conv", "x huge", "a"), node("Conv", "a tiny", "b"), node("Conv", "b w", "y")]
    weights = {
        "huge": np.full((4, 4, 1, 1), 7e4, np.float32),
        "tiny": np.full((4, 4, 1, 1), 3e-7, np.float32),
    }
    assert always_fp32(graph(nodes, "y", **weights), CROPS) == {"a", "b"}


@pytest.mark.parametrize(
    ("numbers", "held"),
    [
        ([], True),
        ([0.0, 0.0], True),
        ([1 / 3, -np.pi, 65504.0], True),
        ([65536.0], False),
        ([np.inf, 1.0], True),  # as it was
        ([1.0, 1e-7], True),  # what is lost is nothing beside the rest
        ([1e-5 / 3, 1e-5 / 7], False),
        ([1e-9], False),
    ],
)
def test_held_by_half(numbers: list[float], held: bool) -> None:
    assert held_by_half(np.array(numbers, np.float32)) is held


def test_of_a_dope_student_no_product_stays(tiny_dope_onnx: ModelProto) -> None:
    kept = always_fp32(tiny_dope_onnx, BOXES)
    operators = {n.name: n.op_type for n in tiny_dope_onnx.graph.node}
    assert {"NonMaxSuppression", "RoiAlign", "TopK", "Exp", "Softmax"} <= {operators[name] for name in kept}
    assert not HEAVY.intersection(operators[name] for name in kept)
    backbone = list(operators)[: list(operators.values()).index("TopK")]
    assert sum(operators[name] == "Relu" for name in backbone if name in kept) == 0
