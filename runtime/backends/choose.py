"""Which backend a student runs on, from the name that a user gives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wholebody.runtime.backends.engines import engine_of, open_engine
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.plan import engine_beside, is_engine

if TYPE_CHECKING:
    from wholebody.runtime.backends.onnxrt import OnnxRuntime
    from wholebody.runtime.backends.trt import TensorRT

__all__ = ["Rebuild", "choose_backend"]

log = logging.getLogger(__name__)

ALLOWED = "auto, onnxruntime, onnxruntime:PROVIDER, tensorrt, tensorrt:GPU"

Rebuild = Callable[[Path, int], object]  # of an engine, for a GPU


def choose_backend(
    name: str, student: Path, *, threads: int | None = None, rebuild: Rebuild | None = None
) -> OnnxRuntime | TensorRT:
    """The loaded student: an ONNX file, or an engine for TensorRT.

    name     "tensorrt": the engine itself or the one beside the ONNX file, on the first GPU; "tensorrt:1": on
             GPU number 1; "onnxruntime", "onnxruntime:PROVIDER"; "auto": the engine where there is one and it
             runs here, else ONNX Runtime, and `fallback` tells why
    threads  of ONNX Runtime
    rebuild  called with an engine that is refused here and the number of the GPU, to build it again

    Raises BackendError for a name that is not allowed or a backend that does not start, ArtefactError for an
    engine that is missing or refused.
    """
    kind, colon, which = name.partition(":")
    if name == "auto":
        return _fastest(student, threads, rebuild)
    if kind == "tensorrt" and (which.isdecimal() or not colon):
        return _tensorrt(student, int(which or 0), rebuild)
    if kind == "onnxruntime" and not is_engine(student):
        return _onnxruntime(student, which or None, threads)
    if kind == "onnxruntime":
        raise BackendError(f"{student} is an engine, which only TensorRT runs: name its ONNX file instead")
    raise BackendError(f"unknown backend {name!r}; allowed are {ALLOWED}")


def _fastest(student: Path, threads: int | None, rebuild: Rebuild | None) -> OnnxRuntime | TensorRT:
    if is_engine(student):
        return _tensorrt(student, 0, rebuild)
    if not engine_beside(student).is_file():
        return _onnxruntime(student, None, threads)
    try:
        return _tensorrt(student, 0, rebuild)
    except (ArtefactError, BackendError) as error:
        runner = _onnxruntime(student, None, threads)
        reasons = [str(error), f"so {runner.name} runs", *filter(None, [runner.fallback])]
        runner.fallback = "; ".join(reasons)
        log.warning(runner.fallback)
        return runner


def _tensorrt(student: Path, device: int, rebuild: Rebuild | None) -> TensorRT:
    engine = engine_of(student)
    try:
        return open_engine(engine, device=device)
    except ArtefactError:
        if rebuild is None:
            raise
        rebuild(engine, device)
        return open_engine(engine, device=device)


def _onnxruntime(student: Path, provider: str | None, threads: int | None) -> OnnxRuntime:
    try:
        from wholebody.runtime.backends.onnxrt import OnnxRuntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from error
    return OnnxRuntime(student, providers=[provider] if provider else None, threads=threads)
