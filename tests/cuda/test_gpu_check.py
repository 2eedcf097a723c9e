"""gpu_check on the GPU that the tests have: everything that does not need a driver."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wholebody.benchmarks import gpu_check, gpu_kernels
from wholebody.benchmarks.gpu_kernels import Work
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.spec import CropInput, InputSpec

Printed = pytest.CaptureFixture[str]


class Event:
    def since(self, earlier: Event) -> float:
        return 0.5


class Graph:
    def launch(self) -> None:
        pass


@contextmanager
def capture() -> Iterator[Graph]:
    yield Graph()


@pytest.fixture
def emulated(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """The tests' GPU with what gpu_check needs besides, and small inputs of networks."""
    for name, value in {"arch": "sm_90", "driver": "13.0", "event": Event, "capture": capture}.items():
        monkeypatch.setattr(gpu, name, value, raising=False)
    colours = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    monkeypatch.setattr(gpu_kernels, "INPUT", InputSpec(40, 67, 40, 67, *colours))
    monkeypatch.setattr(gpu_kernels, "CROP", CropInput(38, 29, (120, 110, 100), (58, 57, 56), "rgb"))
    monkeypatch.setattr(gpu_check, "_open", lambda through, report: gpu)
    monkeypatch.setattr(gpu_check, "_compile", lambda arch: None)
    monkeypatch.setattr(gpu_check, "_bandwidth", lambda gpu: 4e12)
    checked: Gpu = gpu
    return checked


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_check", *arguments])
    return gpu_check.main()


def test_small_sizes(
    emulated: Gpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--only-small") == 0
    assert capsys.readouterr().out.endswith("all passed\n")


def test_the_report(emulated: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wrong() -> float:
        raise AssertionError("7 is not\n8")

    good = Work("good", [lambda: None], lambda: 0.25, moved=10**9, aim=1)
    monkeypatch.setattr(gpu_check, "small", lambda gpu: [Work("bad", [], wrong)])
    monkeypatch.setattr(gpu_check, "many", lambda gpu: [])
    monkeypatch.setattr(gpu_check, "large", lambda gpu: [good])
    monkeypatch.setattr(gpu_check.shutil, "which", lambda *_, **__: None)
    assert call(monkeypatch, "--json", str(tmp_path / "out.json")) == 1
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["gpu"] == "cudaemu"
    assert report["failed"] == ["bad"]
    assert report["checks"]["bad"] == "failed: AssertionError: 7 is not 8"
    assert report["checks"]["good"] == 0.25
    assert report["times"]["good"]["share_of_floor"] == pytest.approx(250 / (500 / gpu_check.LAUNCHES))
    assert "the aim is 1 us: MISSED" in report["checks"]["time of good"]
    assert any("racecheck" in line for line in report["left_out"])
    assert any("pycuda" in line for line in report["left_out"])


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    def missing(*_: object) -> None:
        raise BackendError("pycuda cannot be imported")

    monkeypatch.setattr(gpu_check, "Cuda", missing)
    monkeypatch.setitem(sys.modules, "cupy", None)
    for arguments in ((), ("--probe",)):
        assert call(monkeypatch, *arguments) == 2
        told = capsys.readouterr()
        assert "neither pycuda nor CuPy reaches a GPU here" in told.err
        assert (told.out + told.err).count("\n") == 1


def test_a_gpu_that_is_there(emulated: Gpu, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    assert call(monkeypatch, "--probe") == 0
    assert capsys.readouterr().out == "cudaemu, sm_90, through EmulatedGpu\n"
