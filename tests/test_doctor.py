"""What the doctor finds on machines that have more, or less, than this one."""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from wholebody.runtime.doctor import Finding, examine


def found(what: str) -> Finding:
    (finding,) = (f for f in examine() if f.what.strip() == what)
    return finding


def test_this_machine_can_run_students() -> None:
    findings = examine()
    assert all(f.ok is not False for f in findings if f.what.strip() not in ("NVIDIA GPU", "CUDA provider"))
    assert all("\n" not in f.found + f.cure for f in findings)
    assert all(f.cure for f in findings if not f.ok)
    assert len({f.what for f in findings}) == len(findings)
    assert max(len(f.what) for f in findings) <= 20  # the width of the command line's column


def test_libraries_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert found("OpenCV").ok is False
    assert "opencv-python-headless" in found("OpenCV").cure
    assert found("ONNX Runtime").ok is False
    assert found("ONNX Runtime").cure == "pip install onnxruntime"


def test_the_export_extra_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without(name: str) -> str:
        if name in ("torch", "onnxslim"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    finding = found("for export")
    assert finding.ok is None
    assert finding.found == "without torch, onnxslim"
    assert "wholebody[export]" in finding.cure


def fake_onnxruntime(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    names = [f"{name}ExecutionProvider" for name in providers]
    fake = SimpleNamespace(
        __version__="1.0", __file__="/nowhere/onnxruntime/__init__.py", get_available_providers=lambda: names
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)


def test_a_cuda_provider_whose_libraries_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_onnxruntime(monkeypatch, "CUDA", "CPU")
    assert found("providers built in").found == "CUDA, CPU"
    finding = found("CUDA provider")
    assert finding.ok is False
    assert finding.found.startswith("does not load: ")
    assert "cuDNN" in finding.cure


def test_a_build_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_onnxruntime(monkeypatch, "CPU")
    assert (found("CUDA provider").ok, found("CUDA provider").found) == (None, "not in this build")


class FakeDriver:
    """libcuda, as far as the doctor asks it."""

    def __init__(self, status: int = 0, count: int = 1) -> None:
        self.status, self.count = status, count

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetCount(self, count: object) -> int:
        count._obj.value = self.count  # type: ignore[attr-defined]
        return 0

    def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], length: int, device: int) -> int:
        name.value = b"NVIDIA Orin"
        return 0


@pytest.mark.parametrize(
    ("driver", "ok", "text"),
    [
        (FakeDriver(), True, "NVIDIA Orin"),
        (FakeDriver(count=3), True, "NVIDIA Orin and 2 more"),
        (FakeDriver(status=100), False, "the driver answers with error 100, 0 devices"),
        (FakeDriver(count=0), False, "the driver answers with error 0, 0 devices"),
    ],
)
def test_the_gpu(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, ok: bool, text: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert (found("NVIDIA GPU").ok, found("NVIDIA GPU").found) == (ok, text)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert (found("NVIDIA GPU").ok, found("NVIDIA GPU").cure) == (None, "students run on the CPU")
