"""`wholebody bench accuracy`: what a student finds, beside what is there and beside its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholebody.commands.options import (
    BackendOption,
    ColorOption,
    DetectorKindOption,
    DetectorOption,
    DetectorPersonOption,
    DetectorSizeOption,
    FlipTestOption,
    MinScoreOption,
    NormOption,
    SizeOption,
    SkeletonOption,
    StudentArgument,
    ThreadsOption,
    UdpOption,
    height_width,
    said,
)
from wholebody.console import console, errors

__all__ = ["accuracy"]


def accuracy(
    student: StudentArgument,
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME", help="synthetic, or a published one: coco, coco-wholebody, mupots, …"),
    ] = "synthetic",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of the data set, as it was published.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Other annotations than the folder's, of the same format.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="coco: the photographs; beside the annotations unless told.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="synthetic: how many to render.", show_default="500")
    ] = None,
    picture_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="synthetic: their size.", show_default="384x384")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="The checkpoint it came from, or the FP32 student; looked for unless told."),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Append what was measured to this file; what it holds is not measured again."),
    ] = None,
    worst: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw the ten worst pictures into it; beside --runs unless told."),
    ] = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    detector: DetectorOption = None,
    min_score: MinScoreOption = None,
    flip_test: FlipTestOption = False,
    skeleton: SkeletonOption = None,
    color: ColorOption = None,
    norm: NormOption = None,
    size: SizeOption = None,
    udp: UdpOption = None,
    detector_kind: DetectorKindOption = None,
    detector_size: DetectorSizeOption = None,
    detector_person: DetectorPersonOption = None,
) -> None:
    """A data set's figures, and how they differ from the PyTorch reference's.

    The answer is a Markdown table: each figure with its 95 % interval, the reference's, and the difference,
    paired by picture, with its own. A top-down student is given the true boxes, or those of --detector.
    """
    from wholebody.benchmarks.accuracy.measure import measure
    from wholebody.benchmarks.accuracy.opening import Asked
    from wholebody.benchmarks.accuracy.table import markdown

    asked = Asked(
        dataset, data, annotations, images, pictures, size=height_width(picture_size, "--picture-size")
    )
    run = measure(
        student,
        asked,
        detector=detector,
        reference=reference,
        runs=runs,
        worst=worst,
        backend=backend,
        threads=threads,
        flip_test=flip_test,
        options=said(skeleton=skeleton, color=color, norm=norm, size=height_width(size, "--size"), udp=udp),
        detector_options=said(
            kind=detector_kind,
            size=height_width(detector_size, "--detector-size"),
            person=detector_person,
            min_score=min_score,
        ),
        console=errors,
    )
    console.print(markdown(run))
