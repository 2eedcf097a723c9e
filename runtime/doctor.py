"""What this machine has for running students, and what is missing."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from wholebody.runtime.cpu import cores, cpu_name

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was found, whether it is well (None: not needed), and the cure if not."""

    what: str
    found: str
    ok: bool | None
    cure: str = ""


def examine() -> list[Finding]:
    """Look at Python, the libraries, ONNX Runtime's providers and the GPU."""
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
        _gpu(),
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


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
