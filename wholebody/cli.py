"""The command line: each command parses, calls one public function with the same parameter names, and prints.

Heavy libraries are imported inside the command that needs them. A user's error is one line on standard error
and exit code 2; an interrupted run exits with 130.
"""

from __future__ import annotations

import os
import re
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from wholebody.runtime.errors import WholebodyError

if TYPE_CHECKING:
    from wholebody.runtime.run import RunSummary

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Take a distilled whole-body pose student from its checkpoint to a verified engine, and run it.",
)
bench = typer.Typer(no_args_is_help=True, help="Measure latency and accuracy.")
app.add_typer(bench, name="bench")
console = Console()
errors = Console(stderr=True)

StudentArgument = Annotated[Path, typer.Argument(help="An exported student: x.onnx with x.json beside it.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; all physical cores unless told.")]


class Family(str, Enum):
    """What a checkpoint is; dope-mini is the student that comes with wholebody."""

    dope = "dope"
    dope_mini = "dope-mini"


@app.command()
def export(
    family: Annotated[Family, typer.Argument(help="dope, or dope-mini for the bundled student.")],
    checkpoint: Annotated[
        Path | None, typer.Argument(help="The training checkpoint; not needed for dope-mini.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")] = Path(
        "student.onnx"
    ),
    input_size: Annotated[
        str | None, typer.Option("--input", metavar="HxW", help="Network input, as 384x640.")
    ] = None,
    proposals: Annotated[int | None, typer.Option(help="Boxes to look into per picture.")] = None,
    images: Annotated[Path | None, typer.Option(help="Pictures to measure the drift on.")] = None,
    budget_px: Annotated[float, typer.Option(help="Largest drift allowed, in pixels.")] = 0.05,
    budget_mm: Annotated[float, typer.Option(help="Largest drift allowed, in millimetres.")] = 0.1,
    force: Annotated[
        bool, typer.Option("--force", help="Write a student over its budget too, marked as such.")
    ] = False,
) -> None:
    """Export a checkpoint to ONNX, verified against PyTorch."""
    from wholebody.export.checkpoints import load_checkpoint
    from wholebody.export.onnx import export_dope
    from wholebody.export.zoo import bundled

    source = _checkpoint(family, checkpoint) or bundled("dope-mini")
    with console.status("exporting and measuring the drift from PyTorch"):
        artefact = export_dope(
            load_checkpoint(source), output, input_size=_size(input_size), proposals=proposals, images=images,
            budget_px=budget_px, budget_mm=budget_mm, force=force,
        )  # fmt: skip
    console.print(
        f"wrote {artefact.path} and its sidecar ({artefact.path.stat().st_size / 1e6:.1f} MB)", soft_wrap=True
    )


@app.command()
def verify(
    student: StudentArgument,
    images: Annotated[Path, typer.Option(help="A folder of pictures, one picture, or a video.")],
    reference: Annotated[
        Path | None, typer.Option(help="The checkpoint it came from; looked for beside it.")
    ] = None,
    budget_px: Annotated[float, typer.Option(help="Largest drift allowed, in pixels.")] = 0.05,
    budget_mm: Annotated[float, typer.Option(help="Largest drift allowed, in millimetres.")] = 0.1,
) -> None:
    """Compare a student with its PyTorch checkpoint on pictures; exit code 1 when it is over its budget."""
    from wholebody.export.verify import verify as verify_student

    certificate = verify_student(
        student,
        images=images,
        reference=reference or _bundled_reference(student),
        budget_px=budget_px,
        budget_mm=budget_mm,
    )
    console.print(certificate.table(), soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(0 if certificate.passed else 1)


@app.command()
def run(
    student: StudentArgument,
    source: Annotated[list[str], typer.Argument(help="Pictures, folders, videos, or a webcam: 0.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder or file for annotated frames.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="JSON lines of keypoints, one per frame; - prints them.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, onnxruntime or onnxruntime:PROVIDER.")] = "auto",
    threads: ThreadsOption = None,
    view3d: Annotated[bool, typer.Option("--view3d", help="Draw the 3D poses beside each frame.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show frames in a window; q closes it.")] = False,
) -> None:
    """Find people in pictures, folders, videos or a webcam."""
    from wholebody.progress import frame_progress
    from wholebody.runtime.run import RunSummary
    from wholebody.runtime.run import run as run_student

    if output is None and json is None and not show:
        output = Path("out")
    summary = RunSummary()
    try:
        with frame_progress(summary, errors) as on_frame:
            run_student(
                student, source, output=output, json=json, backend=backend, threads=threads, view3d=view3d,
                show=show, summary=summary, on_frame=on_frame,
            )  # fmt: skip
    finally:
        _report(summary, output, json)


@app.command()
def demo(
    picture: Annotated[
        Path | None, typer.Argument(help="A picture of your own, besides the bundled ones.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for pictures, JSON and report.")
    ] = Path("out/demo"),
    threads: ThreadsOption = None,
) -> None:
    """Export, verify and run the bundled student; write pictures, JSON and a short report."""
    from wholebody.demo import run_demo

    console.print(run_demo(output, picture, threads=threads, console=console))


@app.command()
def doctor() -> None:
    """Tell what this machine has for running students, and what is missing; exit code 1 when something is."""
    from wholebody.runtime.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]--[/]"}[finding.ok]
        cure = f"  [dim]({escape(finding.cure)})[/]" if finding.cure and not finding.ok else ""
        console.print(
            f"{mark}  {finding.what:20} {escape(finding.found)}{cure}", soft_wrap=True, highlight=False
        )
    raise typer.Exit(1 if any(f.ok is False for f in findings) else 0)


class Dataset(str, Enum):
    """What accuracy is measured on."""

    synthetic = "synthetic"


@bench.command()
def accuracy(
    student: StudentArgument,
    dataset: Annotated[Dataset, typer.Option(help="Rendered people with exact truth.")] = Dataset.synthetic,
    pictures: Annotated[int, typer.Option(min=1, help="How many held-out pictures.")] = 500,
    json: Annotated[Path | None, typer.Option(help="Also write the figures into this file.")] = None,
    threads: ThreadsOption = None,
) -> None:
    """Recall, precision and errors of every part, as a Markdown table."""
    from wholebody.benchmarks.accuracy import measure

    report = measure(student, pictures=pictures, threads=threads, json=json, console=errors)
    console.print(report.markdown(), soft_wrap=True, markup=False, highlight=False)


@bench.command()
def latency(
    student: StudentArgument,
    against: Annotated[Path | None, typer.Option(help="The checkpoint to run in PyTorch beside it.")] = None,
    images: Annotated[Path | None, typer.Option(help="Pictures to run; rendered people unless told.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 20.0,
    threads: ThreadsOption = None,
) -> None:
    """Stage times of a student, interleaved with PyTorch's in one run, as a Markdown table."""
    from wholebody.benchmarks.latency import measure

    against = against or _bundled_reference(student)
    report = measure(student, against=against, images=images, seconds=seconds, threads=threads)
    console.print(report.markdown(), soft_wrap=True, markup=False, highlight=False)


def _checkpoint(family: Family, checkpoint: Path | None) -> Path | None:
    if checkpoint is None and family is Family.dope:
        raise typer.BadParameter(
            "dope needs its CHECKPOINT: wholebody export dope CHECKPOINT -o student.onnx"
        )
    return checkpoint


def _bundled_reference(student: Path) -> Path | None:
    """The bundled weights where this student came from them."""
    from wholebody.export.zoo import bundled_source
    from wholebody.runtime.artefact import read_artefact

    return bundled_source(read_artefact(student).spec.weights.sha256)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise typer.BadParameter(
            f"got {text!r}, expected HEIGHTxWIDTH in pixels, as 384x640", param_hint="--input"
        )
    return int(match[1]), int(match[2])


def _report(summary: RunSummary, output: Path | None, json: Path | None) -> None:
    for warning in summary.warnings:
        errors.print(f"warning: {warning}", markup=False, soft_wrap=True)
    places = (
        [str(p) for p in summary.written[:1]]
        if len(summary.written) == 1
        else [f"{len(summary.written)} files in {output}"] * bool(summary.written)
    )
    places += [str(json)] * (json is not None and str(json) != "-")
    errors.print(
        f"{summary.people} people in {summary.frames} frames" + (": " + ", ".join(places) if places else ""),
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    try:
        app()
    except WholebodyError as error:
        errors.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except ImportError as error:
        cure = (
            "pip install 'wholebody[export]'"
            if (error.name or "").split(".")[0] in EXPORT_ONLY
            else "wholebody doctor"
        )
        errors.print(f"error: {error}: try {cure}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("stopped; finished frames are kept")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


EXPORT_ONLY = {"torch", "onnx", "onnxscript", "onnxslim", "safetensors"}

if __name__ == "__main__":
    main()
