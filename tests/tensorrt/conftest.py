"""TensorRT for tests: each release's recorded names over a fake that computes with ONNX Runtime."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
OF_TENSORRT = (
    "wholebody.runtime.backends.trt_engine", "wholebody.runtime.backends.trt_outputs",
    "wholebody.runtime.backends.trt_execution", "wholebody.runtime.backends.trt",
    "wholebody.export.engine", "wholebody.export.engine_build",
)  # fmt: skip


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"tensorrt_tests_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


behaviour, fake_cuda, recorded = (_load(name) for name in ("behaviour", "fake_cuda", "recorded"))


@dataclass
class Fake:
    """release: "8.6"; trt: the module; world: what its calls do; runner, engine: our modules over it."""

    release: str
    trt: Any
    world: Any
    cuda: Any
    runner: Any
    engine: Any


def _import_over(module: ModuleType | None) -> dict[str, Any]:
    """Our modules that use TensorRT, imported anew."""
    for name in OF_TENSORRT:
        sys.modules.pop(name, None)
    if module is None:
        sys.modules.pop("tensorrt", None)
        return {}
    module.__spec__ = ModuleSpec("tensorrt", None)  # PyTorch asks for it
    sys.modules["tensorrt"] = module
    return {name.rpartition(".")[2]: importlib.import_module(name) for name in OF_TENSORRT}


def _fake(release: str, cuda: Any = None) -> Fake:
    world = behaviour.World(cuda=cuda or fake_cuda.FakeCuda())
    names = ModuleType("tensorrt")
    classes, functions = behaviour.behaviours(world, names)
    module = recorded.make_module(release, classes, functions)
    vars(names).update(vars(module))
    ours = _import_over(module)
    return Fake(release, module, world, world.cuda, ours["trt"], ours["engine"])


@pytest.fixture(params=recorded.RELEASES)
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """TensorRT of each release in turn."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield _fake(request.param)
    _import_over(None)


@pytest.fixture
def fake_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Fake]]:
    """`fake_of("8.6")`: TensorRT of one release."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield _fake
    _import_over(None)


@pytest.fixture
def records() -> Any:
    """The module that reads records."""
    return recorded


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    """An ONNX file: image (batch, 3, 8, 8) to y (batch, 4, 8, 8) and mean (batch, 4)."""
    return write_conv(tmp_path / "conv.onnx")


def write_conv(path: Path, *, half: bool = False, batch: int | str = "batch", **names: Any) -> Path:
    """A convolution and a mean; `half` computes the convolution in FP16, between two casts."""
    rng = np.random.default_rng(0)
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float16 if half else np.float32)
    nodes = [
        helper.make_node(
            "Conv", ["x" if half else "image", "w"], ["c" if half else "y"], "conv", pads=[1] * 4
        ),
        helper.make_node("ReduceMean", ["y"], ["mean"], "mean", axes=[2, 3], keepdims=0),
    ]
    if half:
        nodes.insert(0, helper.make_node("Cast", ["image"], ["x"], "to half", to=kind))
        nodes.insert(2, helper.make_node("Cast", ["c"], ["y"], "to float", to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 8, 8]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch, 4]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    return _save(graph, path)


def write_nonzero(path: Path) -> Path:
    """An ONNX file whose output has a size that only the run tells: the indices of what is not 0."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["found"], "nonzero")],
        "nonzero",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])],
        [helper.make_tensor_value_info("found", TensorProto.INT64, [1, "count"])],
    )
    return _save(graph, path)


def _save(graph: Any, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.fixture
def make_onnx() -> Any:
    """`make_onnx.conv(path, half=True)`, `make_onnx.nonzero(path)`."""
    from types import SimpleNamespace

    return SimpleNamespace(conv=write_conv, nonzero=write_nonzero)
