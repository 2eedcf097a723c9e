"""`wholebody bench accuracy`: what a student finds, beside what is there."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Protocol

import typer

from wholebody.commands.options import (
    ColorOption,
    DetectorKindOption,
    DetectorOption,
    DetectorPersonOption,
    DetectorSizeOption,
    FlipTestOption,
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
from wholebody.runtime.errors import WholebodyError

__all__ = ["accuracy"]


class Report(Protocol):
    def markdown(self) -> str: ...


class Dataset(str, Enum):
    """What accuracy is measured on."""

    synthetic = "synthetic"
    coco = "coco"


def accuracy(
    student: StudentArgument,
    dataset: Annotated[
        Dataset, typer.Option(help="Rendered people with exact truth, or photographs annotated as COCO.")
    ] = Dataset.synthetic,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="How many rendered pictures.", show_default="500")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="coco: keypoints of COCO or COCO-WholeBody, a JSON file.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="coco: the photographs; beside the annotations unless told.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the figures into this file.")] = None,
    threads: ThreadsOption = None,
    detector: DetectorOption = None,
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
    """Recall, precision and errors, part by part.

    The answer is a Markdown table.
    """
    if dataset is Dataset.synthetic and (annotations or images or detector):
        raise WholebodyError("--annotations, --images and --detector are for --dataset coco")
    if dataset is Dataset.coco and annotations is None:
        raise WholebodyError("--dataset coco needs --annotations: a JSON file of COCO or COCO-WholeBody")
    if dataset is Dataset.coco and pictures is not None:
        raise WholebodyError("--pictures is for --dataset synthetic; coco takes all that are annotated")
    from wholebody.runtime.loading import load

    _spare(json, student, detector)
    from wholebody.runtime.pipelines.dope import DopePose

    pose = load(
        student, detector=detector, threads=threads, **said(flip_test=flip_test or None),
        options=said(skeleton=skeleton, color=color, norm=norm, size=height_width(size, "--size"), udp=udp),
        detector_options=said(
            kind=detector_kind, size=height_width(detector_size, "--detector-size"), person=detector_person,
        ),
    )  # fmt: skip
    report: Report
    if isinstance(pose, DopePose):
        if dataset is Dataset.coco:
            raise WholebodyError(
                "--dataset coco judges COCO's keypoints, which DOPE does not have: use --dataset synthetic"
            )
        from wholebody.benchmarks.accuracy import measure

        report = measure(student, pictures=pictures or 500, threads=threads, json=json, console=errors)
    elif annotations is None:
        from wholebody.benchmarks.top_down_accuracy import measure_top_down

        report = measure_top_down(pose, pictures=pictures or 500, json=json, console=errors)
    else:
        from wholebody.benchmarks.coco_accuracy import measure_coco

        report = measure_coco(pose, annotations=annotations, images=images, json=json, console=errors)
    console.print(report.markdown())


def _spare(json: Path | None, student: Path, detector: Path | None) -> None:
    """Refuse to write figures over a network that is measured."""
    from wholebody.benchmarks.json_file import prove_writable
    from wholebody.runtime.artefact import sidecar_path

    networks = [student] if detector is None else [student, detector]
    if json is not None:
        prove_writable(json, keep=[*networks, *map(sidecar_path, networks)])
