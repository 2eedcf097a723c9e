"""Exported top-down students: the graph, its answers for any number of crops, its description, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from wholebody import __version__
from wholebody.export import onnx_file
from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
from wholebody.export.onnx_dwpose import export_dwpose
from wholebody.export.onnx_file import checked_output
from wholebody.export.openmmlab import load_openmmlab
from wholebody.export.student_file import save_student
from wholebody.export.students.rtmpose import RtmPose
from wholebody.runtime.artefact import METADATA_KEY, read_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, CheckpointError, DriftError, SourceError, WholebodyError
from wholebody.runtime.media import Frame
from wholebody.runtime.spec import CropInput, TopDownSpec

Tiny = Callable[..., RtmPose]
# What TensorRT 8.5 takes as well.
OPERATORS = {
    "Add", "Clip", "Concat", "Conv", "Div", "HardSigmoid", "MatMul", "MaxPool", "Mul", "ReduceL2",
    "ReduceMean", "Relu", "Reshape", "Sigmoid", "Split", "Transpose",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dwpose")


def make_checkpoint(network: RtmPose, folder: Path, **notes: Any) -> RtmPoseCheckpoint:
    save_student(network, folder / "mini.safetensors", half=False, **notes)
    return load_checkpoint(folder / "mini.safetensors", RtmPoseCheckpoint)


@pytest.fixture(scope="module")
def checkpoint(tiny_rtmpose: Tiny, folder: Path) -> RtmPoseCheckpoint:
    return make_checkpoint(tiny_rtmpose(), folder, name="mini", licence="Apache-2.0")


@pytest.fixture(scope="module")
def student(checkpoint: RtmPoseCheckpoint, folder: Path) -> Path:
    return export_dwpose(checkpoint, folder / "mini.onnx").path


@pytest.fixture(scope="module")
def model(student: Path) -> onnx.ModelProto:
    return onnx.load(student)


def axes_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


# --- the graph ------------------------------------------------------------------------------------


def test_opset_and_operators(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 8
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert {node.op_type for node in model.graph.node} <= OPERATORS


def test_only_the_number_of_crops_is_open(model: onnx.ModelProto) -> None:
    assert {v.name: axes_of(v) for v in model.graph.input} == {"image": ["batch", 3, 64, 32]}
    outputs = {v.name: axes_of(v) for v in model.graph.output}
    assert outputs == {"simcc_x": ["batch", 17, 64], "simcc_y": ["batch", 17, 128]}
    assert list(outputs) == ["simcc_x", "simcc_y"]
    for value in model.graph.value_info:
        assert all(isinstance(axis, int) for axis in axes_of(value)[1:])
    floats = (*model.graph.input, *model.graph.output)
    assert {v.type.tensor_type.elem_type for v in floats} == {onnx.TensorProto.FLOAT}


def test_batch_norm_is_in_the_convolutions(model: onnx.ModelProto) -> None:
    assert all(len(node.input) == 3 for node in model.graph.node if node.op_type == "Conv")
    assert not any(t.HasField("data_location") and t.data_location for t in model.graph.initializer)


def test_nothing_of_this_machine_is_in_the_file(student: Path) -> None:
    data = student.read_bytes()
    assert str(Path(__file__).parents[1]).encode() not in data
    assert b".py" not in data


# --- its answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_answers_equal_pytorch(student: Path, checkpoint: RtmPoseCheckpoint, count: int) -> None:
    image = torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(count))
    runner: Any = OnnxRuntime(student, providers=["CPUExecutionProvider"], threads=1)
    with torch.inference_mode():
        expected = checkpoint.network(image)
    for got, logits in zip(runner(image.numpy()), expected, strict=True):
        np.testing.assert_allclose(got, logits.numpy(), atol=1e-4, rtol=1e-4)


def test_golden_checkpoint(golden_rtmpose: Callable[[str], Any], tmp_path: Path) -> None:
    case = golden_rtmpose("t")
    frames = [Frame(case.image, "golden.jpg")]
    artefact = export_dwpose(load_openmmlab(case.checkpoint), tmp_path / "t.onnx", images=frames)
    assert isinstance(artefact.spec, TopDownSpec)
    assert (artefact.spec.name, artefact.spec.skeleton) == ("rtmpose-t-256x192", "wholebody133")
    certificate = artefact.spec.certificate
    assert certificate is not None
    assert list(certificate["parts"]) == ["body", "feet", "face", "left_hand", "right_hand"]
    for part in certificate["parts"].values():
        assert part["all_keypoints"]["pixels"]["max"] == 0
        assert part["all_keypoints"]["score"]["max"] < 1e-4
    assert {node.op_type for node in onnx.load(artefact.path).graph.node} <= OPERATORS


# --- the artefact ---------------------------------------------------------------------------------


def test_the_student_describes_itself(
    student: Path, checkpoint: RtmPoseCheckpoint, model: onnx.ModelProto
) -> None:
    spec = read_artefact(student).spec
    assert isinstance(spec, TopDownSpec)
    assert (spec.name, spec.family, spec.head, spec.precision) == ("mini", "top-down", "simcc", "fp32")
    assert (spec.skeleton, spec.split, spec.padding, spec.depth) == ("coco17", 2.0, 1.25, None)
    assert spec.input == CropInput(64, 32, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb")
    assert (spec.weights.source, spec.weights.licence) == ("mini.safetensors", "Apache-2.0")
    assert spec.weights.sha256 == checkpoint.sha256
    assert (spec.versions["wholebody"], spec.versions["opset"]) == (__version__, "17")
    assert spec.certificate is not None
    assert spec.certificate["pass"]
    assert (spec.certificate["pictures"], spec.certificate["crops"]) == (3, 3)
    inside = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    described = json.loads(json.dumps(spec.to_dict()))
    assert inside == {k: v for k, v in described.items() if k != "certificate"}


# --- refusals -------------------------------------------------------------------------------------


@pytest.fixture
def traced(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of `student` for every export, which then takes no time."""

    def copied(*args: Any, **options: Any) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        del copy.metadata_props[:]
        return copy

    monkeypatch.setattr("wholebody.export.onnx_dwpose.to_onnx", copied)


def refused(
    checkpoint: RtmPoseCheckpoint, output: Path, kind: type[WholebodyError], match: str, **options: Any
) -> None:
    """The export fails in one line, and leaves nothing behind."""
    before = sorted(output.parent.glob("*"))
    with pytest.raises(kind, match=match) as caught:
        export_dwpose(checkpoint, output, **options)
    assert "\n" not in str(caught.value)
    assert sorted(output.parent.glob("*")) == before


@pytest.mark.parametrize("name", ["student", "student.json", "absent/student.onnx"])
def test_outputs(checkpoint: RtmPoseCheckpoint, tmp_path: Path, name: str) -> None:
    refused(checkpoint, tmp_path / name, WholebodyError, "cannot export to")


def test_an_output_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(WholebodyError, match=r"folder\.onnx: it is a folder"):
        checked_output(tmp_path / "folder.onnx")

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(onnx_file, "TemporaryFile", refuse)
    with pytest.raises(
        WholebodyError, match=r"cannot export to .*a\.onnx: Permission denied; choose another"
    ):
        checked_output(tmp_path / "a.onnx")


def test_keypoints_of_no_skeleton(tiny_rtmpose: Tiny, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_rtmpose(joints=26), tmp_path)
    refused(checkpoint, tmp_path / "s.onnx", CheckpointError, "26 keypoints are of no skeleton known here")


@pytest.mark.usefixtures("traced")
def test_no_picture_to_measure_on(checkpoint: RtmPoseCheckpoint, tmp_path: Path) -> None:
    refused(checkpoint, tmp_path / "s.onnx", SourceError, "no picture", images=[])
    refused(checkpoint, tmp_path / "s.onnx", SourceError, "does not exist", images=tmp_path / "absent")


@pytest.mark.usefixtures("traced")
def test_over_budget_nothing_is_written_unless_forced(tiny_rtmpose: Tiny, tmp_path: Path) -> None:
    """The graph is another network's: its keypoints lie elsewhere."""
    other, output = make_checkpoint(tiny_rtmpose(seed=1), tmp_path, name="mini"), tmp_path / "s.onnx"
    words = r"body: pixels drift by .* px on noise \d \(budget 0\.05 px\).*--force"
    refused(other, output, DriftError, words)
    artefact = export_dwpose(other, output, force=True)
    assert artefact.spec.certificate is not None
    assert artefact.spec.certificate["pass"] is False
    assert read_artefact(output) == artefact


@pytest.mark.usefixtures("traced")
def test_a_full_disk(checkpoint: RtmPoseCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(checkpoint, tmp_path / "s.onnx", ArtefactError, "No space left")
