"""A DOPE student: one network that finds everyone, with body, hands and face (ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from wholebody.runtime.skeletons import DOPE, DOPE_BODY, DOPE_FACE, DOPE_HAND
from wholebody.runtime.spec.fields import Shape, WeightsSpec, check, entry, shared_entries, three, to_json

__all__ = ["JOINTS", "InputSpec", "PartSpec", "StudentSpec"]

JOINTS: Mapping[str, int] = MappingProxyType(
    {"body": len(DOPE_BODY), "hand": len(DOPE_HAND), "face": len(DOPE_FACE)}
)


@dataclass(frozen=True)
class InputSpec:
    """The picture a student wants.

    height, width       of the input tensor, in pixels
    min_size, max_size  the shorter side it is resized to, and what its longer side may be at most
    mean, std           of red, green and blue in 0..1
    color               the order of the channels: always "rgb"
    """

    height: int
    width: int
    min_size: int
    max_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color: str = "rgb"

    def __post_init__(self) -> None:
        for name in ("height", "width", "min_size", "max_size"):
            check(getattr(self, name) >= 1, f"input.{name}", getattr(self, name), "1 or more")
        check(all(s > 0 for s in self.std), "input.std", self.std, "three numbers above 0")
        check(self.color == "rgb", "input.color", self.color, "'rgb'")

    @classmethod
    def from_dict(cls, data: Any) -> InputSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        sizes = {
            name: entry(data, name, int, "input.") for name in ("height", "width", "min_size", "max_size")
        }
        mean, std = (three(data, name) for name in ("mean", "std"))
        return cls(**sizes, mean=mean, std=std, color=entry(data, "color", str, "input."))


@dataclass(frozen=True)
class PartSpec:
    """One part's head: joints, classes without the background, options of the pose-proposal integration."""

    joints: int
    classes: int
    ppi: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.classes >= 1, "classes", self.classes, "1 or more")

    @classmethod
    def from_dict(cls, data: Any, part: str) -> PartSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        where = f"parts.{part}."
        joints, classes = (entry(data, name, int, where) for name in ("joints", "classes"))
        return cls(joints, classes, dict(entry(data, "ppi", dict, where)))


@dataclass(frozen=True)
class StudentSpec:
    """The description that travels inside an exported student and in its sidecar (format 1).

    name, family, skeleton  "dope-mini", "dope", "dope139"
    parts                   body, hand and face
    precision               "fp32", "fp16", "int8": what the graph computes in
    versions                the exporter's own and its libraries' versions
    certificate             measured drift from the PyTorch reference, or None before it was measured

    Raises ArtefactError where it describes a student that this version cannot run.
    """

    name: str
    input: InputSpec
    parts: Mapping[str, PartSpec]
    weights: WeightsSpec
    precision: str = "fp32"
    versions: Mapping[str, str] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    family: str = "dope"
    skeleton: str = DOPE.name

    def __post_init__(self) -> None:
        check(self.family == "dope", "family", self.family, "'dope'")
        check(self.skeleton == DOPE.name, "skeleton", self.skeleton, f"'{DOPE.name}'")
        check(set(self.parts) == set(JOINTS), "parts", sorted(self.parts), "body, hand and face")
        for part, joints in JOINTS.items():
            check(
                self.parts[part].joints == joints,
                f"parts.{part}.joints",
                self.parts[part].joints,
                str(joints),
            )

    @classmethod
    def from_dict(cls, data: Any) -> StudentSpec:
        """Read the JSON object; entries this version does not know are ignored.

        Raises ArtefactError naming the first entry that is missing or wrong.
        """
        return cls(
            **shared_entries(data),
            skeleton=entry(data, "skeleton", str),
            input=InputSpec.from_dict(entry(data, "input", dict)),
            parts={part: PartSpec.from_dict(p, part) for part, p in entry(data, "parts", dict).items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `from_dict` reads."""
        return to_json(self)

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Names and shapes of what the exported network is given."""
        return {"image": (1, 3, self.input.height, self.input.width), "size": (2,)}

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """Names and shapes of its answers; None is N, the number of proposals."""
        shapes: dict[str, Shape] = {"boxes": (None, 4)}
        for name, part in self.parts.items():
            shapes[f"{name}_scores"] = (None, part.classes + 1)
            shapes[f"{name}_pose2d"] = (None, part.classes, part.joints, 2)
            shapes[f"{name}_pose3d"] = (None, part.classes, part.joints, 3)
        return shapes
