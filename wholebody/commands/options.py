"""Arguments and options that several commands share."""

from __future__ import annotations

import math
import re
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from wholebody.runtime.errors import WholebodyError

__all__ = [
    "AxesOption",
    "BackendOption",
    "Color",
    "ColorOption",
    "DepthRangeOption",
    "DetectorKind",
    "DetectorKindOption",
    "DetectorOption",
    "DetectorPersonOption",
    "DetectorSizeOption",
    "ExportedArgument",
    "FlipTestOption",
    "FullFrameOption",
    "IouOption",
    "MaxPeopleOption",
    "MinAreaOption",
    "MinScoreOption",
    "Norm",
    "NormOption",
    "SizeOption",
    "SkeletonOption",
    "StudentArgument",
    "ThreadsOption",
    "UdpOption",
    "finite",
    "height_width",
    "said",
]


def finite(number: float | None) -> float | None:
    """An option's number as it is; "inf" and "nan" are numbers to Python alone."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number")
    return number


class Color(str, Enum):
    rgb = "rgb"
    bgr = "bgr"


class Norm(str, Enum):
    imagenet = "imagenet"
    unit = "unit"
    raw = "raw"


class DetectorKind(str, Enum):
    rtmdet = "rtmdet"
    yolox = "yolox"


StudentArgument = Annotated[
    Path,
    typer.Argument(
        metavar="STUDENT", help="A student as ONNX: exported, with x.json beside it, or published by others."
    ),
]
ExportedArgument = Annotated[
    Path,
    typer.Argument(
        metavar="STUDENT", help="A student that wholebody exported, as ONNX with x.json beside it."
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; all physical cores unless told.")
]
BackendOption = Annotated[
    str, typer.Option(help="auto, onnxruntime, onnxruntime:PROVIDER, tensorrt or tensorrt:GPU.")
]

# A top-down student's people.
DetectorOption = Annotated[
    Path | None,
    typer.Option(help="For a top-down student, a person detector: RTMDet or YOLOX as ONNX."),
]
MaxPeopleOption = Annotated[
    int | None, typer.Option(min=1, help="Look only into so many detected boxes, the best ones.")
]
FullFrameOption = Annotated[
    bool, typer.Option("--full-frame", help="Without a detector, take every picture for one person.")
]
FlipTestOption = Annotated[
    bool, typer.Option("--flip-test", help="Ask also about the mirrored crop, and take the mean.")
]
MinScoreOption = Annotated[
    float | None, typer.Option(min=0, max=1, help="Leave out boxes that score less.", show_default="0.3")
]
IouOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Of two boxes that overlap more, keep the better.", show_default="0.6"),
]
MinAreaOption = Annotated[
    float | None,
    typer.Option(min=0, callback=finite, help="Leave out boxes of fewer pixels.", show_default="100"),
]

# What a file that others published does not tell; it asks for what it needs.
SkeletonOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Published student: what its keypoints are, as coco17, wholebody133."),
]
ColorOption = Annotated[Color | None, typer.Option(help="Published student: order of its channels.")]
NormOption = Annotated[Norm | None, typer.Option(help="Published student: normalisation of its input.")]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Published student: crop size, where the file leaves it open."),
]
AxesOption = Annotated[
    str | None,
    typer.Option(metavar="xy|yx|xyz", help="Published student: axes of its outputs, if sizes do not tell."),
]
DepthRangeOption = Annotated[
    float | None,
    typer.Option(metavar="METRES", help="Published student: what a third axis covers each side of the hips."),
]
UdpOption = Annotated[
    bool | None,
    typer.Option("--udp/--no-udp", help="Published student: heatmaps are UDP (ViTPose) or plain."),
]
DetectorKindOption = Annotated[
    DetectorKind | None, typer.Option(help="Detector: needed where suppression is in its graph.")
]
DetectorSizeOption = Annotated[
    str | None, typer.Option(metavar="HxW", help="Detector: input size, where the file leaves it open.")
]
DetectorPersonOption = Annotated[
    int | None, typer.Option(min=0, help="Detector: index of the class of people.")
]


def said(**options: Any) -> dict[str, Any]:
    """The options that were given, with the plain values that the library takes."""
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in options.items()}
    return {name: value for name, value in plain.items() if value is not None}


def height_width(text: str | None, option: str) -> tuple[int, int] | None:
    """`384x640` as (384, 640). Raises WholebodyError naming the option."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    if match is None:
        raise WholebodyError(
            f"{option} is {text!r}; it must be HEIGHTxWIDTH in pixels, below 10000 each, such as 384x640"
        )
    return int(match[1]), int(match[2])
