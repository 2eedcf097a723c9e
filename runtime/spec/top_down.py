"""A top-down student: the keypoints of one person in a crop (SimCC, ECCV 2022; RTMPose and DWPose, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec.fields import (
    Color,
    Shape,
    Three,
    WeightsSpec,
    check,
    check_input,
    entry,
    input_entries,
    names,
    number,
    shared_entries,
    to_json,
)

__all__ = ["CropInput", "DepthSpec", "Head", "TopDownSpec"]

Head = Literal["simcc", "heatmap"]


@dataclass(frozen=True)
class CropInput:
    """The crop a student wants.

    height, width  in pixels
    mean, std      of each channel, in 0..255, in the order of `color`
    color          the order of the network's channels: "rgb" or "bgr"
    """

    height: int
    width: int
    mean: Three
    std: Three
    color: Color

    def __post_init__(self) -> None:
        check_input(self.height, self.width, self.mean, self.std, self.color)

    @classmethod
    def from_dict(cls, data: Any) -> CropInput:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        return cls(**input_entries(data))


@dataclass(frozen=True)
class DepthSpec:
    """The third axis of RTMW3D: `bins` from -range to +range metres, relative to the middle of the hips.

    A bin lies at (bin / 2 / (bins / 4) - 1) * range metres.
    """

    bins: int
    range: float

    def __post_init__(self) -> None:
        check(self.bins >= 1, "depth.bins", self.bins, "1 or more")
        check(self.range > 0, "depth.range", self.range, "above 0, in metres")

    @classmethod
    def from_dict(cls, data: Any) -> DepthSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        return cls(entry(data, "bins", int, "depth."), number(data, "range", "depth."))


@dataclass(frozen=True)
class TopDownSpec:
    """The description of a top-down student (format 1).

    head         "simcc": one classification an axis; "heatmap": one map a keypoint
    skeleton     "coco17", "wholebody133", …: what its keypoints mean
    split        SimCC bins per pixel of the crop
    padding      by what a box is grown before it is cropped
    depth        RTMW3D's third axis, None for keypoints in 2D
    udp          trained on "unbiased" crops and heatmaps (UDP, CVPR 2020), as ViTPose is
    answers      names of a published network's answers where they are not the exporter's: x, y and z of
                 SimCC, or the heatmaps
    precision    "fp32", "fp16", "int8": what the graph computes in
    versions     the exporter's own and its libraries' versions
    certificate  measured drift from the PyTorch reference, or None where nothing was measured

    Raises ArtefactError where it describes a student that this version cannot run.
    """

    name: str
    head: Head
    input: CropInput
    skeleton: str
    weights: WeightsSpec
    split: float = 2.0
    padding: float = 1.25
    depth: DepthSpec | None = None
    udp: bool = False
    answers: tuple[str, ...] = ()
    precision: str = "fp32"
    versions: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    family: str = "top-down"

    def __post_init__(self) -> None:
        check(self.family == "top-down", "family", self.family, "'top-down'")
        check(self.head in get_args(Head), "head", self.head, "'simcc' or 'heatmap'")
        check(self.skeleton in SKELETONS, "skeleton", self.skeleton, ", ".join(SKELETONS))
        check(self.split > 0, "split", self.split, "above 0")
        check(self.padding > 0, "padding", self.padding, "above 0")
        check(self.depth is None or self.head == "simcc", "head", self.head, "'simcc', for it has a depth")
        axes = 1 if self.head == "heatmap" else 2 if self.depth is None else 3
        check(len(self.answers) in (0, axes), "answers", self.answers, f"{axes} names, or none")

    @classmethod
    def from_dict(cls, data: Any) -> TopDownSpec:
        """Read the JSON object; entries this version does not know are ignored.

        Raises ArtefactError naming the first entry that is missing or wrong.
        """
        head: Any = entry(data, "head", str)
        depth = data.get("depth")
        return cls(
            **shared_entries(data),
            head=head,
            skeleton=entry(data, "skeleton", str),
            input=CropInput.from_dict(entry(data, "input", dict)),
            split=number(data, "split"),
            padding=number(data, "padding"),
            depth=None if depth is None else DepthSpec.from_dict(depth),
            udp=entry(data, "udp", bool),
            answers=names(data, "answers"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `from_dict` reads."""
        return to_json(self)

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Names and shapes of what an exported network is given: crops already normalised."""
        return {"image": (None, 3, self.input.height, self.input.width)}

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """Names and shapes of its answers."""
        shapes = self._heatmaps if self.head == "heatmap" else self._simcc
        return dict(zip(self.answers, shapes.values(), strict=True)) if self.answers else shapes

    @property
    def _heatmaps(self) -> dict[str, Shape]:
        return {"heatmaps": (None, len(SKELETONS[self.skeleton]), None, None)}

    @property
    def _simcc(self) -> dict[str, Shape]:
        joints, sides = len(SKELETONS[self.skeleton]), (self.input.width, self.input.height)
        bins = {f"simcc_{axis}": round(self.split * side) for axis, side in zip("xy", sides, strict=True)}
        if self.depth is not None:
            bins["simcc_z"] = self.depth.bins
        return {name: (None, joints, size) for name, size in bins.items()}
