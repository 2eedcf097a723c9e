"""Person detectors of others: RTMDet and YOLOX, with or without suppression in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import describe
from wholebody.runtime.published.said import PublishedFile
from wholebody.runtime.spec import Color, DetectorInput, DetectorSpec, Layout, Shape, Three
from wholebody.runtime.spec.detector import STRIDES

__all__ = ["Kind", "describe_detector"]

Kind = Literal["rtmdet", "yolox"]
# As OpenMMLab and Megvii publish them, both with channels of blue, green and red.
NORM: Mapping[Kind, str] = MappingProxyType({"rtmdet": "imagenet", "yolox": "raw"})
EXAMPLE_SIZE = (640, 640)
PERSON_FIRST = (1, 80)  # a detector of people alone, and one of COCO's classes


def describe_detector(
    path: str | Path,
    *,
    kind: Kind | None = None,
    size: tuple[int, int] | None = None,
    person: int | None = None,
    color: Color | None = None,
    mean: Three | None = None,
    std: Three | None = None,
) -> DetectorSpec:
    """What a person detector that others published is; each option may also stand in a sidecar, `x.json`.

    kind       "rtmdet" or "yolox": asked for where suppression in the graph hides it
    size       (height, width) of its input, where the file leaves it open
    person     the index of the class of people; 0 where there is one class or COCO's 80
    color      "rgb" or "bgr", and
    mean, std  of each channel, in 0..255, in the order of `color`, where it was trained in another way

    The answer is not verified. Raises ArtefactError where the file cannot be read or fits no layout, where an
    option contradicts it, and where something cannot be told: all that is missing is asked for in one line.
    """
    options = {"kind": kind, "size": size, "person": person, "color": color, "mean": mean, "std": std}
    file = PublishedFile(path, options, flag="--detector-")
    with file.named():
        spec = _described(file)
        file.settle()
        return spec


def _described(file: PublishedFile) -> DetectorSpec:
    found = file.size(_picture(file))
    layout, classes = _layout(file, found)
    height, width = found or file.ask_size(EXAMPLE_SIZE)
    if None in _picture(file) and (height % STRIDES[-1] or width % STRIDES[-1]):
        raise ArtefactError(f"'size' is ({height}, {width}); allowed are multiples of {STRIDES[-1]}")
    kind, color = _kind(file, layout), file.color("bgr")
    mean, std = file.normalisation(color, NORM[kind] if kind else None)
    return DetectorSpec(
        name=file.path.stem,
        layout=layout,
        input=DetectorInput(height, width, mean, std, color),
        weights=file.weights,
        person=_person(file, classes),
        precision=file.onnx.precision,
    )


def _picture(file: PublishedFile) -> tuple[int | None, int | None]:
    """(height, width) of the one input, 1x3xHxW."""
    shapes = list(file.onnx.inputs.values())
    if (
        len(shapes) != 1
        or len(shapes[0]) != 4
        or shapes[0][0] not in (None, 1)
        or shapes[0][1] not in (None, 3)
    ):
        raise ArtefactError(f"its inputs are {describe(file.onnx.inputs)}; allowed is one of 1x3xHxW")
    return shapes[0][2], shapes[0][3]


def _layout(file: PublishedFile, size: tuple[int, int] | None) -> tuple[Layout, int | None]:
    """What the outputs are, and of how many classes (None where they do not tell)."""
    shapes = sorted(file.onnx.outputs.values(), key=len)
    ranks, last = [len(shape) for shape in shapes], shapes[-1][-1] if shapes and shapes[-1] else None
    if (ranks == [2, 3] and last in (None, 5)) or (ranks == [3] and last == 5):
        return "suppressed", None
    if ranks == [3] and last is not None and last > 5 and _is_open_or(shapes[0][1], _anchors(size)):
        return "yolox", last - 5
    if ranks == [4, 4, 4] and last is not None and last > 4 and _are_grids(shapes, last, size):
        return "rtmdet", last - 4
    raise ArtefactError(
        f"its outputs are {describe(file.onnx.outputs)}; allowed for a detector are 1xNx5 and labels 1xN "
        "(after suppression) or, on grids of 8, 16 and 32 pixels, 1xANCHORSx(5+CLASSES) (YOLOX) or three of "
        "1xROWSxCOLUMNSx(CLASSES+4) (RTMDet): is it a student?"
    )


def _is_open_or(found: int | None, wanted: int | None) -> bool:
    return found is None or wanted is None or found == wanted


def _anchors(size: tuple[int, int] | None) -> int | None:
    return None if size is None else sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)


def _are_grids(shapes: list[Shape], last: int, size: tuple[int, int] | None) -> bool:
    if any(shape[-1] != last for shape in shapes):
        return False
    grids = {shape[1:3] for shape in shapes}
    if size is None or any(None in grid for grid in grids):
        return True
    return grids == {(size[0] // stride, size[1] // stride) for stride in STRIDES}


def _kind(file: PublishedFile, layout: Layout) -> Kind | None:
    """What the outputs or the user say; None where they do not, but tell how it was trained."""
    said = file.choice("kind", tuple(NORM))
    if layout == "suppressed":
        if said is not None or file.says("mean") or file.says("std"):
            return said
        question = "whether it is RTMDet or YOLOX, normalised differently (kind: rtmdet or yolox)"
        example: Kind = "rtmdet"
        return file.ask("kind", question, example)
    if said not in (None, layout):
        raise ArtefactError(f"'kind' is {said!r}; its outputs are those of {layout}")
    return layout


def _person(file: PublishedFile, classes: int | None) -> int:
    said = file.said("person", int)
    if said is not None and classes is not None and not 0 <= said < classes:
        allowed = f"it has {classes} classes, 0 to {classes - 1}" if classes > 1 else "its only class is 0"
        raise ArtefactError(f"'person' is {said}; {allowed}")
    if said is not None:
        return said
    if classes is None or classes in PERSON_FIRST:
        return 0
    return file.ask("person", f"which of its {classes} classes is a person (person: 0 to {classes - 1})", 0)
