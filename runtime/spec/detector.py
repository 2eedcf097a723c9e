"""A person detector: RTMDet or YOLOX, with or without suppression in its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from wholebody.runtime.spec.fields import (
    Color,
    Shape,
    Three,
    WeightsSpec,
    check,
    check_input,
    entry,
    input_entries,
    shared_entries,
    to_json,
)

__all__ = ["STRIDES", "DetectorInput", "DetectorSpec", "Layout"]

Layout = Literal["suppressed", "rtmdet", "yolox"]
STRIDES = (8, 16, 32)  # of the three maps that RTMDet and YOLOX detect in


@dataclass(frozen=True)
class DetectorInput:
    """The picture a detector wants: resized with its aspect kept, in the top left corner, grey elsewhere.

    height, width  in pixels
    mean, std      of each channel, in 0..255, in the order of `color`
    color          the order of the network's channels: "rgb" or "bgr"
    pad            the grey, before it is normalised
    upscale        whether a picture smaller than the input is enlarged
    """

    height: int
    width: int
    mean: Three
    std: Three
    color: Color
    pad: int = 114
    upscale: bool = True

    def __post_init__(self) -> None:
        check_input(self.height, self.width, self.mean, self.std, self.color)
        check(0 <= self.pad <= 255, "input.pad", self.pad, "0..255")

    @classmethod
    def from_dict(cls, data: Any) -> DetectorInput:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        pad, upscale = entry(data, "pad", int, "input."), entry(data, "upscale", bool, "input.")
        return cls(**input_entries(data), pad=pad, upscale=upscale)


@dataclass(frozen=True)
class DetectorSpec:
    """The description of a person detector (format 1).

    layout       of its answers. "suppressed": boxes after non-maximum suppression; "rtmdet": a map of class
                 logits and distances a stride; "yolox": one row of offsets, objectness and classes an anchor
    person       the index of the class of people
    precision    "fp32", "fp16", "int8": what the graph computes in
    versions     the exporter's own and its libraries' versions
    certificate  measured drift from the PyTorch reference, or None where nothing was measured

    Raises ArtefactError where it describes a detector that this version cannot run.
    """

    name: str
    layout: Layout
    input: DetectorInput
    weights: WeightsSpec
    person: int = 0
    precision: str = "fp32"
    versions: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    family: str = "detector"

    def __post_init__(self) -> None:
        check(self.family == "detector", "family", self.family, "'detector'")
        check(self.layout in get_args(Layout), "layout", self.layout, ", ".join(get_args(Layout)))
        check(self.person >= 0, "person", self.person, "0 or more")
        strided = self.layout == "suppressed" or not (
            self.input.height % STRIDES[-1] or self.input.width % STRIDES[-1]
        )
        size = f"{self.input.height}x{self.input.width}"
        check(strided, "input", size, f"multiples of {STRIDES[-1]} without suppression in the graph")

    @classmethod
    def from_dict(cls, data: Any) -> DetectorSpec:
        """Read the JSON object; entries this version does not know are ignored.

        Raises ArtefactError naming the first entry that is missing or wrong.
        """
        layout: Any = entry(data, "layout", str)
        return cls(
            **shared_entries(data),
            layout=layout,
            person=entry(data, "person", int),
            input=DetectorInput.from_dict(entry(data, "input", dict)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `from_dict` reads."""
        return to_json(self)

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Names and shapes of what an exported network is given: a picture already normalised."""
        return {"image": (None, 3, self.input.height, self.input.width)}

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """Names and shapes of an exported network's answers."""
        if self.layout == "suppressed":
            return {"dets": (None, None, 5), "labels": (None, None)}
        cells = {stride: (self.input.height // stride, self.input.width // stride) for stride in STRIDES}
        if self.layout == "yolox":
            return {"anchors": (None, sum(rows * columns for rows, columns in cells.values()), None)}
        return {f"stride_{stride}": (None, *hw, None) for stride, hw in cells.items()}
