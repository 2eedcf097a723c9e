"""The reference of a student: found, opened, asked in the same way, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.benchmarks.accuracy.measure import measure
from wholebody.benchmarks.accuracy.opening import Asked
from wholebody.benchmarks.accuracy.reference import find_reference, open_reference
from wholebody.export.checkpoints import DopeCheckpoint, RtmPoseCheckpoint, load_checkpoint
from wholebody.export.onnx import export_dope
from wholebody.export.onnx_dwpose import export_dwpose
from wholebody.export.student_file import save_student
from wholebody.runtime.artefact import read_artefact, sidecar_path, write_artefact
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.loading import load, load_dope, load_top_down
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.skeletons import WHOLEBODY133

TWO = Asked("synthetic", pictures=2, size=(96, 128))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
def dope(tiny_dope: Callable[..., Any], folder: Path) -> Path:
    """An exported student beside its checkpoint."""
    save_student(tiny_dope(), folder / "tiny.safetensors", {}, half=False)
    checkpoint = load_checkpoint(folder / "tiny.safetensors", DopeCheckpoint)
    return export_dope(checkpoint, folder / "dope.onnx", input_size=(96, 128), force=True).path


@pytest.fixture(scope="module")
def crops(tiny_rtmpose: Callable[..., Any], folder: Path) -> Path:
    save_student(tiny_rtmpose(), folder / "crops.safetensors", half=False)
    checkpoint = load_checkpoint(folder / "crops.safetensors", RtmPoseCheckpoint)
    return export_dwpose(checkpoint, folder / "crops-student.onnx").path


@pytest.fixture
def alone(dope: Path, tmp_path: Path) -> Path:
    """The student without its checkpoint."""
    for path in (dope, sidecar_path(dope)):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / dope.name


def test_dope_beside_pytorch(dope: Path) -> None:
    """The checkpoint lies beside it; what both find is the same but for rounding."""
    run = measure(dope, TWO, threads=1)
    assert run["reference"]["file"] == "tiny.safetensors"
    assert run["reference"]["backend"].startswith("pytorch:")
    for name, metric in run["metrics"].items():
        if metric["difference"] is not None:
            assert abs(metric["difference"][0]) < 0.1, name


def test_crops_beside_pytorch(crops: Path) -> None:
    run = measure(crops, Asked("synthetic", pictures=1), threads=1, flip_test=True)
    assert run["reference"]["backend"].startswith("pytorch:")
    assert (run["settings"]["boxes"], run["settings"]["flip_test"]) == ("true", True)
    assert run["metrics"]["body/oks"]["difference"][0] == pytest.approx(0, abs=1e-3)


def test_where_it_is_looked_for(dope: Path, alone: Path) -> None:
    pose = load(dope, threads=1)
    assert find_reference(dope, pose) == dope.with_name("tiny.safetensors")
    assert find_reference(alone, load(alone, threads=1)) is None
    assert measure(alone, TWO)["reference"] is None


def test_a_reduced_student_beside_the_one_it_was_made_of(dope: Path, alone: Path) -> None:
    """As its certificate names it."""
    pose = load_dope(dope, threads=1)
    origin = {"source": "far/away/dope.onnx", "sha256": read_artefact(alone).sha256}
    pose.spec = replace(pose.spec, certificate={"reference": origin})
    assert find_reference(alone.with_name("int8.onnx"), pose) == alone
    assert find_reference(alone, pose) is None  # itself
    pose.spec = replace(pose.spec, certificate={"reference": {**origin, "sha256": "0" * 64}})
    assert find_reference(alone.with_name("int8.onnx"), pose) is None  # another file of that name


def test_an_onnx_file_as_reference(dope: Path, alone: Path) -> None:
    run = measure(alone, TWO, reference=dope, threads=1)
    assert (run["reference"]["file"], run["reference"]["sha256"]) == (dope.name, run["model"]["sha256"])
    differences = [m["difference"] for m in run["metrics"].values() if m["difference"] is not None]
    assert differences
    assert np.abs(differences).max() == 0


def test_the_reference_is_asked_as_the_student(crops: Path) -> None:
    pose = load(crops, threads=1, max_people=3, flip_test=True)
    opened = open_reference(crops.with_name("crops.safetensors"), crops, pose).pose
    assert isinstance(pose, TopDownPose)
    assert isinstance(opened, TopDownPose)
    for name in ("max_people", "flip_test", "detector", "nms_threshold", "min_keypoint_score", "skeleton"):
        assert getattr(opened, name) == getattr(pose, name)


# --- refused ------------------------------------------------------------------------------------------------


def test_another_checkpoint(dope: Path, crops: Path, tiny_dope: Callable[..., Any], tmp_path: Path) -> None:
    save_student(tiny_dope(seed=1), tmp_path / "other.safetensors", {}, half=False)
    with pytest.raises(ArtefactError, match=r"was exported from tiny\.safetensors \(SHA-256 .*give that one"):
        open_reference(tmp_path / "other.safetensors", dope, load(dope, threads=1))


def test_another_network(crops: Path, tiny_rtmpose: Callable[..., Any], tmp_path: Path) -> None:
    """A published file does not tell what it was made of, but its shapes do."""
    save_student(tiny_rtmpose(width=64), tmp_path / "wide.safetensors", half=False)
    pose = load_top_down(crops, threads=1)
    pose.spec = replace(pose.spec, versions={})
    with pytest.raises(ArtefactError, match="is an RTMPose of 17 keypoints in 64x64, the student"):
        open_reference(tmp_path / "wide.safetensors", crops, pose)


def test_other_keypoints(crops: Path) -> None:
    pose = load_top_down(crops, threads=1)
    pose.skeleton = WHOLEBODY133
    with pytest.raises(ArtefactError, match=r"student\.onnx are coco17, the student's wholebody133: give a"):
        open_reference(crops, crops, pose)


def test_no_fp32_network(dope: Path, alone: Path) -> None:
    import onnx

    from wholebody.runtime.artefact import onnx_metadata

    spec = replace(read_artefact(alone).spec, precision="int8")
    model = onnx.load(alone)
    onnx.helper.set_model_props(model, onnx_metadata(spec))
    onnx.save(model, alone)
    write_artefact(alone, spec)
    with pytest.raises(ArtefactError, match="is in int8 itself: give the FP32 student as --reference"):
        open_reference(alone, dope, load(dope, threads=1))


def test_an_engine(dope: Path) -> None:
    with pytest.raises(ArtefactError, match="is an engine: give the checkpoint or the FP32 ONNX file"):
        open_reference(Path("x.engine"), dope, load(dope, threads=1))
