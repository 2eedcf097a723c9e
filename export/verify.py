"""Measure a student, of either family, against what it came from: a PyTorch checkpoint, or its FP32 self."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from wholebody.export.certificate import Budget, Certificate
from wholebody.export.checkpoints import DopeCheckpoint, RtmPoseCheckpoint, load_checkpoint
from wholebody.export.crop_certificate import CropCertificate
from wholebody.export.dope_drift import compare
from wholebody.export.person_boxes import Boxes, boxes_from, whole_frame
from wholebody.export.precision.certificate import PrecisionCertificate
from wholebody.export.precision.verifying import recorded_budget, verify_precision
from wholebody.export.top_down_drift import compare_crops
from wholebody.runtime.artefact import Artefact, read_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.media import Frame, open_source
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.spec import AnySpec, StudentSpec, TopDownSpec

__all__ = ["AnyCertificate", "verify", "verify_dope", "verify_top_down"]

AnyCertificate = Certificate | CropCertificate | PrecisionCertificate
Spec = TypeVar("Spec", bound=AnySpec)


def verify(
    student: str | Path,
    *,
    images: str | Path,
    reference: str | Path | None = None,
    budget_px: float | None = None,
    budget_mm: float | None = None,
    budget_oks: float | None = None,
    boxes: str | Path | PersonDetector | None = None,
) -> AnyCertificate:
    """Measure a student on the pictures of a folder (or one picture, or a video).

    reference   the checkpoint it was exported from; for a student of reduced precision also the FP32 student;
                None looks for that file, by name, beside the student
    budget_px   the largest drift in pixels of the source picture for DOPE, of the crop for a top-down student
    budget_oks  of reduced precision alone, which is judged part by part by its mean OKS and by its median px
                and mm; None takes the budgets of its certificate
    boxes       of a top-down student's people: a file that `wholebody run --json` wrote, or a detector; None
                takes every picture for one person

    Raises ArtefactError for a student that is not whole, came from another checkpoint or needs no boxes,
    CheckpointError, SourceError.
    """
    artefact = read_artefact(student)
    if boxes is not None and isinstance(artefact.spec, StudentSpec):
        raise ArtefactError(f"{student} finds people by itself: leave out the boxes and the detector")
    if artefact.spec.precision != "fp32":
        limits = {"px": budget_px, "mm": budget_mm, "oks": budget_oks}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        precision_budget = replace(recorded_budget(artefact.spec), **given)
        return verify_precision(artefact, images, reference=reference, boxes=boxes, budget=precision_budget)
    budget = Budget(
        Budget.px if budget_px is None else budget_px, Budget.mm if budget_mm is None else budget_mm
    )
    path = _reference(artefact) if reference is None else reference
    with open_source(images) as source:
        if isinstance(artefact.spec, StudentSpec):
            return verify_dope(
                artefact, load_checkpoint(path, DopeCheckpoint), source.frames(), budget=budget
            )
        checkpoint = load_checkpoint(path, RtmPoseCheckpoint)
        return verify_top_down(artefact, checkpoint, source.frames(), boxes=boxes_from(boxes), budget=budget)


def verify_dope(
    student: Artefact, reference: DopeCheckpoint, pictures: Iterable[Frame], *, budget: Budget | None = None
) -> Certificate:
    """Measure a student in ONNX Runtime on the CPU against the checkpoint it came from.

    The reference is the checkpoint's network as loaded: FP32, BatchNorm folded. Raises ArtefactError where
    the student came from another checkpoint, SourceError where there is no picture.
    """
    spec = _require(student, StudentSpec, reference)
    return compare(_runner(student), reference, spec, pictures, budget or Budget())


def verify_top_down(
    student: Artefact,
    reference: RtmPoseCheckpoint,
    pictures: Iterable[Frame],
    *,
    boxes: Boxes = whole_frame,
    budget: Budget | None = None,
) -> CropCertificate:
    """Measure a top-down student on crops of people, as `verify_dope` does.

    boxes: a picture's people, (N, 4) x0 y0 x1 y1 in pixels. Raises SourceError also where there is nobody.
    """
    spec = _require(student, TopDownSpec, reference)
    return compare_crops(_runner(student), reference, spec, pictures, boxes, budget or Budget())


def _runner(student: Artefact) -> OnnxRuntime:
    return OnnxRuntime(student.path, providers=["CPUExecutionProvider"])


def _require(student: Artefact, kind: type[Spec], reference: DopeCheckpoint | RtmPoseCheckpoint) -> Spec:
    """The student's description, where it is of this kind and came from the reference."""
    if student.spec.weights.sha256 != reference.sha256:
        raise ArtefactError(
            f"{student.path} was exported from {student.spec.weights.source} (SHA-256 "
            f"{student.spec.weights.sha256[:12]}…), not from {reference.source} ({reference.sha256[:12]}…): "
            "give that one as --reference, or export again"
        )
    if not isinstance(student.spec, kind):
        raise ArtefactError(f"{student.path} is of family '{student.spec.family}', its checkpoint is not")
    return student.spec


def _reference(artefact: Artefact) -> Path:
    weights = artefact.spec.weights
    beside = artefact.path.with_name(Path(weights.source).name)
    if not beside.is_file():
        raise ArtefactError(
            f"{artefact.path} was exported from {weights.source} (SHA-256 {weights.sha256[:12]}…), which is "
            "not beside it: give that file as --reference"
        )
    return beside
