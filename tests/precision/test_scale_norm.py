"""The trap of FP16 in RTMPose's head, and its cure, in true half arithmetic.

ONNX Runtime's CPU computes halves as FP32 and shows nothing of it, so ONNX's own evaluator computes here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
from wholebody.export.onnx_graph import to_onnx
from wholebody.export.precision.always import always_fp32
from wholebody.export.precision.calibration import samples
from wholebody.export.precision.certificate import precision_of_layers
from wholebody.export.precision.half import to_half
from wholebody.export.precision.hazards import fp32_nodes, half_hazards
from wholebody.export.students.rtmpose import MEAN, STD, SimCC
from wholebody.export.zoo import bundled
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec

SPEC = TopDownSpec(
    name="head",
    head="simcc",
    input=CropInput(256, 192, MEAN, STD, "rgb"),
    skeleton="wholebody133",
    weights=WeightsSpec("made up", "0" * 64, "none"),
)
LARGER = 16.0  # what ScaleNorm divides by again


class Head(NamedTuple):
    """A graph, the features of a person, and the bins that PyTorch finds in FP32."""

    model: ModelProto
    features: dict[str, NDArray[np.float32]]
    bins: list[NDArray[np.intp]]

    def agreement(self, model: ModelProto) -> float:
        """The share of a graph's bins that are PyTorch's, or next to them."""
        with np.errstate(over="ignore"):
            logits = ReferenceEvaluator(model).run(None, dict(self.features))
        assert all(np.isfinite(np.asarray(axis)).all() for axis in logits)
        near = [
            np.abs(np.asarray(axis).argmax(axis=2) - b) <= 1
            for axis, b in zip(logits, self.bins, strict=True)
        ]
        return float(np.mean(np.concatenate(near, axis=1)))


@pytest.fixture(scope="module")
def head() -> Head:
    """dwpose-mini's head as trained, but with maps 16 times as large, from which it answers the same."""
    network = load_checkpoint(bundled("dwpose-mini"), RtmPoseCheckpoint).network
    person = next(iter(samples(SPEC, count=2)))["image"]
    with torch.inference_mode():
        features = network.backbone(torch.from_numpy(person))
        before = network.head(features)
        for parameter in network.head.final_layer.parameters():
            parameter.mul_(LARGER)
        torch.testing.assert_close(network.head(features), before, rtol=1e-4, atol=1e-4)
    inputs = {"features": torch.cat([features, features])}
    model = to_onnx(network.head, inputs, SimCC._fields, open_batch=True)
    return Head(model, {"features": features.numpy()}, [axis.numpy().argmax(axis=2) for axis in before])


def norms(model: ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if node.op_type == "ReduceL2"]


def test_all_in_half_the_answer_is_finite_and_wrong(head: Head) -> None:
    assert head.agreement(head.model) == 1
    assert head.agreement(to_half(head.model, keep=set())) < 0.1


def test_the_analysis_names_the_norm(head: Head) -> None:
    found = half_hazards(head.model, [head.features])
    assert list(found) == norms(head.model)[:1]  # the second one is of what the first has scaled
    (hazard,) = found.values()
    assert (hazard.operator, hazard.kind) == ("ReduceL2", "sum")
    assert hazard.reached > 65504
    assert str(hazard).startswith(f"ReduceL2 {hazard.node}: what it adds up reaches ")


@pytest.mark.parametrize("by", ["rule", "measurement", "both"])
def test_kept_in_fp32_the_answer_is_right(head: Head, by: str) -> None:
    keep = {
        "rule": always_fp32(head.model, SPEC),
        "measurement": set(half_hazards(head.model, [head.features])),
        "both": fp32_nodes(head.model, SPEC, [head.features]),
    }[by]
    half = to_half(head.model, keep=keep)
    assert not precision_of_layers(half)["fp32"]
    assert head.agreement(half) > 0.99
