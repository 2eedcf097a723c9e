"""`wholebody fetch`, `export` and `verify`: from a checkpoint to a student that is what it was."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wholebody.commands.options import (
    DetectorKindOption,
    DetectorOption,
    DetectorSizeOption,
    ExportedArgument,
    finite,
    height_width,
    said,
)
from wholebody.console import console, errors
from wholebody.runtime.errors import WholebodyError

if TYPE_CHECKING:
    from wholebody.runtime.artefact import Artefact
    from wholebody.runtime.pipelines.detector import PersonDetector

__all__ = ["bundled_reference", "export", "fetch", "verify"]

BudgetPxOption = Annotated[
    float, typer.Option(min=0, callback=finite, help="Largest drift allowed, in pixels.")
]
BudgetMmOption = Annotated[
    float, typer.Option(min=0, callback=finite, help="Largest drift allowed, in millimetres.")
]
BoxesOption = Annotated[
    Path | None,
    typer.Option(help="For a top-down student, the pictures' people: a file of `wholebody run --json`."),
]


class Family(str, Enum):
    """What a checkpoint is; the minis are the students that come with wholebody."""

    dope = "dope"
    dwpose = "dwpose"
    dope_mini = "dope-mini"
    dwpose_mini = "dwpose-mini"


def fetch(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What to fetch; without it, all names are listed.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")] = Path(),
) -> None:
    """Download published weights, checked against their SHA-256."""
    from wholebody.export.fetch import fetch as fetch_published
    from wholebody.export.fetch import listing

    console.print(listing() if name is None else fetch_published(name, output, console=errors))


def export(
    family: Annotated[
        Family,
        typer.Argument(
            metavar="FAMILY", help="dope or dwpose; or one that is bundled: dope-mini, dwpose-mini."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(metavar="CHECKPOINT", help="The training checkpoint; not needed for the minis."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")] = Path(
        "student.onnx"
    ),
    input_size: Annotated[
        str | None, typer.Option("--input", metavar="HxW", help="DOPE's network input, as 384x640.")
    ] = None,
    proposals: Annotated[int | None, typer.Option(help="DOPE's boxes to look into per picture.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Pictures to measure the drift on; noise unless told.")
    ] = None,
    boxes: BoxesOption = None,
    budget_px: BudgetPxOption = 0.05,
    budget_mm: BudgetMmOption = 0.1,
    force: Annotated[
        bool, typer.Option("--force", help="Write a student over its budget too, marked as such.")
    ] = False,
) -> None:
    """Export a checkpoint to ONNX, verified against PyTorch."""
    size = height_width(input_size, "--input")
    if checkpoint is None and family in (Family.dope, Family.dwpose):
        raise WholebodyError(
            f"{family.value} needs its CHECKPOINT: wholebody export {family.value} CHECKPOINT -o student.onnx"
        )
    from wholebody.export.zoo import bundled

    source = checkpoint or bundled(family.value)
    with console.status("exporting and measuring the drift from PyTorch"):
        if family in (Family.dope, Family.dope_mini):
            if boxes is not None:
                raise WholebodyError("--boxes is for dwpose; DOPE finds people by itself")
            artefact = _export_dope(source, output, size, proposals, images, (budget_px, budget_mm), force)
        else:
            if size is not None or proposals is not None:
                raise WholebodyError("--input and --proposals are for dope; a dwpose checkpoint has its size")
            artefact = _export_dwpose(source, output, images, boxes, budget_px, force)
    console.print(f"wrote {artefact.path} and its sidecar ({artefact.path.stat().st_size / 1e6:.1f} MB)")


def _export_dope(
    source: Path,
    output: Path,
    size: tuple[int, int] | None,
    proposals: int | None,
    images: Path | None,
    budgets: tuple[float, float],
    force: bool,
) -> Artefact:
    from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
    from wholebody.export.onnx import export_dope

    return export_dope(
        load_checkpoint(source, DopeCheckpoint), output, input_size=size, proposals=proposals, images=images,
        budget_px=budgets[0], budget_mm=budgets[1], force=force,
    )  # fmt: skip


def _export_dwpose(
    source: Path, output: Path, images: Path | None, boxes: Path | None, budget_px: float, force: bool
) -> Artefact:
    from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
    from wholebody.export.onnx_dwpose import export_dwpose

    checkpoint = load_checkpoint(source, RtmPoseCheckpoint)
    return export_dwpose(checkpoint, output, images=images, boxes=boxes, budget_px=budget_px, force=force)


def verify(
    student: ExportedArgument,
    images: Annotated[Path, typer.Option(help="A folder of pictures, one picture, or a video.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="The checkpoint it came from, or the FP32 student; looked for beside it."),
    ] = None,
    boxes: BoxesOption = None,
    detector: DetectorOption = None,
    detector_kind: DetectorKindOption = None,
    detector_size: DetectorSizeOption = None,
    budget_px: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, show_default="0.05", help="Largest drift allowed, in pixels."),
    ] = None,
    budget_mm: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, show_default="0.1", help="Largest drift allowed, in millimetres."
        ),
    ] = None,
    budget_oks: Annotated[
        float | None, typer.Option(min=0, max=1, help="For reduced precision, the least mean OKS of a part.")
    ] = None,
) -> None:
    """Compare a student with its PyTorch checkpoint on pictures.

    Exit code 1 when it is over its budget. The people of a top-down student are those of --boxes or
    --detector; without either, every picture is taken for one person. A student of reduced precision is
    held to the budgets of its certificate, but for those that are given here.
    """
    from wholebody.export.verify import verify as verify_student

    if boxes is not None and detector is not None:
        raise WholebodyError("--boxes and --detector both say where people are: give one of them")
    options = said(kind=detector_kind, size=height_width(detector_size, "--detector-size"))
    if detector is None and options:
        raise WholebodyError("--detector-kind and --detector-size describe a --detector: name its file")
    certificate = verify_student(
        student,
        images=images,
        reference=reference or bundled_reference(student),
        boxes=boxes or _detector(detector, options),
        budget_px=budget_px,
        budget_mm=budget_mm,
        budget_oks=budget_oks,
    )
    console.print(certificate.table())
    raise typer.Exit(0 if certificate.passed else 1)


def _detector(path: Path | None, options: dict[str, Any]) -> PersonDetector | None:
    from wholebody.runtime.loading import load_detector

    return None if path is None else load_detector(path, **options)


def bundled_reference(student: Path) -> Path | None:
    """The bundled weights where this student came from them."""
    from wholebody.export.zoo import bundled_source
    from wholebody.runtime.artefact import is_exported, read_artefact

    return bundled_source(read_artefact(student).spec.weights.sha256) if is_exported(student) else None
