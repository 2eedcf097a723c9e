"""Which engine a student runs on, and TensorRT where it can be imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.plan import engine_beside, is_engine

if TYPE_CHECKING:
    from wholebody.runtime.backends.trt import TensorRT

__all__ = ["engine_of", "open_engine"]


def engine_of(student: str | Path) -> Path:
    """The engine that a student runs on: itself, or the one beside its ONNX file.

    Raises ArtefactError where there is none, with the command that builds it.
    """
    student = Path(student)
    engine = student if is_engine(student) else engine_beside(student)
    if not engine.is_file():
        onnx = student if engine != student else student.with_suffix(".onnx")
        raise ArtefactError(f"{engine}: no such engine; build it with `wholebody build {onnx}`")
    return engine


def open_engine(student: str | Path, *, device: int = 0) -> TensorRT:
    """The engine of a student, ready on GPU number `device`.

    Raises ArtefactError for an engine that is missing, damaged or not for this GPU or TensorRT; BackendError
    where TensorRT, pycuda, the driver or the GPU is missing.
    """
    engine = engine_of(student)
    try:
        from wholebody.runtime.backends.trt import TensorRT
    except (ImportError, OSError) as error:  # a Jetson without libnvdla_compiler.so, for one
        text = " ".join(str(error).split())
        raise BackendError(
            f"tensorrt cannot be imported ({text}): pip install tensorrt, on a Jetson apt install "
            "python3-libnvinfer; or run with --backend onnxruntime"
        ) from error
    return TensorRT(engine, device=device)
