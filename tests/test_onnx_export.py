"""The exported student: what its graph is made of, that it answers as PyTorch does, when it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from wholebody import __version__
from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint, load_dope_checkpoint
from wholebody.export.noise import noise_pictures
from wholebody.export.onnx import default_input_size, export_dope
from wholebody.export.onnx_graph import to_onnx
from wholebody.export.reference import with_proposals
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import PARTS, Dope, DopeConfig, DopeOutputs
from wholebody.runtime.artefact import METADATA_KEY, read_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, CheckpointError, DriftError, SourceError, WholebodyError
from wholebody.runtime.media import Frame
from wholebody.runtime.spec import StudentSpec

HEIGHT, WIDTH, PROPOSALS = 96, 128, 20
TENSORRT_OPERATORS = {
    "Add", "And", "AveragePool", "Cast", "Clip", "Concat", "Conv", "Div", "Exp", "Gather", "Gemm",
    "GreaterOrEqual", "Max", "MaxPool", "Min", "Mul", "NonMaxSuppression", "Relu", "Reshape", "RoiAlign",
    "Slice", "Softmax", "Sub", "TopK", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


def make_checkpoint(network: Dope, folder: Path, **notes: Any) -> DopeCheckpoint:
    save_student(network, folder / "student.safetensors", {"hand": {"K": 1}}, half=False, **notes)
    return load_checkpoint(folder / "student.safetensors", DopeCheckpoint)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def checkpoint(tiny_dope: Callable[..., Dope], folder: Path) -> DopeCheckpoint:
    return make_checkpoint(tiny_dope(), folder, name="dope-tiny", licence="Apache-2.0")


@pytest.fixture(scope="module")
def student(checkpoint: DopeCheckpoint, folder: Path) -> Path:
    return export_dope(checkpoint, folder / "student.onnx", input_size=(HEIGHT, WIDTH)).path


@pytest.fixture(scope="module")
def model(student: Path) -> onnx.ModelProto:
    return onnx.load(student)


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)


# --- the graph ------------------------------------------------------------------------------------


def test_opset_and_operators(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 8
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert {node.op_type for node in model.graph.node} <= TENSORRT_OPERATORS  # no If, no Loop, no Reduce


def test_inputs_and_outputs_have_fixed_shapes(model: onnx.ModelProto, checkpoint: DopeCheckpoint) -> None:
    assert {v.name: shape_of(v) for v in model.graph.input} == {"image": (1, 3, HEIGHT, WIDTH), "size": (2,)}
    outputs = {v.name: shape_of(v) for v in model.graph.output}
    assert list(outputs) == list(DopeOutputs._fields)
    assert outputs["boxes"] == (PROPOSALS, 4)
    assert outputs["face_pose3d"] == (PROPOSALS, checkpoint.config.classes["face"], 84, 3)
    assert {v.type.tensor_type.elem_type for v in model.graph.output} == {onnx.TensorProto.FLOAT}


def test_only_suppression_answers_in_an_open_shape(model: onnx.ModelProto) -> None:
    """From its answer to the reshape that closes it again; nothing else may depend on data."""
    loose = {v.name for v in model.graph.value_info if None in shape_of(v)}
    makers = [node.op_type for node in model.graph.node if loose & set(node.output)]
    assert set(makers) <= {"NonMaxSuppression", "Gather", "Concat", "Slice"}
    reshape = next(n for n in model.graph.node if n.op_type == "Reshape" and loose & set(n.input))
    assert next(shape_of(v) for v in model.graph.value_info if v.name == reshape.output[0]) == (PROPOSALS,)


def test_limits_of_tensorrt(model: onnx.ModelProto) -> None:
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert [int(constants[n.input[1]].item()) for n in model.graph.node if n.op_type == "TopK"] == [60]
    assert {t.data_type for t in model.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    (roi_align,) = (node for node in model.graph.node if node.op_type == "RoiAlign")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in roi_align.attribute}
    assert attributes["coordinate_transformation_mode"] == b"output_half_pixel"
    assert (attributes["mode"], attributes["sampling_ratio"]) == (b"avg", 2)
    assert (attributes["output_height"], attributes["output_width"]) == (7, 7)
    assert attributes["spatial_scale"] == 1 / 16


def test_weights_are_stored_once_and_inside(model: onnx.ModelProto) -> None:
    assert not any(t.HasField("data_location") and t.data_location for t in model.graph.initializer)
    large = [t.raw_data for t in model.graph.initializer if len(t.raw_data) > 256]
    assert len(large) == len(set(large))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(len(node.input) == 3 for node in convolutions)  # BatchNorm is in the bias


def test_nothing_of_this_machine_is_in_the_file(
    student: Path, checkpoint: DopeCheckpoint, folder: Path
) -> None:
    data = student.read_bytes()
    assert str(Path(__file__).parents[1]).encode() not in data
    assert b".py" not in data
    assert b"allowzero" not in data
    again = export_dope(checkpoint, folder / "again.onnx", input_size=(HEIGHT, WIDTH))
    assert again.path.read_bytes() == data


# --- its answers ----------------------------------------------------------------------------------


def assert_same_answers(path: Path, network: Dope, image: torch.Tensor, size: torch.Tensor) -> None:
    runner: Any = OnnxRuntime(path, providers=["CPUExecutionProvider"], threads=1)
    for got, expected in zip(runner(image.numpy(), size.numpy()), network(image, size), strict=True):
        np.testing.assert_allclose(got, expected.numpy(), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (90, 128), (96, 41), (1, 1)])
def test_answers_equal_pytorch(
    student: Path, checkpoint: DopeCheckpoint, seed: int, size: tuple[int, int]
) -> None:
    image = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    assert_same_answers(student, checkpoint.network, image, torch.tensor(size, dtype=torch.float32))


def test_no_proposal_at_all(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network = tiny_dope()
    with torch.no_grad():
        network.rpn.get_parameter("bbox_pred.bias")[2::4] = -40
    checkpoint = make_checkpoint(network, tmp_path)
    artefact = export_dope(checkpoint, tmp_path / "s.onnx", input_size=(HEIGHT, WIDTH), force=True)
    assert artefact.spec.certificate is not None
    assert not artefact.spec.certificate["pass"]  # nothing was compared
    image, size = torch.zeros(1, 3, HEIGHT, WIDTH), torch.tensor([96.0, 128.0])
    assert not checkpoint.network(image, size).boxes.any()
    assert_same_answers(artefact.path, checkpoint.network, image, size)


def test_more_proposals_than_anchors(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_dope(anchor_sizes=(64,), anchor_ratios=(1.0,), c4_stride=8), tmp_path)
    path = export_dope(checkpoint, tmp_path / "s.onnx", input_size=(32, 64), proposals=50).path
    assert shape_of(onnx.load(path).graph.output[0]) == (50, 4)
    assert checkpoint.network.config.proposals == PROPOSALS  # the checkpoint's network stays as it was
    image = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert_same_answers(path, with_proposals(checkpoint.network, 50), image, torch.tensor([32.0, 64.0]))


def test_golden_checkpoint(golden_dope: Callable[[str], Any], tmp_path: Path) -> None:
    case = golden_dope("dope_1")
    checkpoint = load_dope_checkpoint(case.checkpoint)
    artefact = export_dope(
        checkpoint, tmp_path / "dope.onnx", input_size=(416, 608), images=[Frame(case.image, "golden.jpg")]
    )
    certificate = artefact.spec.certificate
    assert certificate is not None
    assert certificate["pass"]
    assert certificate["proposals"]["matched"] == 32
    for part in PARTS:
        assert certificate["parts"][part]["candidates"]["matched"] > 100
        assert certificate["parts"][part]["pixels"]["max"] < 0.01
        assert certificate["parts"][part]["millimetres"]["max"] < 0.02
    assert {node.op_type for node in onnx.load(artefact.path).graph.node} <= TENSORRT_OPERATORS


# --- the artefact ---------------------------------------------------------------------------------


def test_the_student_describes_itself(
    student: Path, checkpoint: DopeCheckpoint, model: onnx.ModelProto
) -> None:
    spec = read_artefact(student).spec
    assert isinstance(spec, StudentSpec)
    assert (spec.name, spec.family, spec.precision) == ("dope-tiny", "dope", "fp32")
    assert (spec.input.height, spec.input.width, spec.input.min_size, spec.input.max_size) == (
        96,
        128,
        96,
        128,
    )
    assert (spec.weights.source, spec.weights.licence) == ("student.safetensors", "Apache-2.0")
    assert spec.weights.sha256 == checkpoint.sha256
    assert spec.versions["wholebody"] == __version__
    assert spec.versions["opset"] == "17"
    assert spec.certificate is not None
    assert spec.certificate["pass"]
    assert spec.certificate["reference"]["bn_eps"] == checkpoint.config.bn_eps
    inside = json.loads({p.key: p.value for p in model.metadata_props}[METADATA_KEY])
    described = json.loads(json.dumps(spec.to_dict()))
    assert inside == {k: v for k, v in described.items() if k != "certificate"}


def test_options_of_the_integration(student: Path) -> None:
    spec = read_artefact(student).spec
    assert isinstance(spec, StudentSpec)
    parts = spec.parts
    assert {part: parts[part].ppi["K"] for part in PARTS} == {"body": 2, "hand": 1, "face": 3}
    assert parts["body"].ppi["th_iou"] == 0.2


@pytest.mark.parametrize(
    ("sizes", "expected"), [((800, 1333), (800, 1344)), ((96, 128), (96, 128)), ((1, 33), (32, 64))]
)
def test_default_input_size(sizes: tuple[int, int], expected: tuple[int, int]) -> None:
    assert default_input_size(DopeConfig(min_size=sizes[0], max_size=sizes[1])) == expected


def test_noise_is_the_same_every_time_and_not_flat() -> None:
    first, second = noise_pictures(96, 128), noise_pictures(96, 128)
    assert [f.image.shape for f in first] == [(96, 128, 3), (144, 192, 3), (96, 72, 3)]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.image.std() > 20


# --- refusals -------------------------------------------------------------------------------------


def refused(
    checkpoint: DopeCheckpoint, output: Path, kind: type[WholebodyError], match: str, **options: Any
) -> None:
    """The export fails in one line, and leaves nothing behind."""
    before = sorted(output.parent.glob("*"))
    with pytest.raises(kind, match=match) as caught:
        export_dope(checkpoint, output, **{"input_size": (HEIGHT, WIDTH), **options})
    assert "\n" not in str(caught.value)
    assert sorted(output.parent.glob("*")) == before


@pytest.mark.parametrize("size", [(100, 128), (96, 0), (-32, 32)])
def test_input_sizes(checkpoint: DopeCheckpoint, tmp_path: Path, size: tuple[int, int]) -> None:
    refused(checkpoint, tmp_path / "s.onnx", WholebodyError, "multiples of 32", input_size=size)


@pytest.mark.parametrize("proposals", [0, -1, 61])
def test_numbers_of_proposals(checkpoint: DopeCheckpoint, tmp_path: Path, proposals: int) -> None:
    refused(checkpoint, tmp_path / "s.onnx", WholebodyError, "allows 1 to 60", proposals=proposals)


def test_more_candidates_than_tensorrt_allows(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_dope(candidates=3841), tmp_path)
    refused(checkpoint, tmp_path / "s.onnx", CheckpointError, "3841 .* allows 3840")


@pytest.mark.parametrize("name", ["student", "student.json", "absent/student.onnx"])
def test_outputs(checkpoint: DopeCheckpoint, tmp_path: Path, name: str) -> None:
    with pytest.raises(WholebodyError, match="cannot export to"):
        export_dope(checkpoint, tmp_path / name)


@pytest.mark.parametrize("options", [{"surprise": 1}, {"iou_func": "nonsense"}])
def test_options_that_are_not_allowed(
    tiny_dope: Callable[..., Dope], tmp_path: Path, options: dict[str, Any]
) -> None:
    save_student(tiny_dope(), tmp_path / "c.safetensors", {"body": options})
    checkpoint = load_checkpoint(tmp_path / "c.safetensors", DopeCheckpoint)
    refused(checkpoint, tmp_path / "s.onnx", CheckpointError, "PPI")


@pytest.fixture
def traced(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of `student` for every export, which then takes no time."""

    def copied(*args: Any) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        del copy.metadata_props[:]
        return copy

    monkeypatch.setattr("wholebody.export.onnx.to_onnx", copied)


@pytest.mark.usefixtures("traced")
def test_no_picture_to_measure_on(checkpoint: DopeCheckpoint, tmp_path: Path) -> None:
    refused(checkpoint, tmp_path / "s.onnx", SourceError, "no picture", images=[])
    refused(checkpoint, tmp_path / "s.onnx", SourceError, "does not exist", images=tmp_path / "absent")


@pytest.mark.usefixtures("traced")
def test_over_budget_nothing_is_written_unless_forced(checkpoint: DopeCheckpoint, tmp_path: Path) -> None:
    output, words = tmp_path / "s.onnx", r"millimetres drift by .* mm on noise \d \(budget 0 mm\).*--force"
    refused(checkpoint, output, DriftError, words, budget_mm=0)
    artefact = export_dope(checkpoint, output, input_size=(HEIGHT, WIDTH), budget_mm=0, force=True)
    assert artefact.spec.certificate is not None
    assert artefact.spec.certificate["pass"] is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.json", "s.onnx"]
    refused(checkpoint, output, DriftError, words, budget_mm=0)
    assert read_artefact(output) == artefact  # the former student is still there


@pytest.mark.usefixtures("traced")
def test_a_full_disk(checkpoint: DopeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(checkpoint, tmp_path / "s.onnx", ArtefactError, "No space left")


# --- any network ----------------------------------------------------------------------------------


class Reductions(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first, second = x.split(2, dim=1)
        return x.mean(dim=(1, 2)), first.amax(dim=2, keepdim=True), second.amin(dim=1)


def test_reductions_and_splits_are_taken_back_to_opset_17() -> None:
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    model = to_onnx(Reductions().eval(), {"x": x}, ["mean", "max", "min"])
    assert [o.version for o in model.opset_import] == [17]
    answer = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x.numpy()})
    for got, expected in zip(answer, Reductions()(x), strict=True):
        np.testing.assert_allclose(np.asarray(got), expected.numpy(), rtol=1e-6)


class Mystery(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=1.7, mode="bicubic", antialias=True)


def test_an_operator_with_no_way_back_is_refused() -> None:
    with pytest.raises(ValueError, match="opset 18"):
        to_onnx(Mystery().eval(), {"x": torch.zeros(1, 1, 8, 8)}, ["y"])


class Ragged(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.nonzero()


def test_an_open_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="no fixed shape for y"):
        to_onnx(Ragged().eval(), {"x": torch.ones(4)}, ["y"])
