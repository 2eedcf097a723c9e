"""`wholebody quantize`: from an FP32 student to one in FP16 or INT8 that is as accurate as was asked."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from wholebody.commands.options import (
    AxesOption,
    ColorOption,
    DepthRangeOption,
    DetectorKind,
    DetectorKindOption,
    DetectorOption,
    DetectorSizeOption,
    NormOption,
    SizeOption,
    SkeletonOption,
    StudentArgument,
    UdpOption,
    height_width,
    said,
)
from wholebody.console import console, errors
from wholebody.runtime.errors import WholebodyError

if TYPE_CHECKING:
    from wholebody.export.precision.quantizing import Quantized, Report

__all__ = ["quantize"]


class Precision(str, Enum):
    fp16 = "fp16"
    int8 = "int8"


class Target(str, Enum):
    tensorrt = "tensorrt"
    cpu = "cpu"


class Recover(str, Enum):
    head = "head"
    whole = "whole"


class Method(str, Enum):
    percentile = "percentile"
    percentile_999 = "percentile-99.9"
    entropy = "entropy"
    minmax = "minmax"


def quantize(
    student: StudentArgument,
    precision: Annotated[Precision, typer.Option(help="What most of it is to compute in.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The ONNX file to write; STUDENT_int8.onnx unless told."),
    ] = None,
    target: Annotated[
        Target | None, typer.Option(help="Needed for int8: who runs it. onnxruntime is the cpu's.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="A folder of pictures, or a video; the bundled rendered people unless told."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Other pictures, to measure on; a third of the calibration's unless told."),
    ] = None,
    count: Annotated[int, typer.Option(min=2, help="Pictures to calibrate on, at most.")] = 64,
    method: Annotated[
        Method | None, typer.Option(help="How the ranges of INT8 are cut; the best of some unless told.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="The people in the pictures: a file of `wholebody run --json`.")
    ] = None,
    detector: DetectorOption = None,
    search: Annotated[
        bool, typer.Option("--search", help="Keep in floating point what the budget does not allow.")
    ] = False,
    budget_oks: Annotated[float, typer.Option(min=0, max=1, help="Least mean OKS of any part.")] = 0.99,
    budget_px: Annotated[float, typer.Option(min=0, help="Largest median drift, pixels of the input.")] = 0.5,
    budget_mm: Annotated[float, typer.Option(min=0, help="Largest median drift in space, mm.")] = 3.0,
    recover: Annotated[
        Recover | None, typer.Option(help="Train what is over budget on its own FP32 answers: head or whole.")
    ] = None,
    recover_on: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Pictures for that, no labels; the calibration's unless told."),
    ] = None,
    recover_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of that, of 8 pictures or people.", show_default="300"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write a student over its budget too, marked as such.")
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --search: pictures of what it found.")
    ] = None,
    kind: Annotated[
        DetectorKind | None, typer.Option(help="STUDENT is a published detector of this kind.")
    ] = None,
    skeleton: SkeletonOption = None,
    color: ColorOption = None,
    norm: NormOption = None,
    size: SizeOption = None,
    axes: AxesOption = None,
    depth_range: DepthRangeOption = None,
    udp: UdpOption = None,
    detector_kind: DetectorKindOption = None,
    detector_size: DetectorSizeOption = None,
) -> None:
    """Write a student in FP16 or INT8, once its drift from FP32 is measured.

    Nothing is written where a part of the body drifts by more than its budget. With --search, layers that
    drift stay in FP16 or FP32, and the sensitivities and all mixes that were tried go into files beside the
    output. With --recover, a student in INT8 that is over budget is trained for some minutes to answer as it
    did in FP32; the same command goes on where it was interrupted.
    """
    from wholebody.export.precision.calibration import BUNDLED
    from wholebody.export.precision.drift import PrecisionBudget
    from wholebody.export.precision.quantizing import quantize as quantize_student
    from wholebody.export.precision.recover import STEPS, Recovery
    from wholebody.runtime.loading import load_detector

    if boxes is not None and detector is not None:
        raise WholebodyError("--boxes and --detector both say where people are: give one of them")
    if plots is not None and not search:
        raise WholebodyError("--plots shows what a search found: give --search, too")
    if recover is None and (recover_on is not None or recover_steps is not None):
        option = "--recover-steps" if recover_on is None else "--recover-on"
        raise WholebodyError(f"{option} is for a recovery: say --recover head or --recover whole, too")
    steps = recover_steps or STEPS
    recovery = None if recover is None else Recovery(recover.value, recover_on, steps=steps)
    find = said(kind=detector_kind, size=height_width(detector_size, "--detector-size"))
    with _progress() as report:
        made = quantize_student(
            student,
            output,
            precision=precision.value,
            target=target.value if target else None,
            calibration=calibration or BUNDLED,
            held_out=held_out,
            count=count,
            method=method.value if method else None,
            boxes=boxes,
            detector=None if detector is None else load_detector(detector, **find),
            budget=PrecisionBudget(budget_oks, budget_px, budget_mm),
            search=search,
            recovery=recovery,
            force=force,
            kind=kind.value if kind else None,
            options=said(
                skeleton=skeleton, color=color, norm=norm, size=height_width(size, "--size"), axes=axes,
                depth_range=depth_range, udp=udp,
            ),
            report=report,
        )  # fmt: skip
    _tell(made, plots)


@contextmanager
def _progress() -> Iterator[Report | None]:
    """A bar of what is being done; None where nobody watches."""
    if not errors.is_terminal:
        yield None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total or None
        )


def _tell(made: Quantized, plots: Path | None) -> None:
    path = made.artefact.path
    for warning in made.warnings:
        errors.print(f"warning: {warning}")
    if made.searched is not None and made.sensitivity is not None:
        for name, found in (("sensitivity", made.sensitivity), ("search", made.searched)):
            _write_json(path.with_suffix(f".{name}.json"), found.to_dict())
        if plots is not None:
            _plot(made, plots)
        console.print(made.searched.summary())
    if made.before is not None:
        console.print(f"before the recovery:\n{made.before.table()}\nrecovered:")
    console.print(made.certificate.table())
    console.print(f"wrote {path} and its sidecar ({path.stat().st_size / 1e6:.1f} MB)")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    from wholebody.runtime.whole import whole

    with whole(path) as partial:
        partial.write_text(json_format.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _plot(made: Quantized, folder: Path) -> None:
    from wholebody.export.precision.plots import plot_search, plot_sensitivity

    if made.searched is not None and made.sensitivity is not None:
        folder.mkdir(parents=True, exist_ok=True)
        plot_sensitivity(made.sensitivity, made.certificate.budget, folder / "sensitivity.png")
        plot_search(made.searched, folder / "search.png")
