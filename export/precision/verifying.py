"""Measure a student of reduced precision against the FP32 one that it was made of, or their checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from wholebody.export.checkpoints import load_checkpoint
from wholebody.export.dope_checkpoint import DopeCheckpoint
from wholebody.export.openmmlab import RtmPoseCheckpoint
from wholebody.export.person_boxes import boxes_from
from wholebody.export.precision.calibration import samples
from wholebody.export.precision.certificate import PrecisionCertificate, certify
from wholebody.export.precision.drift import PrecisionBudget
from wholebody.export.reference import PyTorch, PyTorchCrops
from wholebody.runtime.artefact import Artefact, is_exported, read_artefact
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.spec import AnySpec, StudentSpec

__all__ = ["recorded_budget", "verify_precision"]

EVERY = sys.maxsize  # picture of a folder


def verify_precision(
    student: Artefact,
    images: str | Path,
    *,
    reference: str | Path | None = None,
    boxes: str | Path | PersonDetector | None = None,
    budget: PrecisionBudget | None = None,
) -> PrecisionCertificate:
    """Measure again what the certificate of a student of reduced precision says, on these pictures.

    reference  the FP32 ONNX file it was made of, or the checkpoint of both; None looks beside the student for
               the one named in its certificate, then for the checkpoint
    boxes      of a top-down student's people, as for `verify`; None takes those that the folder's own
               manifest tells, else every picture for one person
    budget     None takes that of its certificate

    Raises ArtefactError where the reference is missing or another network, SourceError where it sees nobody.
    """
    spec = student.spec
    path = _found(student) if reference is None else Path(reference)
    backend, origin = _opened(path, student)
    where = None if boxes is None else boxes_from(boxes)
    inputs = samples(spec, images, count=EVERY, boxes=where, least=1)
    limits = budget or recorded_budget(spec)
    return certify(onnx.load(student.path), backend, origin, spec, inputs, limits)


def recorded_budget(spec: AnySpec) -> PrecisionBudget:
    """That of the certificate; what it does not tell is as usual."""
    told = (spec.certificate or {}).get("budget")
    known: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    limits = {name: known[name] for name in ("oks", "px", "mm") if isinstance(known.get(name), (int, float))}
    return PrecisionBudget(**limits)


def _found(student: Artefact) -> Path:
    """The reference beside a student: the FP32 file that its certificate names, or the checkpoint."""
    measured = (student.spec.certificate or {}).get("reference")
    named = measured.get("source") if isinstance(measured, Mapping) else None
    names = [name for name in (named, student.spec.weights.source) if isinstance(name, str)]
    for name in names:
        if (beside := student.path.with_name(Path(name).name)).is_file() and beside != student.path:
            return beside
    raise ArtefactError(
        f"{student.path} was made of {' or '.join(names)}, which is not beside it: give that as --reference"
    )


def _opened(path: Path, student: Artefact) -> tuple[Backend, dict[str, str]]:
    """The reference, and the file that it came from."""
    if path.suffix == ".onnx":
        sha256 = read_onnx(path).sha256
        of = read_artefact(path).spec if is_exported(path) else None
        _require(student, path, sha256 if of is None else of.weights.sha256)
        if of is not None and of.precision != "fp32":
            raise ArtefactError(f"{path} is in {of.precision} itself: give the FP32 student as --reference")
        origin = {"source": path.name, "sha256": sha256}
        return OnnxRuntime(path, providers=["CPUExecutionProvider"]), origin
    if isinstance(student.spec, StudentSpec):
        dope = load_checkpoint(path, DopeCheckpoint)
        _require(student, path, dope.sha256)
        size = student.spec.input.height, student.spec.input.width
        boxes = read_onnx(student.path).outputs["boxes"][0]
        origin = {"source": dope.source, "sha256": dope.sha256}
        return PyTorch(dope, size, boxes or dope.config.proposals), origin
    crops = load_checkpoint(path, RtmPoseCheckpoint)
    _require(student, path, crops.sha256)
    return PyTorchCrops(crops), {"source": crops.source, "sha256": crops.sha256}


def _require(student: Artefact, path: Path, sha256: str) -> None:
    weights = student.spec.weights
    if weights.sha256 != sha256:
        raise ArtefactError(
            f"{student.path} has the weights of {weights.source} (SHA-256 {weights.sha256[:12]}…), {path} "
            f"others ({sha256[:12]}…): give the file it was made of as --reference"
        )
