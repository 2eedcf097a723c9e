"""What this machine has for running students, and what is missing.

No CUDA is started beyond asking the driver how many GPUs there are; TensorRT, which can end a process that
has no driver, is only imported.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from wholebody.runtime.backends.trt_versions import OLDEST, release
from wholebody.runtime.compiler import find_compiler
from wholebody.runtime.cpu import cores, cpu_name
from wholebody.runtime.errors import BackendError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was found, whether it is well (None: not needed), and the cure if not."""

    what: str
    found: str
    ok: bool | None
    cure: str = ""


def examine() -> list[Finding]:
    """Look at Python, the libraries, ONNX Runtime's providers and the GPU with what engines need."""
    gpu = _gpu()
    return [
        Finding("wholebody", _version("wholebody") or "not installed", True),
        Finding(
            "Python",
            f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            sys.version_info >= (3, 10),
        ),
        Finding("CPU", f"{cpu_name()}, {cores()} cores for this process", True),
        _numpy(),
        _opencv(),
        *_onnxruntime(),
        _export_extra(),
        gpu,
        _pycuda(gpu),
        _tensorrt(gpu),
        _compiler(gpu),
    ]


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numpy() -> Finding:
    version = _version("numpy")
    return Finding("numpy", version or "not installed", version is not None, "pip install numpy")


def _export_extra() -> Finding:
    """What `wholebody export` and `verify` need, and running students does not."""
    versions = {name: _version(name) for name in ("torch", "onnx", "onnxscript", "onnxslim", "safetensors")}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        cure = "to export students: pip install 'wholebody[export]'"
        return Finding("for export", f"without {', '.join(missing)}", None, cure)
    return Finding("for export", ", ".join(f"{name} {version}" for name, version in versions.items()), True)


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as error:
        cure = "install libgl1 and libglib2.0-0, or swap opencv-python for opencv-python-headless"
        return Finding("OpenCV", f"cannot be imported: {_line(error)}", False, cure)
    return Finding("OpenCV", cv2.__version__, True)


def _onnxruntime() -> list[Finding]:
    try:
        import onnxruntime
    except ImportError as error:
        return [
            Finding("ONNX Runtime", f"cannot be imported: {_line(error)}", False, "pip install onnxruntime")
        ]
    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return [
        Finding("ONNX Runtime", onnxruntime.__version__, True),
        Finding("  providers built in", ", ".join(providers), True),
        _cuda_provider(providers),
    ]


def _cuda_provider(providers: list[str]) -> Finding:
    """A provider that is built in may still not start: its libraries are loaded only when a session asks."""
    what = "  CUDA provider"
    if "CUDA" not in providers:
        return Finding(
            what,
            "not in this build",
            None,
            "pip install onnxruntime-gpu in place of onnxruntime, where there is a GPU",
        )
    import onnxruntime

    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return Finding(
            what,
            f"does not load: {_line(error)}",
            False,
            "install the CUDA and cuDNN that this build asks for",
        )
    return Finding(what, "loads", True)


def _gpu() -> Finding:
    """Ask the driver itself; nothing is initialised beyond the count."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return Finding("NVIDIA GPU", "no driver on this machine", None, "students run on the CPU")
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return Finding(
            "NVIDIA GPU",
            f"the driver answers with error {status}, {count.value} devices",
            False,
            "check nvidia-smi",
        )
    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGetName(name, 128, 0)
    return Finding(
        "NVIDIA GPU",
        f"{name.value.decode()}{f' and {count.value - 1} more' if count.value > 1 else ''}",
        True,
    )


# --- for engines: missing is missing only where there is a GPU ---------------------------------------------


def _pycuda(gpu: Finding) -> Finding:
    try:
        import_module("pycuda.driver")
    except ImportError as error:
        cure = "for engines: pip install pycuda, which is compiled with CUDA's headers and nvcc"
        if "libcuda" in str(error):
            cure = "install the NVIDIA driver (in a container: --gpus all)"
        return _absent("pycuda", error, gpu, cure)
    return Finding("pycuda", _version("pycuda") or "of unknown version", True)


def _tensorrt(gpu: Finding) -> Finding:
    try:
        tensorrt = import_module("tensorrt")
    except (ImportError, OSError) as error:  # a Jetson without libnvdla_compiler.so, for one
        cure = "for engines: pip install tensorrt, on a Jetson apt install python3-libnvinfer"
        return _absent("TensorRT", error, gpu, cure)
    oldest = ".".join(map(str, OLDEST))
    return Finding(
        "TensorRT",
        tensorrt.__version__,
        release(tensorrt.__version__) >= OLDEST,
        f"install {oldest} or newer",
    )


def _compiler(gpu: Finding) -> Finding:
    """What makes kernels of their sources."""
    try:
        name, version = find_compiler()
    except BackendError as error:
        what, _, cure = str(error).rpartition(": ")
        return _absent("CUDA compiler", BackendError(what), gpu, f"for engines: {cure}")
    number = re.search(r"(?:nvrtc|release) ([\d.]+)", version)
    return Finding("CUDA compiler", f"{Path(name).name} {number[1] if number else ''}".strip(), True)


def _absent(what: str, error: Exception, gpu: Finding, cure: str) -> Finding:
    """Nobody misses a library that is not installed at all, nor one that only lacks a GPU."""
    if isinstance(error, ModuleNotFoundError):
        return Finding(what, "not installed", None, cure)
    return Finding(what, f"does not work: {_line(error)}", False if gpu.ok else None, cure)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
