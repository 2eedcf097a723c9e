"""A student and its sidecar belong together, and everything else is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

import wholebody
from wholebody.runtime.artefact import Artefact, read_artefact, sidecar_path, write_artefact
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.spec import JOINTS, InputSpec, PartSpec, StudentSpec, WeightsSpec

SPEC = StudentSpec(
    name="tiny",
    input=InputSpec(48, 64, 48, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    parts={
        "body": PartSpec(13, 4, {"K": 2, "th_pose3D": 0.3}),
        "hand": PartSpec(21, 2, {"K": 1}),
        "face": PartSpec(84, 1, {"K": 1}),
    },
    weights=WeightsSpec("made up", "0" * 64, "none"),
    versions={"wholebody": "0.1.0"},
)


Answers = dict[str, NDArray[np.float32]]
Export = Callable[..., Path]


@pytest.fixture
def answers(one_body: Callable[..., Answers]) -> Answers:
    return one_body(SPEC)


@pytest.fixture
def export(constant_onnx: Callable[..., Path], answers: Answers) -> Export:
    """`export(path, spec)`: an ONNX file without a sidecar that gives `answers`, as they are by then."""
    return lambda path, spec=SPEC: constant_onnx(path, spec, answers)


@pytest.fixture
def student(tmp_path: Path, export: Export) -> Path:
    return write_artefact(export(tmp_path / "student.onnx"), SPEC).path


def refusal(path: Path, load: Callable[[Path], Any] = read_artefact) -> str:
    with pytest.raises(ArtefactError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.parent) in message
    return message


def test_what_was_written_is_read(student: Path) -> None:
    artefact = read_artefact(student)
    assert artefact == Artefact(student, read_onnx(student).sha256, SPEC)
    assert json.loads(sidecar_path(student).read_text())["sha256"] == artefact.sha256
    assert sorted(p.name for p in student.parent.iterdir()) == ["student.json", "student.onnx"]


def test_a_certificate_is_added_after_the_file(student: Path) -> None:
    certified = replace(SPEC, certificate={"body": {"px": 0.01}})
    write_artefact(student, certified)
    assert read_artefact(student).spec == certified


def test_a_certificate_inside_the_file_may_be_out_of_date(tmp_path: Path, export: Export) -> None:
    path = export(tmp_path / "student.onnx", replace(SPEC, certificate={"body": {"px": 9.0}}))
    write_artefact(path, SPEC)
    assert read_artefact(path).spec == SPEC


def test_the_onnx_file_is_read_as_onnx_reads_it(student: Path) -> None:
    model, mine = onnx.load(student), read_onnx(student)
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in model.graph.output}
    assert mine.outputs == shapes
    assert mine.inputs == {"image": (1, 3, 48, 64), "size": (2,)}
    assert mine.metadata == {p.key: p.value for p in model.metadata_props}


def test_a_missing_file() -> None:
    assert "no such file" in refusal(Path("nowhere/student.onnx"))


def test_a_folder(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / ".")


@pytest.mark.parametrize("content", [b"", b"not a network\n", b"PK\x03\x04", b"\x00" * 64, bytes(range(256))])
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "student.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short(student: Path, share: float) -> None:
    data = student.read_bytes()
    student.write_bytes(data[: int(len(data) * share)])
    assert "not the whole of one" in refusal(student)


@given(st.binary(max_size=80))
def test_no_bytes_do_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtefactError):
        read_artefact(path)


def test_another_network_is_told_what_it_has(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["simcc_x"])],
        "other",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 256, 192])],
        [helper.make_tensor_value_info("simcc_x", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    message = refusal(tmp_path / "other.onnx")
    assert "inputs input (?x3x256x192); outputs simcc_x ()" in message
    assert "wholebody export" in message


@pytest.mark.parametrize("output", ["boxes", "hand_pose3d"])
def test_a_network_that_is_not_what_it_says(
    tmp_path: Path, answers: Answers, export: Export, output: str
) -> None:
    answers[output] = answers[output][..., :1]
    message = refusal(export(tmp_path / "student.onnx"))
    assert f"lacks {output}" in message


def test_a_network_without_one_of_its_outputs(tmp_path: Path, answers: Answers, export: Export) -> None:
    del answers["face_scores"]
    path = export(tmp_path / "student.onnx")
    assert "lacks face_scores (?x2)" in refusal(path)
    assert "lacks face_scores (?x2)" in refusal(path, lambda p: write_artefact(p, SPEC))
    assert not sidecar_path(path).exists()


def test_a_sidecar_that_is_missing(student: Path) -> None:
    sidecar_path(student).unlink()
    assert "student.json is not beside it" in refusal(student)


def test_a_sidecar_of_another_file(student: Path, answers: Answers, export: Export) -> None:
    answers["boxes"][0] += 1
    export(student)
    assert "belongs to another file" in refusal(student)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, "\udcff"])
def test_a_sidecar_that_is_no_json_object(student: Path, text: str) -> None:
    sidecar_path(student).write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refusal(student)
    assert "student.json" in message
    assert "export again" in message


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("format", 2, "'format' is 2"),
        ("format", "1", "type int"),
        ("family", "dwpose", "'family' is 'dwpose'"),
        ("skeleton", "coco17", "'skeleton' is 'coco17'"),
        ("name", None, "type str"),
        ("parts", {"body": SPEC.to_dict()["parts"]["body"]}, "body, hand and face"),
        ("parts.body.joints", 17, "'parts.body.joints' is 17"),
        ("parts.hand.classes", 0, "1 or more"),
        ("parts.hand.ppi", [], "type dict"),
        ("input.height", 0, "'input.height' is 0"),
        ("input.width", True, "type int"),
        ("input.mean", [0.5, 0.5], "three numbers"),
        ("input.mean", [0.5, 0.5, float("nan")], "three numbers"),
        ("input.std", [0.2, 0, 0.2], "above 0"),
        ("input.color", "bgr", "'rgb'"),
        ("weights.licence", 3, "type str"),
    ],
)
def test_a_description_with_a_wrong_entry(student: Path, entry: str, value: object, expected: str) -> None:
    entries = json.loads(sidecar_path(student).read_text())
    *way, last = entry.split(".")
    inner = entries
    for name in way:
        inner = inner[name]
    inner[last] = value
    sidecar_path(student).write_text(json.dumps(entries))
    assert expected in refusal(student)


@pytest.mark.parametrize("entry", ["format", "name", "input", "parts", "weights", "precision", "versions"])
def test_a_description_without_an_entry(student: Path, entry: str) -> None:
    entries = json.loads(sidecar_path(student).read_text())
    del entries[entry]
    sidecar_path(student).write_text(json.dumps(entries))
    assert f"'{entry}' is missing" in refusal(student)


def test_entries_of_a_later_version_are_ignored(student: Path) -> None:
    entries = json.loads(sidecar_path(student).read_text())
    sidecar_path(student).write_text(json.dumps({**entries, "colour_of_the_sky": "blue"}))
    assert read_artefact(student).spec == SPEC


def test_a_sidecar_at_odds_with_its_file(student: Path) -> None:
    entries = json.loads(sidecar_path(student).read_text())
    entries["input"]["mean"] = [0, 0, 0]
    sidecar_path(student).write_text(json.dumps(entries))
    assert "disagree on input" in refusal(student)
    other = replace(SPEC, name="other", precision="fp16")
    assert "disagree on name, precision" in refusal(student, lambda p: write_artefact(p, other))


def test_the_spec_survives_json() -> None:
    assert StudentSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    assert set(SPEC.parts) == set(JOINTS)


# --- wholebody.load, from the file to people ---


def test_load_answers_with_people(student: Path, answers: Answers) -> None:
    pose = wholebody.load(student, backend="onnxruntime:CPUExecutionProvider", threads=1)
    people = pose(np.full((96, 128, 3), 127, np.uint8))
    assert len(people) == 1
    joints = answers["body_pose2d"][0, 0] * 2  # the picture is twice the network's input
    np.testing.assert_allclose(people.keypoints[0, :13], joints, rtol=1e-6)
    assert people.metadata["student"] == "tiny"
    assert people.metadata["precision"] == "fp32"
    assert people.metadata["backend"] == "onnxruntime:CPUExecutionProvider"
    assert repr(pose) == "DopePose('tiny', 64x48, fp32, onnxruntime:CPUExecutionProvider, ppi)"


@pytest.mark.parametrize(
    "backend",
    ["tensorflow", "tensorrt:GPU", "tensorrt:", "auto:CPUExecutionProvider", "", "onnxruntime:NoProvider"],
)
def test_load_refuses_backends_that_are_not_there(student: Path, backend: str) -> None:
    with pytest.raises(BackendError, match=r"unknown backend|has no NoProvider"):
        wholebody.load(student, backend=backend)


@pytest.mark.parametrize("spelling", [str, Path])
def test_load_refuses_what_read_artefact_refuses(
    student: Path, spelling: Callable[[Path], str | Path]
) -> None:
    sidecar_path(student).unlink()
    assert "is not beside it" in refusal(student, lambda p: wholebody.load(spelling(p)))


def test_load_refuses_options_that_pose_proposal_integration_does_not_have(
    tmp_path: Path, export: Export
) -> None:
    parts = {**SPEC.parts, "hand": PartSpec(21, 2, {"K": 1, "th_pose4D": 1})}
    spec = replace(SPEC, parts=parts)
    write_artefact(export(tmp_path / "student.onnx", spec), spec)
    assert "th_pose4D" in refusal(tmp_path / "student.onnx", wholebody.load)
