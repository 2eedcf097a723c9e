"""The command line: each command parses, calls one public function with the same parameter names, and prints.

Heavy libraries are imported inside the command that needs them. A user's error is one line on standard error
and exit code 2; Ctrl-C ends with 130 and SIGTERM with 143, with what was finished on disk.
"""

from __future__ import annotations

import re
import signal
import sys
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from wholebody.runtime.errors import WholebodyError

if TYPE_CHECKING:
    from wholebody.runtime.run import RunSummary

__all__ = ["app", "main"]

EXPORT_ONLY = {"torch", "onnx", "onnxscript", "onnxslim", "safetensors"}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take a distilled whole-body pose student from its checkpoint to a verified engine, and run it.",
)
bench = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure latency and accuracy.")
app.add_typer(bench, name="bench")
console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
errors = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=True)

StudentArgument = Annotated[
    Path, typer.Argument(metavar="STUDENT", help="An exported student: x.onnx with x.json beside it.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; all physical cores unless told.")
]


class Stopped(BaseException):
    """Ctrl-C (SIGINT) or SIGTERM; `done` tells what was finished by then."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.done = ""


class Family(str, Enum):
    """What a checkpoint is; dope-mini is the student that comes with wholebody."""

    dope = "dope"
    dope_mini = "dope-mini"


@app.command()
def export(
    family: Annotated[
        Family, typer.Argument(metavar="FAMILY", help="dope, or dope-mini for the bundled student.")
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(metavar="CHECKPOINT", help="The training checkpoint; not needed for dope-mini."),
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
    size = _size(input_size)
    if checkpoint is None and family is Family.dope:
        raise WholebodyError("dope needs its CHECKPOINT: wholebody export dope CHECKPOINT -o student.onnx")
    from wholebody.export.checkpoints import load_checkpoint
    from wholebody.export.onnx import export_dope
    from wholebody.export.zoo import bundled

    source = checkpoint or bundled("dope-mini")
    with console.status("exporting and measuring the drift from PyTorch"):
        artefact = export_dope(
            load_checkpoint(source), output, input_size=size, proposals=proposals, images=images,
            budget_px=budget_px, budget_mm=budget_mm, force=force,
        )  # fmt: skip
    console.print(f"wrote {artefact.path} and its sidecar ({artefact.path.stat().st_size / 1e6:.1f} MB)")


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
    """Compare a student with its PyTorch checkpoint on pictures.

    Exit code 1 when it is over its budget.
    """
    from wholebody.export.verify import verify as verify_student

    certificate = verify_student(
        student,
        images=images,
        reference=reference or _bundled_reference(student),
        budget_px=budget_px,
        budget_mm=budget_mm,
    )
    console.print(certificate.table())
    raise typer.Exit(0 if certificate.passed else 1)


@app.command()
def run(
    student: StudentArgument,
    source: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Pictures, folders, videos, or a webcam: 0.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder or file for annotated frames; out, unless --json or --show is given.",
        ),
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
        with frame_progress(summary, errors, printing=str(json) == "-") as on_frame:
            run_student(
                student, source, output=output, json=json, backend=backend, threads=threads, view3d=view3d,
                show=show, summary=summary, on_frame=on_frame,
            )  # fmt: skip
    except Stopped as stopped:
        stopped.done = _done(summary, output, json)
        raise
    except Exception:
        if summary.frames:
            errors.print(_done(summary, output, json))
        raise
    for warning in summary.warnings:
        errors.print(f"warning: {warning}")
    errors.print(_done(summary, output, json))


@app.command()
def demo(
    picture: Annotated[
        Path | None, typer.Argument(metavar="PICTURE", help="One of your own, besides the bundled ones.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for pictures, JSON and report.")
    ] = Path("out/demo"),
    threads: ThreadsOption = None,
) -> None:
    """Export, verify and run the bundled student.

    Writes pictures, JSON and a short report.
    """
    from wholebody.demo import run_demo

    console.print(run_demo(output, picture, threads=threads, console=console), soft_wrap=False)


@app.command()
def doctor() -> None:
    """Tell what this machine has for running students.

    Exit code 1 when something is missing.
    """
    from wholebody.runtime.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]--[/]"}[finding.ok]
        cure = f"  [dim]({escape(finding.cure)})[/]" if finding.cure and not finding.ok else ""
        console.print(f"{mark}  {finding.what:20} {escape(finding.found)}{cure}", markup=True)
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
    """Recall, precision and errors, part by part.

    The answer is a Markdown table.
    """
    from wholebody.benchmarks.accuracy import measure

    report = measure(student, pictures=pictures, threads=threads, json=json, console=errors)
    console.print(report.markdown())


@bench.command()
def latency(
    student: StudentArgument,
    against: Annotated[Path | None, typer.Option(help="The checkpoint to run in PyTorch beside it.")] = None,
    images: Annotated[Path | None, typer.Option(help="Pictures to run; rendered people unless told.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 20.0,
    threads: ThreadsOption = None,
) -> None:
    """Stage times of a student beside PyTorch's.

    Both run in turns; the answer is a Markdown table.
    """
    from wholebody.benchmarks.latency import measure

    if against is None and find_spec("torch") is not None:
        against = _bundled_reference(student)
    report = measure(student, against=against, images=images, seconds=seconds, threads=threads)
    console.print(report.markdown())


def _bundled_reference(student: Path) -> Path | None:
    """The bundled weights where this student came from them."""
    from wholebody.export.zoo import bundled_source
    from wholebody.runtime.artefact import read_artefact

    return bundled_source(read_artefact(student).spec.weights.sha256)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    if match is None:
        raise WholebodyError(
            f"--input is {text!r}; it must be HEIGHTxWIDTH in pixels, below 10000 each, such as 384x640"
        )
    return int(match[1]), int(match[2])


def _done(summary: RunSummary, output: Path | None, json: Path | None) -> str:
    """`3 people in 2 frames: out/a.png, people.jsonl`."""
    written = [str(path) for path in summary.written]
    places = written if len(written) < 2 else [f"{len(written)} files in {output}"]
    if json is not None and str(json) != "-":
        places.append(str(json))
    people = f"{summary.people} {'person' if summary.people == 1 else 'people'}"
    frames = f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'}"
    return f"{people} in {frames}{': ' if places else ''}{', '.join(places)}"


def _fail(error: Exception, cure: str = "") -> NoReturn:
    errors.print(" ".join(f"error: {error}{': ' if cure else ''}{cure}".split()))
    sys.exit(2)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut short the video that is being finished
    raise Stopped(number)


def _stop_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    _stop_on_signals()
    try:
        app(prog_name="wholebody")
    except (WholebodyError, OSError) as error:
        _fail(error)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        _fail(
            error, "pip install 'wholebody[export]'" if missing in EXPORT_ONLY else "see `wholebody doctor`"
        )
    except Stopped as stopped:
        errors.print(f"stopped{': ' if stopped.done else ''}{stopped.done}")
        sys.exit(128 + stopped.number)


if __name__ == "__main__":
    main()
