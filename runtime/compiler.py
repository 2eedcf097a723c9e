"""Kernels' sources to machine code for one architecture: NVRTC or nvcc, and a cache of what they made."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import resources, util
from pathlib import Path

from wholebody.runtime.errors import BackendError
from wholebody.runtime.whole import whole

__all__ = ["FLAGS", "cubin", "find_compiler", "source"]

# Products and sums are not fused, so that results are those of the NumPy references, bit by bit.
FLAGS = ("-std=c++17", "-fmad=false")


def source(file: str) -> str:
    """The text of a kernel's source file in runtime/kernels, with what it includes from there, each once."""
    folder, seen = resources.files("wholebody.runtime.kernels"), set[str]()

    def include(found: re.Match[str]) -> str:
        return "" if found[1] in seen else read(found[1])

    def read(name: str) -> str:
        seen.add(name)
        text = folder.joinpath(name).read_text("utf-8")
        return re.sub(r'^#include "(\w+\.cuh)"$', include, text, flags=re.MULTILINE)

    return read(file)


def cubin(file: str, arch: str) -> bytes:
    """A kernel's source file as machine code for "sm_90" and the like, compiled unless the cache has it.

    The cache is the folder wholebody/kernels in $XDG_CACHE_HOME (~/.cache); a file's name tells source,
    flags, architecture and compiler. Raises BackendError where there is no compiler, or it refuses.
    """
    text = source(file)
    compiler, version = find_compiler()
    key = hashlib.sha256("\0".join((text, *FLAGS, arch, version)).encode()).hexdigest()
    path = _cache() / f"{Path(file).stem}-{arch}-{key[:32]}.cubin"
    if path.is_file():
        return path.read_bytes()
    code = _nvrtc(text, arch) if compiler == "nvrtc" else _nvcc(compiler, text, arch)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(code)
    except OSError:
        pass  # a home that cannot be written to costs a compilation a start
    return code


@cache
def find_compiler() -> tuple[str, str]:
    """("nvrtc", version) or (path of nvcc, version); BackendError where neither is here."""
    library = _nvrtc_library()
    if library is not None:
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return "nvrtc", f"nvrtc {major.value}.{minor.value}"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        raise BackendError(
            "CUDA kernels cannot be compiled, as neither NVRTC nor nvcc is here: "
            "pip install nvidia-cuda-nvrtc, or put the CUDA toolkit's nvcc on PATH"
        )
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True)
    return nvcc, done.stdout


def _nvcc(nvcc: str, text: str, arch: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        kernels, machine_code = Path(folder, "kernels.cu"), Path(folder, "kernels.cubin")
        kernels.write_text(text, "utf-8")
        command = [nvcc, "-cubin", f"-arch={arch}", *FLAGS, "-o", str(machine_code), str(kernels)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(_refusal("nvcc", arch, done.stderr))
        return machine_code.read_bytes()


def _nvrtc(text: str, arch: str) -> bytes:
    library = _nvrtc_library()
    assert library is not None
    program = ctypes.c_void_p()
    flags = [flag.encode() for flag in (f"--gpu-architecture={arch}", *FLAGS)]
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    try:
        if library.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags)):
            log = _answer(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program)
            raise BackendError(_refusal("NVRTC", arch, log.rstrip(b"\0").decode(errors="replace")))
        return _answer(library.nvrtcGetCUBINSize, library.nvrtcGetCUBIN, program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _answer(size_of: Callable[..., int], read: Callable[..., int], program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    read(program, text)
    return text.raw


@cache
def _nvrtc_library() -> ctypes.CDLL | None:
    """NVRTC of the wheel nvidia-cuda-nvrtc, or of an installed toolkit."""
    for folder in _nvrtc_folders():
        for path in sorted(folder.glob("libnvrtc.so.*"), reverse=True):
            try:
                for builtins in folder.glob("libnvrtc-builtins.so.*.*"):
                    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)  # which it opens by name only
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    return None


def _nvrtc_folders() -> list[Path]:
    found = util.find_spec("nvidia")
    wheels = list(found.submodule_search_locations or ()) if found else []
    inside = [Path(w, name, "lib") for w in wheels for name in ("cu13", "cu12", "cuda_nvrtc")]
    return [*inside, Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64")]


def _refusal(compiler: str, arch: str, log: str) -> str:
    first = next((line for line in log.splitlines() if "error" in line), log.strip()[-200:])
    return f"{compiler} cannot compile a kernel for {arch}: {' '.join(first.split())}"


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "wholebody", "kernels")
