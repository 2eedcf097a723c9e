"""A short training of the rounded student on its own FP32 answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper

from wholebody.export.onnx_dwpose import export_dwpose
from wholebody.export.openmmlab import RtmPoseCheckpoint
from wholebody.export.precision.distillation import Distillation
from wholebody.export.precision.drift import PrecisionBudget
from wholebody.export.precision.int8 import Target, to_int8
from wholebody.export.precision.poses import ask
from wholebody.export.precision.prepare import prepared
from wholebody.export.precision.quantizing import quantize
from wholebody.export.precision.recover import KEPT_EVERY, Recovery, recover
from wholebody.export.precision.simulation import Simulated
from wholebody.export.precision.trainable import Trainable
from wholebody.export.students.batch_norm import fold_batch_norm
from wholebody.export.students.rtmpose import MEAN, STD
from wholebody.runtime.errors import SourceError, WholebodyError
from wholebody.runtime.spec import (
    AnySpec,
    CropInput,
    InputSpec,
    PartSpec,
    StudentSpec,
    TopDownSpec,
    WeightsSpec,
)

CROPS = TopDownSpec(
    "tiny", "simcc", CropInput(64, 32, MEAN, STD, "rgb"), "coco17", WeightsSpec("made up", "0" * 64, "none")
)
STEPS = 13


@pytest.fixture(scope="module")
def crops(tiny_rtmpose_onnx: ModelProto, noise: Callable[..., Any]) -> tuple[ModelProto, Any]:
    """A tiny top-down student, and samples of it."""
    model = prepared(tiny_rtmpose_onnx)
    return model, noise(model, 16)


@pytest.fixture
def dope(tiny_dope_onnx: ModelProto, noise: Callable[..., Any]) -> tuple[ModelProto, Any]:
    """A tiny DOPE student, and samples of it."""
    model = prepared(tiny_dope_onnx)
    return model, noise(model, 16)


def trainable(
    model: ModelProto, spec: AnySpec, samples: Any, target: Target
) -> tuple[Trainable, Distillation]:
    distillation = Distillation(model, spec)
    quantized = to_int8(model, samples, target=target, method="minmax")
    return Trainable(quantized, model, distillation.answers, distillation.given), distillation


def answers(model: ModelProto, distillation: Distillation, inputs: Any, taught: Any) -> dict[str, Any]:
    """What the last layers of a graph answer, in the regions of the teacher, all Q/DQ pairs in floats."""
    shown = ModelProto()
    shown.CopyFrom(model)
    given = {name: taught[name].numpy() for name in distillation.given}
    kept = [node for node in shown.graph.node if node.output[0] not in given]
    del shown.graph.output[:], shown.graph.node[:]
    shown.graph.node.extend(kept)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in distillation.answers)
    for name, array in given.items():
        shown.graph.input.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
        )
    used = {tensor for node in kept for tensor in node.input}
    unused = [value for value in shown.graph.input if value.name not in used]
    for value in unused:
        shown.graph.input.remove(value)
    asked = {**inputs, **given}
    return dict(ask(Simulated(shown), {name: a for name, a in asked.items() if name in used}))


def tensors(student: Trainable, inputs: Any, taught: Any) -> Any:
    with torch.no_grad():
        return student({**taught, **{name: torch.from_numpy(array) for name, array in inputs.items()}})


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
@pytest.mark.parametrize("family", ["crops", "dope"])
def test_rounds_as_the_written_graph(family: str, target: Target, request: pytest.FixtureRequest) -> None:
    """What rounding does to the answers, here, is what it does there; but for sums that end on a border."""
    model, samples = request.getfixturevalue(family)
    student, distillation = trainable(model, CROPS, samples, target)
    inputs = next(iter(samples))
    taught = distillation.teach(inputs)
    ours = tensors(student, inputs, taught)
    theirs = answers(student.written(), distillation, inputs, taught)
    for name in distillation.answers:
        rounding = np.abs(theirs[name] - taught[name].numpy()).mean()
        assert rounding > 0
        assert np.abs(ours[name].numpy() - theirs[name]).mean() < 0.3 * rounding


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
def test_written_without_training_is_the_same(crops: tuple[ModelProto, Any], target: Target) -> None:
    model, samples = crops
    student, _ = trainable(model, CROPS, samples, target)
    before = to_int8(model, samples, target=target, method="minmax")
    for ours, theirs in zip(student.written().graph.initializer, before.graph.initializer, strict=True):
        a, b = (numpy_helper.to_array(t).astype(np.float64) for t in (ours, theirs))
        assert ours.name == theirs.name
        assert ours.data_type == theirs.data_type
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1 if ours.data_type == onnx.TensorProto.INT32 else 0)


@pytest.mark.usefixtures("cache")
def test_recovers(crops: tuple[ModelProto, Any], tmp_path: Path) -> None:
    model, samples = crops
    quantized = cut_off(to_int8(model, samples, target="tensorrt", method="minmax"))
    recovered = recover(quantized, model, CROPS, samples, steps=16, rate=0.1, cache=tmp_path)
    assert apart(recovered, model, samples) < 0.9 * apart(quantized, model, samples)
    ours, theirs = ([(n.op_type, *n.input, *n.output) for n in m.graph.node] for m in (recovered, quantized))
    assert ours == theirs


def cut_off(quantized: ModelProto) -> ModelProto:
    """With ranges of the activations so narrow that much is lost."""
    weights = {t.name for t in quantized.graph.initializer}
    scales = {
        n.input[1]
        for n in quantized.graph.node
        if n.op_type == "QuantizeLinear" and n.input[0] not in weights
    }
    for tensor in quantized.graph.initializer:
        if tensor.name in scales:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.4), tensor.name)
            )
    return quantized


def apart(ours: ModelProto, theirs: ModelProto, samples: Any) -> float:
    """The mean distance of two networks' answers."""
    pairs = [(ask(Simulated(ours), i), ask(Simulated(theirs), i)) for i in samples]
    return float(np.mean([np.square(a[name] - b[name]).mean() for a, b in pairs for name in a]))


@pytest.mark.usefixtures("cache")
def test_what_was_cut_off_goes_on(crops: tuple[ModelProto, Any], tmp_path: Path) -> None:
    model, samples = crops
    quantized = to_int8(model, samples, target="tensorrt", method="minmax")

    def train(cache: Path, until: int) -> tuple[ModelProto | None, int]:
        """And how many steps that took."""
        took = 0

        def progress(loss: float, done: int, total: int) -> None:
            nonlocal took
            took += 1
            if done == until:
                raise KeyboardInterrupt

        try:
            return recover(
                quantized, model, CROPS, samples, steps=STEPS, cache=cache, progress=progress
            ), took
        except KeyboardInterrupt:
            return None, took

    at_once, _ = train(tmp_path / "a", until=-1)
    assert train(tmp_path / "b", until=KEPT_EVERY + 1) == (None, KEPT_EVERY + 1)
    resumed, took = train(tmp_path / "b", until=-1)
    assert took == STEPS - KEPT_EVERY
    assert resumed == at_once
    assert train(tmp_path / "b", until=-1) == (at_once, 0)


@pytest.mark.usefixtures("cache")
def test_the_head_alone(crops: tuple[ModelProto, Any], tmp_path: Path) -> None:
    model, samples = crops
    quantized = to_int8(model, samples, target="tensorrt", method="minmax")
    recovered = recover(quantized, model, CROPS, samples, layers="head", steps=3, rate=1.0, cache=tmp_path)
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (quantized, recovered)
    )
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed
    assert not [name for name in changed if name.startswith("backbone.")]


@pytest.mark.usefixtures("cache")
def test_the_head_of_dope_looks_into_regions(dope: tuple[ModelProto, Any]) -> None:
    model, samples = dope
    student, _ = trainable(model, CROPS, samples, "cpu")
    parts = {name.rpartition(".")[0].partition("_anchor")[0] for name in student.head}
    assert {"rpn.conv", "rpn.cls_logits", "predictor.pose_pred.body", "backbone.layer4.0.conv2"} <= parts
    assert not [name for name in student.head if name.startswith(("backbone.conv1", "backbone.layer3"))]


def test_poses_count_as_their_classes(dope: tuple[ModelProto, Any]) -> None:
    """A pose of a class that is not there costs nothing."""
    model, samples = dope
    parts = {"body": PartSpec(13, 4, {}), "hand": PartSpec(21, 4, {}), "face": PartSpec(84, 3, {})}
    spec = StudentSpec("tiny", InputSpec(96, 128, 96, 128, MEAN, STD), parts, CROPS.weights)
    distillation = Distillation(model, spec)
    taught = distillation.teach(next(iter(samples)))
    poses, scores = next(iter(distillation.pose_scores.items()))
    taught[scores] = torch.tensor([[0.0, 90, 0, 0, 0]]).expand_as(taught[scores])
    student = {name: answer.clone() for name, answer in taught.items()}
    student[poses][:, 65:] += 1  # all classes but the first
    assert float(distillation.losses(student, taught)[poses]) == pytest.approx(0, abs=1e-9)
    student[poses][:, :65] += 1
    assert float(distillation.losses(student, taught)[poses]) > 0.01


@pytest.mark.usefixtures("cache")
def test_refusals(crops: tuple[ModelProto, Any], given: Callable[..., Any]) -> None:
    model, samples = crops
    quantized = to_int8(model, samples, target="tensorrt", method="minmax")
    with pytest.raises(SourceError, match="15 pictures are too few"):
        recover(quantized, model, CROPS, given(*samples.inputs[:15]))
    nameless = ModelProto.FromString(model.SerializeToString().replace(b"backbone.", b"somebody."))
    quantized = to_int8(nameless, samples, target="tensorrt", method="minmax")
    with pytest.raises(WholebodyError, match="head from trunk"):
        recover(quantized, nameless, CROPS, samples, layers="head")


def test_what_does_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(WholebodyError, match="FP16 needs none"):
        quantize(tmp_path / "student.onnx", precision="fp16", recovery=Recovery())
    with pytest.raises(WholebodyError, match="give one of them"):
        quantize(tmp_path / "student.onnx", precision="int8", target="cpu", search=True, recovery=Recovery())


@pytest.mark.usefixtures("cache")
def test_quantize_tells_what_was_recovered(tiny_rtmpose: Callable[..., Any], tmp_path: Path) -> None:
    network = tiny_rtmpose(width=64)
    fold_batch_norm(network)
    checkpoint = RtmPoseCheckpoint(network, network.config, "0" * 64, "tiny.pth")
    student = export_dwpose(checkpoint, tmp_path / "tiny.onnx", force=True).path
    for folder, count in (("pictures", 16), ("others", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            picture = np.random.default_rng(i + count).integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{i}.png"), picture)
    made = quantize(
        student, precision="int8", target="tensorrt", calibration=tmp_path / "pictures",
        held_out=tmp_path / "others", method="minmax", budget=PrecisionBudget(oks=1.0, px=0.0),
        recovery=Recovery(steps=2), force=True,
    )  # fmt: skip
    assert made.before is not None
    assert made.before.layers == made.certificate.layers
    kept = made.artefact.spec.certificate
    assert kept is not None
    assert kept["recovery"]["before"] == made.before.to_dict()["parts"]
    assert kept["recovery"]["pictures"] == 16
    assert kept["parts"] == made.certificate.to_dict()["parts"]
