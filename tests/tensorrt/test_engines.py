"""Which engine a student runs on, and what is said where there is no TensorRT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from wholebody.export.build_plan import plan_build
from wholebody.runtime.backends.engines import engine_of, open_engine
from wholebody.runtime.errors import ArtefactError, BackendError


def test_engines_of_students(tmp_path: Path) -> None:
    engine = tmp_path / "student.engine"
    with pytest.raises(
        ArtefactError, match=r"student.engine: no such engine; .*`wholebody build .*student.onnx`"
    ):
        engine_of(tmp_path / "student.onnx")
    with pytest.raises(
        ArtefactError, match=r"student.engine: no such engine; .*`wholebody build .*student.onnx`"
    ):
        engine_of(engine)
    engine.write_bytes(b"")
    assert engine_of(tmp_path / "student.onnx") == engine_of(str(engine)) == engine


def test_it_is_opened(fake_of: Any, conv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_of("10")
    fake.engine.build_engine(plan_build(conv), cuda=fake.cuda)
    monkeypatch.setattr(fake.runner, "Cuda", lambda device: fake.cuda)
    assert open_engine(conv).name == "tensorrt:10.16.1.11"


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'tensorrt'"), OSError("libnvdla_compiler.so")]
)
def test_without_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Broken:
        def find_spec(self, name: str, *rest: Any) -> None:
            if name == "tensorrt":
                raise error

    (tmp_path / "student.engine").write_bytes(b"")
    monkeypatch.delitem(sys.modules, "wholebody.runtime.backends.trt", raising=False)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(
        BackendError, match=r"tensorrt cannot be imported \(.*\): pip install tensorrt, on a Jetson"
    ):
        open_engine(tmp_path / "student.onnx")
