"""From an exported student to a callable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wholebody.runtime.artefact import read_artefact
from wholebody.runtime.errors import ArtefactError, BackendError, CheckpointError
from wholebody.runtime.pipelines.dope import DopePose, GroupBy, Selection

if TYPE_CHECKING:
    from wholebody.runtime.backends.onnxrt import OnnxRuntime

__all__ = ["load"]


def load(
    student: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    selection: Selection = "ppi",
    group_by: GroupBy = "rpn",
) -> DopePose:
    """Load an exported student: `pose = load("student.onnx"); people = pose(image_bgr)`.

    student    an ONNX file with its sidecar beside it
    backend    "auto": the fastest that starts here; "onnxruntime:CPUExecutionProvider" or another of ONNX
               Runtime's providers: that one or an error
    threads    CPU threads of the network; None: the physical cores this process may use
    selection, group_by   see `DopePose`

    Every answer's metadata says which `student`, `precision` and `backend` gave it, and `fallback` where
    "auto" passed a faster one over. Raises ArtefactError for a file that is missing, foreign or changed,
    BackendError for a backend that is not available, ValueError for an unknown selection or group_by.
    """
    artefact = read_artefact(student)
    runner = _backend(backend, artefact.path, threads)
    metadata = {"student": artefact.spec.name, "precision": artefact.spec.precision}
    if runner.fallback:
        metadata["fallback"] = runner.fallback
    try:
        return DopePose(runner, artefact.spec, selection=selection, group_by=group_by, metadata=metadata)
    except CheckpointError as error:  # the file's options for pose-proposal integration
        raise ArtefactError(f"{artefact.path}: {error}") from None


def _backend(name: str, path: Path, threads: int | None) -> OnnxRuntime:
    kind, _, provider = name.partition(":")
    if kind not in ("auto", "onnxruntime") or (kind == "auto" and provider):
        raise BackendError(f"unknown backend {name!r}; allowed are auto, onnxruntime, onnxruntime:PROVIDER")
    try:
        from wholebody.runtime.backends.onnxrt import OnnxRuntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from error
    return OnnxRuntime(path, providers=[provider] if provider else None, threads=threads)
