"""engine_check on the emulated GPU, so that a real one's time is not spent on its mistakes."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wholebody.benchmarks.engine_check import __main__ as engine_check
from wholebody.benchmarks.engine_check import (
    engines,
    fault_steps,
    network_steps,
    pipeline_steps,
    prepare,
    small_networks,
    speed,
)
from wholebody.runtime.artefact import write_artefact
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec
from wholebody.runtime.video import camera_ring


@pytest.fixture
def here(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine whose GPU is the emulated one, and clocks that nobody waits for."""

    def opened(number: int = 0) -> Any:
        return device.renewed(number) if device.cuda.lost else device.cuda

    for user in (device.fake.runner, device.fake.engine, camera_ring):
        monkeypatch.setattr(user, "Cuda", opened)
    monkeypatch.setattr(pipeline_steps, "ROUNDS", 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(prepare, "SMALL", ())
    monkeypatch.setattr(prepare, "small_networks", lambda folder: None)
    return device


def top_down(path: Path) -> Path:
    """An exported student of 17 keypoints whose answers do not depend on the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from wholebody.runtime.artefact import onnx_metadata

    crop = CropInput(64, 48, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "rgb")
    spec = TopDownSpec("still", "simcc", crop, "coco17", WeightsSpec("made up", "0" * 64, "none"))
    rng, nodes, arrays, outputs = np.random.default_rng(0), [], [], []
    nodes.append(helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Unsqueeze", ["mean", "axes"], ["means"]))
    arrays.append(numpy_helper.from_array(np.array([1, 2], np.int64), "axes"))
    for name, shape in dict[str, Any](spec.outputs).items():
        values = rng.uniform(1, 2, (1, *shape[1:])).astype(np.float32)
        arrays.append(numpy_helper.from_array(values, f"{name}_always"))
        nodes.append(helper.make_node("Add", ["means", f"{name}_always"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 64, 48])
    model = helper.make_model(
        helper.make_graph(nodes, "still", [image], outputs, arrays),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    helper.set_model_props(model, onnx_metadata(spec))
    onnx.save(model, path)
    return write_artefact(path, spec).path


@pytest.fixture(params=["dope", "top-down"])
def prepared(request: pytest.FixtureRequest, here: Any, constant_student: Path, tmp_path: Path) -> Path:
    """A student that was prepared and built."""
    student = constant_student if request.param == "dope" else top_down(tmp_path / "still.onnx")
    folder = tmp_path / "check"
    prepare.prepare(folder, [student], None, reduced=False)
    path = folder / student.stem
    assert network_steps.step_build(path, 0)["mb"] > 0
    return path


def test_the_people_of_every_pipeline(prepared: Path) -> None:
    if "still" in prepared.name:  # the other's proposals are all in one place, and cannot be matched
        assert network_steps.step_compare(prepared, 0)["ok"]
    numbers = pipeline_steps.step_people(prepared, 0)
    assert numbers["ok"], numbers
    assert numbers["wanted"] >= 1
    for name in ("numpy", "gpu", "gpu, no graphs"):
        assert numbers[name]["people"] == numbers["wanted"]
        assert numbers[name]["largest_px"] < 1e-3
    assert numbers["gpu, no graphs"]["graph_failure"] == "not asked for"
    assert 0 < numbers["gpu"]["bytes_to_host"] <= 2**16
    assert numbers["gpu"]["host_us"] > 0
    assert json.dumps(numbers)


def test_every_way_in(prepared: Path) -> None:
    numbers = pipeline_steps.step_inputs(prepared, 0)
    assert numbers["ok"], numbers
    assert numbers["on the GPU"] == numbers["a ring"] == numbers["NV12"] == 0
    assert "left out: " in str(numbers["CuPy"])


def test_threads_and_long_runs(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_steps, "THREADS", 1)  # the emulated GPU has no turns
    numbers = pipeline_steps.step_crowd(prepared, 4)
    assert (numbers["ok"], numbers["frames"]) == (True, 4)
    monkeypatch.setattr(pipeline_steps, "memory", lambda cuda: (1.0, 2.0))
    numbers = pipeline_steps.step_long(prepared, 20)
    assert (numbers["ok"], numbers["frames"], numbers["host_growth_mb"]) == (True, 20, 0)
    monkeypatch.setattr(pipeline_steps, "SECONDS", 0)
    assert not pipeline_steps.step_long(prepared, 20)["ok"], "not all frames were run"


def test_a_gpu_that_is_lost(here: Any, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def illegal(*arguments: Any) -> Any:
        here.cuda.spoilt = True
        return lambda *arrays: None

    monkeypatch.setattr("wholebody.runtime.kernels.simcc_gpu.SimccDecoder", illegal)
    numbers = fault_steps.step_lost(prepared, 0)
    assert numbers["ok"], numbers
    assert "illegal memory access" in numbers["told"]


def test_reduced_precision(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its people are held against those of FP32, by its own budget."""
    written: list[tuple[str, str | None]] = []

    def quantize(student: Path, output: Path, *, precision: str, target: str | None, force: bool) -> None:
        written.append((precision, target))
        output.write_bytes(student.read_bytes())
        described = json.loads(student.with_suffix(".json").read_text())
        described["certificate"] = {"budget": {"px": 0.25}}
        output.with_suffix(".json").write_text(json.dumps(described))

    quantizing = SimpleNamespace(quantize=quantize, Precision=str)
    monkeypatch.setitem(sys.modules, "wholebody.export.precision.quantizing", quantizing)
    prepare.prepare(tmp_path / "check", [top_down(tmp_path / "still.onnx")], None)
    assert written == [("fp16", None), ("int8", "tensorrt")]
    path = tmp_path / "check" / "still_fp16"
    network_steps.step_build(path, 0)
    assert not network_steps.step_compare(path, 0)["judged"]
    numbers = pipeline_steps.step_people(path, 0)
    assert numbers["ok"], numbers
    assert numbers["gpu"]["budget_px"] == 0.25
    assert numbers["gpu"]["median_px"] < 1e-3
    found = pipeline_steps.whole_pictures(path)[1]
    people = pipeline_steps.pipelines(path)["gpu"](*pipeline_steps.whole_pictures(path)[0])
    moved = found[0] + np.float32(0.4), found[1]
    assert not pipeline_steps.drift(path, people, moved)["within"]


def test_speed(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network in place of a large one; this machine's PyTorch has no GPU, and that is said."""
    monkeypatch.setattr(speed, "checkpoints", lambda: {speed.DWPOSE: lambda: None})
    monkeypatch.setattr(speed, "export", lambda checkpoint, path: top_down(path))
    monkeypatch.setattr(speed, "ROUNDS", 2)
    speed.prepare_speed(tmp_path)
    path = tmp_path / speed.DWPOSE
    for stem in (speed.DWPOSE, f"{speed.DWPOSE}_fp16"):
        network_steps.step_build(tmp_path / stem, 0)
    numbers = speed.step_beside(path, 0)
    assert numbers["engine FP32"] > 0
    assert numbers["engine FP16"] > 0
    assert "has no GPU here" in numbers["left_out"]
    numbers = speed.step_rate(tmp_path / f"{speed.DWPOSE}_fp16", 0)
    assert numbers["frames_per_second"] > 0
    assert numbers["bytes_to_host"] > 0


def test_the_sizes_that_are_timed() -> None:
    dope, dwpose = speed.sizes()
    assert (dope.blocks, dope.proposals, dope.min_size) == ((3, 4, 6, 3), 1000, 800)
    assert (dwpose.height, dwpose.width, dwpose.joints) == (384, 288, 133)
    assert set(speed.checkpoints()) == {speed.DOPE, speed.DWPOSE}


def test_all_steps_are_there(tmp_path: Path) -> None:
    for stem in (*small_networks.SMALL, "mini", "mini_fp16", "speed-dope", "speed-dope_fp16"):
        (tmp_path / f"{stem}.onnx").touch()
    names = engine_check.names_of(tmp_path)
    assert len(names) == len(set(names))
    assert {name.partition(":")[0] for name in names} == set(engine_check.STEPS)
    for name in ("people:mini_fp16", "long:mini", "beside:speed-dope", "rate:speed-dope_fp16"):
        assert name in names
    assert names.index("build:speed-dope_fp16") < names.index("beside:speed-dope")


def test_without_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "all.json"
    into.write_text('{"gpu": "Fake"}')
    arguments = ["run", tmp_path, "--output", tmp_path / "engines.json", "--into", into]
    monkeypatch.setattr(sys, "argv", ["engine_check", *map(str, arguments)])
    monkeypatch.setattr(engine_check, "left_out", lambda: "engines: No module named 'tensorrt'")
    assert engine_check.main() == 0
    assert "left out: engines: No module named 'tensorrt'" in capsys.readouterr().out
    assert json.loads(into.read_text()) == {
        "gpu": "Fake", "tensorrt": {"left_out": "engines: No module named 'tensorrt'"}
    }  # fmt: skip


def test_what_is_missing() -> None:
    if find_spec("pycuda") is None:
        assert "No module named" in str(engine_check.left_out())


def test_engines_are_where_the_onnx_file_is() -> None:
    assert engines.is_reduced(Path("a/mini_int8"))
    assert not engines.is_reduced(Path("a/mini"))
