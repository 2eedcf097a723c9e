"""`wholebody bench peer`: beside rtmlib."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from wholebody.commands.options import (
    DetectorKindOption,
    DetectorSizeOption,
    StudentArgument,
    finite,
    height_width,
    said,
)
from wholebody.console import console
from wholebody.runtime.errors import WholebodyError

__all__ = ["peer"]


def peer(
    student: StudentArgument,
    detector: Annotated[Path, typer.Option(help="RTMDet or YOLOX as ONNX, suppression in its graph.")],
    images: Annotated[Path, typer.Option(help="A folder of photographs of people.")],
    seconds: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="How long to measure, each crowd.")
    ] = 20.0,
    detector_kind: DetectorKindOption = None,
    detector_size: DetectorSizeOption = None,
) -> None:
    """Whole frames beside rtmlib, on the same files and cores.

    Both run in turns, with one and with eight people; the answer is a Markdown table. Needs rtmlib:
    pip install --no-deps rtmlib
    """
    if find_spec("rtmlib") is None:
        raise WholebodyError("rtmlib is not installed: pip install --no-deps rtmlib")
    from wholebody.benchmarks.peer_rtmlib import measure_peer
    from wholebody.runtime.loading import load_top_down

    size = height_width(detector_size, "--detector-size")
    pose = load_top_down(student, detector=detector, detector_options=said(kind=detector_kind, size=size))
    assert pose.detector is not None
    files = (student, pose.spec), (detector, pose.detector.spec)
    console.print(measure_peer(*files, images=images, seconds=seconds).markdown())
