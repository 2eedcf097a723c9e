"""Whole pipelines without a GPU: engines on the fake TensorRT, kernels on the CPU, one stream for both."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.export.build_plan import BuildOptions, plan_build
from wholebody.runtime.gpu import DeviceArray, Kernel

TESTS = Path(__file__).resolve().parents[1]


def _load(name: str) -> Any:
    """Another folder's conftest."""
    spec = importlib.util.spec_from_file_location(f"{name}_conftest", TESTS / name / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tensorrt, cuda = _load("tensorrt"), _load("cuda")
gpu = cuda.gpu  # the fixture


class Event:
    """A mark in the stream."""

    def __init__(self, cuda: EmulatedCuda) -> None:
        self._cuda = cuda
        self.passed: float | None = None

    def record(self) -> None:
        self._cuda.submit(lambda: setattr(self, "passed", time.perf_counter()))

    def synchronize(self) -> None:
        self._cuda.synchronize()

    def since(self, earlier: Event) -> float:
        self.synchronize()
        assert self.passed is not None
        assert earlier.passed is not None
        return (self.passed - earlier.passed) * 1e3


class EmulatedCuda(tensorrt.fake_cuda.FakeCuda):  # type: ignore[misc]
    """The fake GPU with kernels; `copied` counts the bytes that went to the host, `launches` the kernels."""

    def __init__(self, kernels: Any) -> None:
        super().__init__()
        self._emulated = kernels
        self.copied = self.launches = 0

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        self.launches += 1
        self.submit(lambda: self._emulated.launch(kernel, grid, block, *arguments))

    def fill(self, array: DeviceArray, byte: int = 0) -> None:
        self.submit(lambda: ctypes.memset(array.pointer, byte, array.nbytes))

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        super().copy_out(array, to)
        self.copied += array.nbytes

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        array = self.empty(host.shape, host.dtype)
        self.copy_in(np.array(host, order="C"), array)
        return array

    def download(self, array: DeviceArray) -> NDArray[Any]:
        host = np.empty(array.shape, array.dtype)
        self.copy_out(array, host)
        self.synchronize()
        return host

    def event(self) -> Event:
        self.allocations += 1
        mark = Event(self)
        mark.record()
        return mark


class Device:
    """One release of TensorRT on the emulated GPU."""

    def __init__(self, release: str, kernels: Any) -> None:
        self.cuda = EmulatedCuda(kernels)
        self.fake = tensorrt._fake(release, self.cuda)

    def renewed(self, number: int) -> EmulatedCuda:
        """The GPU after it was lost: nothing of before is on it."""
        assert self.cuda.lost
        self.cuda = self.fake.world.cuda = self.fake.cuda = EmulatedCuda(self.cuda._emulated)
        return self.cuda

    def engine(self, onnx: Path, **options: Any) -> Any:
        """An ONNX file, built and opened."""
        plan = plan_build(onnx, options=BuildOptions(**options))
        path = self.fake.engine.build_engine(plan, cuda=self.cuda).path
        return self.fake.runner.TensorRT(path, cuda=self.cuda)


@pytest.fixture
def device_of(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Device]]:
    """`device_of("8.6")`: a GPU with that release of TensorRT."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield lambda release: Device(release, gpu)
    tensorrt._import_over(None)


@pytest.fixture
def device(device_of: Callable[[str], Device]) -> Device:
    return device_of("10")
