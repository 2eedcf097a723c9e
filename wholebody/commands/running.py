"""`wholebody run`, `demo` and `doctor`: people in pictures and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from wholebody.commands.options import (
    AxesOption,
    BackendOption,
    ColorOption,
    DepthRangeOption,
    DetectorKindOption,
    DetectorOption,
    DetectorPersonOption,
    DetectorSizeOption,
    FlipTestOption,
    FullFrameOption,
    IouOption,
    MaxPeopleOption,
    MinAreaOption,
    MinScoreOption,
    NormOption,
    SizeOption,
    SkeletonOption,
    ThreadsOption,
    UdpOption,
    height_width,
    said,
)
from wholebody.console import Stopped, console, errors

if TYPE_CHECKING:
    from wholebody.runtime.run import RunSummary

__all__ = ["demo", "doctor", "run"]


def run(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT",
            help="A student as ONNX: exported, with x.json beside it, or published by others; or its engine.",
        ),
    ],
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
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build an engine again that this GPU or TensorRT refuses.")
    ] = False,
    view3d: Annotated[bool, typer.Option("--view3d", help="Draw the 3D poses beside each frame.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show frames in a window; q closes it.")] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Say who is who: the same number for a person in every frame.")
    ] = False,
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Take the jitter out of a video's keypoints (One-Euro).")
    ] = False,
    detect_every: Annotated[
        int, typer.Option(min=1, help="Detect in every so many frames; between them follow the keypoints.")
    ] = 1,
    detector: DetectorOption = None,
    max_people: MaxPeopleOption = None,
    full_frame: FullFrameOption = False,
    flip_test: FlipTestOption = False,
    min_score: MinScoreOption = None,
    iou: IouOption = None,
    min_area: MinAreaOption = None,
    skeleton: SkeletonOption = None,
    color: ColorOption = None,
    norm: NormOption = None,
    size: SizeOption = None,
    axes: AxesOption = None,
    depth_range: DepthRangeOption = None,
    udp: UdpOption = None,
    detector_kind: DetectorKindOption = None,
    detector_size: DetectorSizeOption = None,
    detector_person: DetectorPersonOption = None,
) -> None:
    """Find people in pictures, folders, videos or a webcam."""
    from wholebody.progress import frame_progress
    from wholebody.runtime.run import RunSummary
    from wholebody.runtime.run import run as run_student

    if output is None and json is None and not show:
        output = Path("out")
    options = said(
        skeleton=skeleton, color=color, norm=norm, size=height_width(size, "--size"), axes=axes,
        depth_range=depth_range, udp=udp,
    )  # fmt: skip
    detector_options = said(
        kind=detector_kind, size=height_width(detector_size, "--detector-size"), person=detector_person,
        min_score=min_score, iou=iou, min_area=min_area,
    )  # fmt: skip
    pipeline = said(max_people=max_people, full_frame=full_frame or None, flip_test=flip_test or None)
    summary = RunSummary()
    try:
        with frame_progress(summary, errors, printing=str(json) == "-") as on_frame:
            run_student(
                student, source, output=output, json=json, view3d=view3d, show=show, ids=ids, smooth=smooth,
                detect_every=detect_every, summary=summary, on_frame=on_frame, backend=backend,
                threads=threads, rebuild=_rebuild if rebuild else None, detector=detector, options=options,
                detector_options=detector_options, **pipeline,
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


def demo(
    picture: Annotated[
        Path | None, typer.Argument(metavar="PICTURE", help="One of your own, besides the bundled ones.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for pictures, JSON and report.")
    ] = Path("out/demo"),
    threads: ThreadsOption = None,
) -> None:
    """Export, verify and run dope-mini.

    Writes pictures, JSON and a short report.
    """
    from wholebody.demo import run_demo

    console.print(run_demo(output, picture, threads=threads, console=console), soft_wrap=False)


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


def _rebuild(engine: Path, device: int) -> None:
    from wholebody.export.engine import rebuild_engine
    from wholebody.runtime.cuda import Cuda

    errors.print(f"building {engine} again")
    rebuild_engine(engine, cuda=Cuda(device))


def _done(summary: RunSummary, output: Path | None, json: Path | None) -> str:
    """`3 people in 2 frames: out/a.png, people.jsonl`."""
    written = [str(path) for path in summary.written]
    places = written if len(written) < 2 else [f"{len(written)} files in {output}"]
    if json is not None and str(json) != "-":
        places.append(str(json))
    people = f"{summary.people} {'person' if summary.people == 1 else 'people'}"
    frames = f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'}"
    return f"{people} in {frames}{': ' if places else ''}{', '.join(places)}"
