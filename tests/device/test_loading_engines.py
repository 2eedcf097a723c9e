"""Students that are loaded with engines: which backend runs, what is passed over, and what is told."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import wholebody
from wholebody.cli import app
from wholebody.export.build_plan import plan_build
from wholebody.runtime.errors import ArtefactError, BackendError, WholebodyError
from wholebody.runtime.loading import load_detector, load_top_down
from wholebody.runtime.media import write_image
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.detector_gpu import GpuPersonDetector
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.dope_gpu import GpuDopePose
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.pipelines.top_down_gpu import GpuTopDownPose

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
CPU = "onnxruntime:CPUExecutionProvider"


@pytest.fixture
def here(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine whose GPU is the emulated one."""
    monkeypatch.setattr(device.fake.runner, "Cuda", lambda number: device.cuda)
    monkeypatch.setattr("wholebody.runtime.cuda.Cuda", lambda number: device.cuda)
    return device


@pytest.fixture
def dope(constant_student: Path, tmp_path: Path) -> Path:
    """`student.onnx` and its sidecar."""
    for suffix in (".onnx", ".json"):
        (tmp_path / f"student{suffix}").write_bytes(constant_student.with_suffix(suffix).read_bytes())
    return tmp_path / "student.onnx"


@pytest.fixture
def top_down(tmp_path: Path) -> Path:
    """A published student of 17 keypoints, without a sidecar."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, arrays, outputs = [], [numpy_helper.from_array(np.array([1], np.int64), "one")], []
    for name, axis, side in (("simcc_x", 2, 48), ("simcc_y", 3, 64)):
        bins = rng.normal(size=(17, side, 2 * side)).astype(np.float32)
        arrays.append(numpy_helper.from_array(bins, f"{name}_bins"))
        nodes += [
            helper.make_node("ReduceMean", ["input"], [f"{name}_bar"], axes=[1, axis], keepdims=0),
            helper.make_node("Unsqueeze", [f"{name}_bar", "one"], [f"{name}_bars"]),
            helper.make_node("Unsqueeze", [f"{name}_bars", "one"], [f"{name}_rows"]),
            helper.make_node("MatMul", [f"{name}_rows", f"{name}_bins"], [f"{name}_joints"]),
            helper.make_node("ReduceSum", [f"{name}_joints", "two"], [name], keepdims=0),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 17, 2 * side]))
    arrays.append(numpy_helper.from_array(np.array([2], np.int64), "two"))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 64, 48])
    graph = helper.make_graph(nodes, "published", [image], outputs, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "published.onnx")
    return tmp_path / "published.onnx"


def build(here: Any, onnx: Path) -> Path:
    path: Path = here.fake.engine.build_engine(plan_build(onnx), cuda=here.cuda).path
    return path


@pytest.mark.parametrize("backend", ["auto", "tensorrt", "tensorrt:0"])
def test_the_engine_beside_the_onnx_file(here: Any, dope: Path, backend: str) -> None:
    build(here, dope)
    pose = wholebody.load(dope, backend=backend)
    assert isinstance(pose, GpuDopePose)
    people, expected = pose(PICTURE), wholebody.load(dope, backend=CPU)(PICTURE)
    assert people.metadata["backend"] == "tensorrt:10.16.1.11"
    assert "fallback" not in people.metadata
    assert {n: people.metadata[n] for n in ("student", "precision", "verified")} == {
        n: expected.metadata[n] for n in ("student", "precision", "verified")
    }
    np.testing.assert_allclose(people.keypoints, expected.keypoints, atol=1e-4)


def test_an_engine_travels_without_its_onnx_file(here: Any, dope: Path) -> None:
    engine = build(here, dope)
    expected = wholebody.load(dope, backend=CPU)(PICTURE)
    dope.unlink()
    people = wholebody.load(engine, selection="nms")(PICTURE)
    np.testing.assert_allclose(people.keypoints[0, :13], expected.keypoints[0, :13], atol=1e-4)
    with pytest.raises(BackendError, match=r"student.engine is an engine, which only TensorRT runs"):
        wholebody.load(engine, backend="onnxruntime")
    with pytest.raises(WholebodyError, match="finds people by itself"):
        wholebody.load(engine, detector="finder.onnx")


def test_a_refused_engine(here: Any, dope: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(here, dope)
    here.cuda.name = "Fake H100"
    for backend in ("tensorrt", "tensorrt:0"):
        with pytest.raises(ArtefactError, match=r"this is Fake H100.*wholebody build .*--rebuild"):
            wholebody.load(dope, backend=backend)
    with caplog.at_level(logging.WARNING):
        people = wholebody.load(dope)(PICTURE)
    assert people.metadata["backend"] == CPU
    assert "Fake H100" in people.metadata["fallback"]
    assert people.metadata["fallback"].endswith(f"so {CPU} runs")
    assert people.metadata["fallback"] in caplog.text


def test_a_refused_engine_may_be_built_again(here: Any, dope: Path) -> None:
    engine = build(here, dope)
    here.cuda.name = "Fake H100"
    asked: list[Any] = []

    def rebuild(path: Path, device: int) -> None:
        asked.append((path, device))
        here.fake.engine.rebuild_engine(path, cuda=here.cuda)

    pose = wholebody.load(dope, backend="tensorrt:0", rebuild=rebuild)
    assert isinstance(pose, GpuDopePose)
    assert asked == [(engine, 0)]
    wholebody.load(dope, rebuild=rebuild)
    assert len(asked) == 1, "it is refused no more"


def test_without_an_engine(here: Any, dope: Path) -> None:
    with pytest.raises(ArtefactError, match=r"student.engine: no such engine; build it with"):
        wholebody.load(dope, backend="tensorrt", rebuild=lambda path, device: None)
    people = wholebody.load(dope)(PICTURE)
    assert people.metadata["backend"] == CPU
    assert "fallback" not in people.metadata


def test_without_tensorrt(here: Any, dope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(here, dope)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "wholebody.runtime.backends.trt")
    with pytest.raises(BackendError, match="tensorrt cannot be imported"):
        wholebody.load(dope, backend="tensorrt")
    assert "tensorrt cannot be imported" in wholebody.load(dope)(PICTURE).metadata["fallback"]


@pytest.mark.parametrize(
    "reason",
    [
        "pycuda cannot be imported (No module named 'pycuda'): pip install pycuda",
        "no GPU is found (cuInit failed: no CUDA-capable device): see nvidia-smi",
        "GPU 0 is out of memory: cuMemAlloc failed",
    ],
)
def test_a_gpu_that_does_not_serve(
    here: Any, dope: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    build(here, dope)

    def missing(number: int) -> None:
        raise BackendError(reason)

    monkeypatch.setattr(here.fake.runner, "Cuda", missing)
    with pytest.raises(BackendError, match=re.escape(reason)):
        wholebody.load(dope, backend="tensorrt")
    people = wholebody.load(dope)(PICTURE)
    assert people.metadata["fallback"] == f"{reason}; so {CPU} runs"


def test_a_lost_gpu_costs_one_frame(here: Any, dope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(here, dope)
    pose = wholebody.load(dope)
    expected = pose(PICTURE)
    monkeypatch.setattr(here.fake.runner, "Cuda", here.renewed)
    here.cuda.spoilt = True
    with pytest.raises(BackendError, match="this frame is lost"):
        pose(PICTURE)
    np.testing.assert_array_equal(pose(PICTURE).keypoints, expected.keypoints)


def test_kernels_that_cannot_be_compiled(here: Any, dope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *arguments: Any) -> None:
        raise BackendError("CUDA kernels cannot be compiled: pip install nvidia-cuda-nvrtc")

    build(here, dope)
    monkeypatch.setattr(type(here.cuda), "launch", refuse)
    pose = wholebody.load(dope)
    assert type(pose) is DopePose
    people, expected = pose(PICTURE), wholebody.load(dope, backend=CPU)(PICTURE)
    assert people.metadata["backend"] == "tensorrt:10.16.1.11"
    assert people.metadata["fallback"].endswith("nvidia-cuda-nvrtc; so only the network runs on the GPU")
    np.testing.assert_array_equal(people.keypoints, expected.keypoints)


@pytest.fixture(params=["onnx", "engine"])
def published(request: pytest.FixtureRequest, here: Any, top_down: Path) -> Path:
    engine = build(here, top_down)
    return engine if request.param == "engine" else top_down


def test_a_published_student(here: Any, published: Path, top_down: Path) -> None:
    boxes = [[5, 5, 40, 55], [30, 2, 78, 50]]
    pose, other = load_top_down(published), load_top_down(top_down, backend=CPU)
    assert type(pose) is GpuTopDownPose
    people, expected = pose(PICTURE, boxes), other(PICTURE, boxes)
    np.testing.assert_allclose(people.keypoints, expected.keypoints, atol=1e-3)
    assert people.metadata["verified"] == expected.metadata["verified"]


def yolox(path: Path) -> Path:
    """A published detector whose answer is always the same: one person."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    anchors = np.zeros((1, 84, 6), np.float32)
    anchors[0, 20] = [0.5, 0.5, 1.2, 1.2, 0.9, 0.9]
    tensors = [
        numpy_helper.from_array(anchors, "always"),
        numpy_helper.from_array(np.zeros(1, np.float32), "nothing"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["always", "zero"], ["output"]),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 84, 6])
    graph = helper.make_graph(nodes, "finder", [image], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def test_a_published_detector(
    here: Any,
    top_down: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    onnx_file = yolox(tmp_path / "finder.onnx")
    build(here, onnx_file)
    build(here, top_down)
    boxes, _ = load_detector(onnx_file, backend=CPU)(PICTURE)
    assert len(boxes) == 1
    pose = load_top_down(top_down, detector=onnx_file)
    assert type(pose) is GpuTopDownPose
    assert type(pose.detector) is GpuPersonDetector
    np.testing.assert_allclose(pose.detector(PICTURE)[0], boxes, atol=1e-3)
    expected = load_top_down(top_down, detector=onnx_file, backend=CPU)(PICTURE)
    np.testing.assert_allclose(pose(PICTURE).keypoints, expected.keypoints, atol=1e-3)

    def refuse(self: Any, *arguments: Any) -> None:
        raise BackendError("CUDA kernels cannot be compiled: pip install nvidia-cuda-nvrtc")

    monkeypatch.setattr(type(here.cuda), "launch", refuse)
    detect = load_detector(onnx_file)
    assert type(detect) is PersonDetector
    np.testing.assert_allclose(detect(PICTURE)[0], boxes, atol=1e-3)
    assert "so only the detector's network runs on the GPU" in caplog.text


def test_mirrored_crops_are_made_in_numpy(here: Any, published: Path, top_down: Path) -> None:
    boxes = [[5, 5, 40, 55], [30, 2, 78, 50], [10, 10, 50, 50]]
    pose, other = (
        load_top_down(published, flip_test=True),
        load_top_down(top_down, flip_test=True, backend=CPU),
    )
    assert type(pose) is TopDownPose
    assert pose.buckets == (1, 2, 4, 8, 16)
    people = pose(PICTURE, boxes)
    np.testing.assert_allclose(people.keypoints, other(PICTURE, boxes).keypoints, atol=1e-3)
    assert "leave out flip_test" in people.metadata["fallback"]


def test_an_engine_of_a_published_student_needs_its_onnx_file(here: Any, top_down: Path) -> None:
    engine = build(here, top_down)
    top_down.unlink()
    with pytest.raises(ArtefactError, match=r"published.onnx"):
        wholebody.load(engine)


def test_run_builds_again_if_it_may(
    here: Any, dope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(here, dope)
    here.cuda.name = "Fake H100"
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "a.png", PICTURE)
    arguments = ["run", str(dope), "a.png", "--backend", "tensorrt"]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, ArtefactError)
    done = CliRunner().invoke(app, [*arguments, "--rebuild"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "building " in done.output
    assert len(list((tmp_path / "out").iterdir())) == 1
