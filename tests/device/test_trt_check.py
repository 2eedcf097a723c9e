"""scripts/trt_check.py on the emulated GPU, so that a real one's time is not spent on its mistakes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wholebody.runtime.artefact import write_artefact
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "trt_check.py"


@pytest.fixture
def script(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, on a machine whose GPU is the emulated one."""
    spec = importlib.util.spec_from_file_location("trt_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    for user in (device.fake.runner, device.fake.engine):
        monkeypatch.setattr(user, "Cuda", lambda number=0: device.cuda)
    monkeypatch.setattr(module, "on_the_clock", lambda pose, inputs: {"ms": 1.0})
    monkeypatch.setattr(module, "SMALL", ())
    return module


def top_down(path: Path) -> Path:
    """An exported student of 17 keypoints whose answers do not depend on the picture."""
    import numpy as np
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


@pytest.mark.parametrize("family", ["dope", "top-down"])
def test_the_people_of_every_pipeline(
    script: Any, constant_student: Path, tmp_path: Path, family: str
) -> None:
    folder = tmp_path / "check"
    student = constant_student if family == "dope" else top_down(tmp_path / "still.onnx")
    script.prepare(folder, [student], None)
    path = folder / student.stem
    assert script.step_build(path, 0)["mb"] > 0
    if family == "top-down":  # the other's proposals are all in one place, and cannot be matched
        assert script.step_compare(path, 0)["ok"]
    numbers = script.step_people(path, 0)
    assert numbers["ok"], numbers
    assert numbers["wanted"] >= 1
    for name in ("numpy", "gpu", "gpu, no graphs"):
        assert numbers[name]["people"] == numbers["wanted"]
        assert numbers[name]["largest_px"] < 1e-3
    assert numbers["gpu, no graphs"]["graph_failure"] == "not asked for"
    assert json.dumps(numbers)


def test_without_tensorrt(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "all.json"
    into.write_text('{"gpu": "Fake"}')
    arguments = ["run", tmp_path, "--output", tmp_path / "engines.json", "--into", into]
    monkeypatch.setattr(sys, "argv", ["trt_check", *map(str, arguments)])
    monkeypatch.setattr(script, "left_out", lambda: "engines: No module named 'tensorrt'")
    assert script.main() == 0
    assert "left out: engines: No module named 'tensorrt'" in capsys.readouterr().out
    assert json.loads(into.read_text()) == {
        "gpu": "Fake", "tensorrt": {"left_out": "engines: No module named 'tensorrt'"}
    }  # fmt: skip


def test_what_is_missing(script: Any) -> None:
    find: Callable[[], str | None] = script.left_out
    if importlib.util.find_spec("pycuda") is None:
        assert "No module named" in str(find())
