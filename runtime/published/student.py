"""Top-down students of others: RTMPose, DWPose, RTMW and RTMW3D (SimCC), ViTPose and its kin (heatmaps)."""

from __future__ import annotations

from pathlib import Path

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import Shape, describe
from wholebody.runtime.published.axes import order_of_axes
from wholebody.runtime.published.said import PublishedFile
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, SKELETONS, WHOLEBODY133
from wholebody.runtime.spec import Color, CropInput, DepthSpec, Head, Three, TopDownSpec

__all__ = ["describe_student"]

USUAL_SKELETONS = {len(skeleton): skeleton.name for skeleton in (COCO17, COCO_HAND21, WHOLEBODY133)}
SPLIT = 2.0  # bins a pixel of every published SimCC student
RTMW3D_RANGE = 2.1744869  # metres; OpenMMLab's mmpose, projects/rtmpose3d
EXAMPLE_SIZE = (256, 192)


def describe_student(
    path: str | Path,
    *,
    skeleton: str | None = None,
    color: Color | None = None,
    norm: str | None = None,
    mean: Three | None = None,
    std: Three | None = None,
    size: tuple[int, int] | None = None,
    axes: str | None = None,
    depth_range: float | None = None,
    udp: bool | None = None,
) -> TopDownSpec:
    """What a top-down student that others published is; each option may also stand in a sidecar, `x.json`.

    skeleton     "coco17", "wholebody133", …: what its keypoints are; usual for 17, 21 and 133 of them
    color, norm  "rgb" or "bgr"; "imagenet", "unit" (0..1) or "raw" (0..255): usual for SimCC (RGB, ImageNet)
    mean, std    of each channel, in 0..255, in the order of `color`: instead of `norm`
    size         (height, width) of the crop, where the file leaves it open
    axes         "xy", "yx", "xyz", …: the axes of its outputs, where their sizes and names do not tell
    depth_range  metres that a third axis covers on each side of the hips; usual for 133 keypoints (RTMW3D)
    udp          whether its heatmaps are "unbiased" (ViTPose) or plain (SimpleBaselines, HRNet)

    The answer is not verified. Raises ArtefactError where the file cannot be read or fits no head, where an
    option contradicts it, and where something cannot be told: all that is missing is asked for in one line.
    """
    options = {
        "skeleton": skeleton, "color": color, "norm": norm, "mean": mean, "std": std, "size": size,
        "axes": axes, "depth_range": depth_range, "udp": udp,
    }  # fmt: skip
    file = PublishedFile(path, options)
    with file.named():
        spec = _simcc(file) if _head(file) == "simcc" else _heatmaps(file)
        file.settle()
        return spec


def _head(file: PublishedFile) -> Head:
    """By the number of outputs and, where the file tells those, of their dimensions."""
    outputs = file.onnx.outputs
    ranks = {len(shape) for shape in outputs.values() if shape}
    if len(outputs) in (2, 3) and ranks <= {3}:
        return "simcc"
    if len(outputs) == 1 and ranks <= {4}:
        return "heatmap"
    raise ArtefactError(
        f"its outputs are {describe(outputs)}; allowed for a student are two or three of ?xKxBINS (SimCC), "
        "or one of ?xKxHxW (heatmaps): is it a detector?"
    )


def _simcc(file: PublishedFile) -> TopDownSpec:
    joints = _joints(file, rank=3)
    bins = {name: shape[2] if shape else None for name, shape in file.onnx.outputs.items()}
    size = file.size(_crop(file))
    answers = order_of_axes(file, size or (None, None), bins)
    across, down = bins[answers[0]], bins[answers[1]]
    if size is None and across and down:
        size = round(down / SPLIT), round(across / SPLIT)
    height, width = size or file.ask_size(EXAMPLE_SIZE)
    color = file.color("rgb")
    mean, std = file.normalisation(color, "imagenet")
    return TopDownSpec(
        name=file.path.stem,
        head="simcc",
        input=CropInput(height, width, mean, std, color),
        skeleton=_skeleton(file, joints),
        weights=file.weights,
        split=across / width if across else SPLIT,
        depth=_depth(file, bins[answers[2]], joints) if len(answers) == 3 else None,
        answers=answers,
        precision=file.onnx.precision,
    )


def _heatmaps(file: PublishedFile) -> TopDownSpec:
    joints = _joints(file, rank=4)
    height, width = file.size(_crop(file)) or file.ask_size(EXAMPLE_SIZE)
    ((name, shape),) = file.onnx.outputs.items()
    rows, columns = shape[2:] or (None, None)
    if rows and columns and rows * width != columns * height:
        raise ArtefactError(
            f"its maps are {rows}x{columns} for crops of {height}x{width}; allowed are maps of their aspect"
        )
    color = file.color()
    mean, std = file.normalisation(color)
    udp = file.said("udp", bool)
    if udp is None:
        udp = file.ask("udp", "whether its maps are UDP, as ViTPose's, or plain (udp: true or false)", False)
    return TopDownSpec(
        name=file.path.stem,
        head="heatmap",
        input=CropInput(height, width, mean, std, color),
        skeleton=_skeleton(file, joints),
        weights=file.weights,
        udp=udp,
        answers=(name,),
        precision=file.onnx.precision,
    )


def _crop(file: PublishedFile) -> tuple[int | None, int | None]:
    """(height, width) of the one input, ?x3xHxW."""
    shapes = list(file.onnx.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (None, 3):
        raise ArtefactError(f"its inputs are {describe(file.onnx.inputs)}; allowed is one of ?x3xHxW")
    return shapes[0][2], shapes[0][3]


def _joints(file: PublishedFile, rank: int) -> int | None:
    """How many keypoints the outputs have, None where they leave that open."""
    shapes: list[Shape] = [shape or (None,) * rank for shape in file.onnx.outputs.values()]
    counts = {shape[1] for shape in shapes} - {None}
    if len(counts) > 1:
        raise ArtefactError(
            f"its outputs are {describe(file.onnx.outputs)}; allowed is one number of keypoints in all"
        )
    return counts.pop() if counts else None


def _skeleton(file: PublishedFile, joints: int | None) -> str:
    said = file.choice("skeleton", SKELETONS)
    of_this_size = [name for name, known in SKELETONS.items() if joints in (None, len(known))]
    if not of_this_size:
        known = ", ".join(f"{name} ({len(skeleton)})" for name, skeleton in SKELETONS.items())
        raise ArtefactError(f"it has {joints} keypoints; allowed are those of a known skeleton: {known}")
    if said and said not in of_this_size:
        raise ArtefactError(
            f"'skeleton' is {said!r}, of {len(SKELETONS[said])} keypoints; it has {joints} keypoints: "
            f"allowed are {', '.join(of_this_size)}"
        )
    usual = USUAL_SKELETONS.get(joints) if joints else None
    example = next((name for name in USUAL_SKELETONS.values() if name in of_this_size), of_this_size[0])
    keypoints = f"{joints} keypoints" if joints else "keypoints"
    question = f"what its {keypoints} are (skeleton: {', '.join(of_this_size)})"
    return said or usual or file.ask("skeleton", question, example)


def _depth(file: PublishedFile, bins: int | None, joints: int | None) -> DepthSpec:
    if bins is None:
        raise ArtefactError(f"its outputs are {describe(file.onnx.outputs)}; the size of z must be a number")
    metres = file.number("depth_range")
    if metres is None and joints == len(WHOLEBODY133):
        metres = RTMW3D_RANGE
    if metres is None:
        question = "the metres its third axis covers on each side of the hips (depth_range)"
        metres = file.ask("depth_range", question, RTMW3D_RANGE)
    return DepthSpec(bins, metres)
