"""A GPU for tests: the kernels' own sources, compiled for the CPU, behind the seam of runtime/gpu.py."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from wholebody.runtime.compiler import source
from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel
from wholebody.runtime.whole import whole

HERE = Path(__file__).parent
FLAGS = ["-std=c++20", "-O2", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-fPIC", "-ffp-contract=off"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
SPOILT = 0xFF  # NaN as a float, -1 as an integer: what memory holds that nobody wrote to
KERNELS = (
    r'^extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\('
    r"|^(?:(?:LEVELS_)?KERNEL|YOLOX|RTMDET)\((\w+),"  # macros
)
TYPES = {"i": ctypes.c_int32, "f": ctypes.c_float, "d": ctypes.c_double}


class EmulatedGpu:
    """Kernels on the CPU, one thread after the other. Memory that nobody wrote to is spoilt."""

    name = "cudaemu"

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self._folder, self._flags = folder, flags
        self._libraries: dict[str, ctypes.CDLL] = {}

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> DeviceArray:
        host = np.empty(shape, dtype)
        ctypes.memset(host.ctypes.data, SPOILT, host.nbytes)
        return DeviceArray(host.ctypes.data, host.shape, host.dtype, host)

    def copy_in(self, host: NDArray[Any], to: DeviceArray) -> None:
        assert (host.shape, host.dtype) == (to.shape, to.dtype)
        assert host.flags.c_contiguous
        ctypes.memmove(to.pointer, host.ctypes.data, host.nbytes)

    def copy_out(self, array: DeviceArray, to: NDArray[Any]) -> None:
        assert (to.shape, to.dtype) == (array.shape, array.dtype)
        assert to.flags.c_contiguous
        ctypes.memmove(to.ctypes.data, array.pointer, to.nbytes)

    def fill(self, array: DeviceArray, byte: int = 0) -> None:
        ctypes.memset(array.pointer, byte, array.nbytes)

    def upload(self, host: NDArray[Any]) -> DeviceArray:
        array = self.empty(host.shape, host.dtype)
        self.copy_in(np.ascontiguousarray(host), array)
        return array

    def download(self, array: DeviceArray) -> NDArray[Any]:
        host = np.empty(array.shape, array.dtype)
        self.copy_out(array, host)
        return host

    def synchronize(self) -> None:
        pass

    def launch(self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        library = self._library(kernel.file)
        signature = getattr(library, f"emu_signature_{kernel.name}")
        signature.restype = ctypes.c_char_p
        assert signature().decode() == kernel.arguments, f"{kernel.name} takes other arguments"
        assert len(arguments) == len(kernel.arguments), f"{kernel.name}: {len(arguments)} arguments"
        values = [_value(*pair) for pair in zip(kernel.arguments, arguments, strict=True)]
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        sides = (ctypes.c_uint * 6)(*_three(grid), *_three(block))
        getattr(library, f"emu_launch_{kernel.name}")(sides, pointers)

    def _library(self, file: str) -> ctypes.CDLL:
        if file not in self._libraries:
            self._libraries[file] = ctypes.CDLL(str(self._compiled(file)))
        return self._libraries[file]

    def _compiled(self, file: str) -> Path:
        text = source(file)
        names = [name for pair in re.findall(KERNELS, text, re.MULTILINE) for name in pair if name]
        assert names, f"{file} has no kernels"
        text += "".join(f"\nCUDAEMU_EXPORT({name})" for name in names)
        header, runtime = HERE / "cudaemu.h", self._object()
        path = self._path(Path(file).stem, text, header.read_text(), runtime.name, suffix=".so")
        if not path.exists():
            with whole(path) as partial:
                command = ["-shared", "-include", str(header), "-x", "c++", "-", "-x", "none", str(runtime)]
                _run(["g++", *self._flags, *command, "-o", str(partial)], text)
        return path

    def _object(self) -> Path:
        text = (HERE / "cudaemu.cpp").read_text()
        path = self._path("cudaemu", text, (HERE / "cudaemu.h").read_text(), suffix=".o")
        if not path.exists():
            with whole(path) as partial:
                _run(["g++", *self._flags, f"-I{HERE}", "-c", "-x", "c++", "-", "-o", str(partial)], text)
        return path

    def _path(self, stem: str, *texts: str, suffix: str) -> Path:
        key = hashlib.sha256("\0".join((*self._flags, *texts)).encode()).hexdigest()[:24]
        return self._folder / f"{stem}-{key}{suffix}"


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # a warning


def _value(letter: str, argument: Any) -> Any:
    if letter == "P":
        assert isinstance(argument, DeviceArray)
        return ctypes.c_void_p(argument.pointer)
    assert not isinstance(argument, DeviceArray)
    return TYPES[letter](argument)


def _three(sides: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*sides, 1, 1)[:3]
    return x, y, z


@pytest.fixture(scope="session")
def gpu(pytestconfig: pytest.Config) -> Gpu:
    """A GPU that any machine with g++ has."""
    if shutil.which("g++") is None:
        if os.environ.get("CI"):
            pytest.fail("the kernels are not tested: g++ must be there on CI")
        pytest.skip("g++ compiles the kernels for the CPU, and is not here")
    sanitize = SANITIZE if os.environ.get("CUDAEMU_SANITIZE") else []
    return EmulatedGpu(pytestconfig.cache.mkdir("cudaemu"), [*FLAGS, *sanitize])


@pytest.fixture(params=["", "reverse", "1"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with each of several orders of a block's threads."""
    if request.param:
        monkeypatch.setenv("CUDAEMU_ORDER", request.param)
    return str(request.param)
