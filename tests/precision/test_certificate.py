"""Certificates of reduced precision: what they hold, and that `verify` measures them again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from wholebody.export.certificate import Matching, Spread
from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
from wholebody.export.onnx_dwpose import export_dwpose
from wholebody.export.onnx_file import save
from wholebody.export.precision.always import always_fp32
from wholebody.export.precision.certificate import Data, PrecisionCertificate, precision_of_layers, target_of
from wholebody.export.precision.drift import Drift, PoseDrift, PrecisionBudget
from wholebody.export.precision.half import to_half
from wholebody.export.precision.verifying import recorded_budget
from wholebody.export.student_file import save_student
from wholebody.export.verify import verify
from wholebody.runtime.artefact import read_artefact, write_artefact
from wholebody.runtime.errors import ArtefactError, SourceError


def drift(oks: float = 1.0, px: float = 0.0) -> Drift:
    part = PoseDrift(Matching(30, 1, 2), oks, Spread(px, px, px, px, "a.jpg"), None, 0.02, 0.1)
    return Drift("fp32", "fp16", 3, Matching(4, 1, 0), {"body": part})


def certificate(**measured: float) -> PrecisionCertificate:
    return PrecisionCertificate(
        reference={"source": "student.onnx", "sha256": "ab", "runtime": "fp32"},
        student="fp16",
        data=Data("cd", 3, 2),
        drift=drift(**measured),
        layers={"int8": ["a", "b"], "fp16": ["c"], "fp32": []},
        budget=PrecisionBudget(oks=0.9, px=0.5, mm=3),
    )


def test_what_it_tells() -> None:
    entries = json.loads(json.dumps(certificate().to_dict(), allow_nan=False))
    assert entries["pass"] is True
    assert entries["reference"] == {"source": "student.onnx", "sha256": "ab", "runtime": "fp32"}
    assert entries["data"] == {"sha256": "cd", "inputs": 3, "pictures": 2}
    assert entries["budget"] == {"oks": 0.9, "px": 0.5, "mm": 3}
    assert entries["people"] == {"matched": 4, "lost": 1, "gained": 0}
    assert entries["layers"] == {"int8": ["a", "b"], "fp16": ["c"], "fp32": []}
    body = entries["parts"]["body"]
    assert (body["oks"], body["jumped"], body["jumped_unsure"], body["mm"]) == (1.0, 0.02, 0.1, None)
    assert set(body["px"]) == {"median", "p95", "p99", "max", "worst"}


@pytest.mark.parametrize("over", [{"oks": 0.89}, {"px": 0.6}, {"px": float("nan")}])
def test_over_budget(over: dict[str, float]) -> None:
    failed = certificate(**over)
    assert not failed.passed
    assert failed.to_dict()["pass"] is False
    assert failed.failures()[0].startswith("body: ")
    assert failed.table().splitlines()[-1].startswith("over budget: body: ")
    json.dumps(failed.to_dict(), allow_nan=False)


def test_its_table() -> None:
    assert certificate().table().splitlines()[-2:] == ["layers: 2 in INT8, 1 in FP16", "within budget"]


def test_precisions_of_layers(tiny_rtmpose_onnx: ModelProto) -> None:
    layers = [n.name for n in tiny_rtmpose_onnx.graph.node if n.op_type in ("Conv", "MatMul")]
    assert precision_of_layers(tiny_rtmpose_onnx) == {"int8": [], "fp16": [], "fp32": layers}
    half = to_half(tiny_rtmpose_onnx, keep={layers[2]})
    assert precision_of_layers(half) == {
        "int8": [],
        "fp16": [n for n in layers if n != layers[2]],
        "fp32": [layers[2]],
    }


@pytest.mark.parametrize(("kind", "target"), [(np.uint8, "cpu"), (np.int8, "tensorrt"), (None, "tensorrt")])
def test_targets_of_graphs(kind: type | None, target: str) -> None:
    zero = [] if kind is None else [numpy_helper.from_array(np.array(0, kind), "z")]
    inputs = ["x", "s"] + (["z"] if zero else [])
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", inputs, ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])], [],
        [numpy_helper.from_array(np.array(1, np.float32), "s"), *zero],
    )  # fmt: skip
    assert target_of(helper.make_model(graph)) == target


# --- a student, measured again ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def students(tiny_rtmpose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a checkpoint, its FP32 student and that in FP16, and of three pictures."""
    folder = tmp_path_factory.mktemp("students")
    (folder / "pictures").mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (80, 60, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "pictures" / f"{i}.png"), noise)
    save_student(tiny_rtmpose(), folder / "tiny.safetensors", name="tiny", licence="none")
    checkpoint = load_checkpoint(folder / "tiny.safetensors", RtmPoseCheckpoint)
    exported = export_dwpose(checkpoint, folder / "fp32.onnx", force=True)
    model = onnx.load(exported.path)
    del model.metadata_props[:]
    spec = replace(exported.spec, precision="fp16", certificate=None)
    save(to_half(model, keep=always_fp32(model, spec)), spec, folder / "fp16.onnx")
    write_artefact(folder / "fp16.onnx", spec)
    return folder


@pytest.mark.parametrize("reference", ["fp32.onnx", "tiny.safetensors", None])
def test_a_student_is_held_against_its_fp32_self_or_its_checkpoint(
    students: Path, reference: str | None
) -> None:
    path = None if reference is None else students / reference
    measured = verify(students / "fp16.onnx", images=students / "pictures", reference=path, budget_px=2)
    assert isinstance(measured, PrecisionCertificate)
    assert measured.reference["source"] == (reference or "tiny.safetensors")
    assert (measured.data.inputs, measured.data.pictures) == (3, 3)
    assert measured.layers["fp16"]
    assert not measured.layers["fp32"]
    assert set(measured.drift.parts) == {"body"}
    assert measured.budget == PrecisionBudget(px=2)


def test_the_reference_that_its_certificate_names_comes_first(students: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(students, tmp_path / "copy")
    path = folder / "fp16.onnx"
    told = {"pass": True, "reference": {"source": "fp32.onnx"}, "budget": {"oks": 0.5, "px": 9, "mm": 1}}
    write_artefact(path, replace(read_artefact(path).spec, certificate=told))
    measured = verify(path, images=folder / "pictures")
    assert measured.reference["source"] == "fp32.onnx"
    assert measured.budget == PrecisionBudget(0.5, 9, 1)
    assert measured.passed
    again = verify(path, images=folder / "pictures", budget_oks=1.01)
    assert again.budget == PrecisionBudget(1.01, 9, 1)
    assert not again.passed
    assert again.to_dict()["data"] == measured.to_dict()["data"]


def test_a_student_is_not_its_own_reference(students: Path, tmp_path: Path) -> None:
    """Its certificate names a file of the same name, from another folder."""
    path = shutil.copytree(students, tmp_path / "copy") / "fp16.onnx"
    write_artefact(
        path, replace(read_artefact(path).spec, certificate={"reference": {"source": "fp16.onnx"}})
    )
    measured = verify(path, images=students / "pictures")
    assert measured.reference["source"] == "tiny.safetensors"


def test_a_checkpoint_of_other_weights(
    students: Path, tiny_rtmpose: Callable[..., Any], tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_student(tiny_rtmpose(seed=1), other, name="other", licence="none")
    with pytest.raises(ArtefactError, match="give the file it was made of as --reference"):
        verify(students / "fp16.onnx", images=students / "pictures", reference=other)


def test_a_reference_that_is_missing_or_of_other_weights(students: Path, tmp_path: Path) -> None:
    for name in ("fp16.onnx", "fp16.json"):
        shutil.copy(students / name, tmp_path)
    with pytest.raises(ArtefactError, match=r"was made of tiny\.safetensors, which is not beside it"):
        verify(tmp_path / "fp16.onnx", images=students / "pictures")
    other = tmp_path / "other.onnx"
    spec = read_artefact(students / "fp32.onnx").spec
    foreign = replace(spec, weights=replace(spec.weights, sha256="f" * 64))
    model = onnx.load(students / "fp32.onnx")
    del model.metadata_props[:]
    save(model, foreign, other)
    write_artefact(other, foreign)
    with pytest.raises(ArtefactError, match="give the file it was made of as --reference"):
        verify(tmp_path / "fp16.onnx", images=students / "pictures", reference=other)
    with pytest.raises(ArtefactError, match="is in fp16 itself"):
        verify(students / "fp16.onnx", images=students / "pictures", reference=students / "fp16.onnx")


def test_no_pictures(students: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        verify(students / "fp16.onnx", images=tmp_path, reference=students / "fp32.onnx")


@pytest.mark.parametrize("told", [None, {}, {"budget": 3}, {"budget": {"px": "much"}}])
def test_a_budget_that_nothing_tells_is_as_usual(students: Path, told: dict[str, Any] | None) -> None:
    spec = replace(read_artefact(students / "fp16.onnx").spec, certificate=told)
    assert recorded_budget(spec) == PrecisionBudget()
