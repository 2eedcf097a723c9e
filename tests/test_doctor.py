"""What the doctor finds on machines that have more, or less, than this one."""

from __future__ import annotations

import ctypes
import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace

import pytest

from wholebody.runtime import doctor
from wholebody.runtime.doctor import Finding, examine
from wholebody.runtime.errors import BackendError


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


# --- what engines need --------------------------------------------------------------------------------------


def with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL
    driver = FakeDriver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name, *a, **k: driver if "cuda.so" in name else load(name))


def package(name: str) -> ModuleType:
    made = ModuleType(name)
    made.__path__ = []
    return made


def broken(monkeypatch: pytest.MonkeyPatch, module: str, error: Exception) -> None:
    class Broken:
        def find_spec(self, name: str, *rest: object) -> None:
            if name == module:
                raise error

    for name in [n for n in sys.modules if n.partition(".")[0] == module.partition(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])


def test_nobody_misses_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_gpu(monkeypatch)
    broken(monkeypatch, "tensorrt", ModuleNotFoundError("No module named 'tensorrt'"))
    broken(monkeypatch, "pycuda.driver", ModuleNotFoundError("No module named 'pycuda'"))
    monkeypatch.setitem(sys.modules, "pycuda", package("pycuda"))
    for what, cure in (("TensorRT", "python3-libnvinfer"), ("pycuda", "pip install pycuda")):
        assert (found(what).found, found(what).ok) == ("not installed", None)
        assert cure in found(what).cure


@pytest.mark.parametrize("gpu", [True, False])
def test_libraries_that_are_broken(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    """They matter only where there is a GPU."""
    if gpu:
        with_a_gpu(monkeypatch)
    broken(monkeypatch, "tensorrt", OSError("libnvdla_compiler.so: cannot open\nshared object file"))
    broken(monkeypatch, "pycuda.driver", ImportError("libcuda.so.1: cannot open shared object file"))
    monkeypatch.setitem(sys.modules, "pycuda", package("pycuda"))
    has = found("NVIDIA GPU").ok
    assert (found("TensorRT").found, found("TensorRT").ok) == (
        "does not work: libnvdla_compiler.so: cannot open", False if has else None,
    )  # fmt: skip
    assert found("pycuda").ok is (False if has else None)
    assert "--gpus all" in found("pycuda").cure


@pytest.mark.parametrize(("version", "ok"), [("8.5.3.1", True), ("10.16.1.11", True), ("8.4.1", False)])
def test_libraries_that_are_there(monkeypatch: pytest.MonkeyPatch, version: str, ok: bool) -> None:
    """TensorRT is imported and no more: without a driver its Runtime ends the process."""
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    monkeypatch.setitem(sys.modules, "pycuda", package("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", ModuleType("pycuda.driver"))
    assert (found("TensorRT").found, found("TensorRT").ok) == (version, ok)
    assert found("pycuda").ok is True


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (("nvrtc", "nvrtc 13.0"), "nvrtc 13.0"),
        (("/usr/bin/nvcc", "Cuda compilation tools, release 12.6, V12.6.85\n"), "nvcc 12.6"),
    ],
)
def test_the_compiler(monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str], text: str) -> None:
    monkeypatch.setattr(doctor, "find_compiler", lambda: answer)
    assert (found("CUDA compiler").found, found("CUDA compiler").ok) == (text, True)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendError("kernels cannot be compiled, as nothing is here: pip install nvidia-cuda-nvrtc")

    monkeypatch.setattr(doctor, "find_compiler", missing)
    assert found("CUDA compiler").ok is (False if found("NVIDIA GPU").ok else None)
    assert found("CUDA compiler").cure == "for engines: pip install nvidia-cuda-nvrtc"
