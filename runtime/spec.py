"""What a student is: its input, its parts, its weights and how precisely it was exported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.skeletons import DOPE, DOPE_BODY, DOPE_FACE, DOPE_HAND

__all__ = ["FORMAT", "JOINTS", "InputSpec", "PartSpec", "StudentSpec", "WeightsSpec"]

FORMAT = 1
JOINTS: Mapping[str, int] = MappingProxyType(
    {"body": len(DOPE_BODY), "hand": len(DOPE_HAND), "face": len(DOPE_FACE)}
)

T = TypeVar("T")


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
            _check(getattr(self, name) >= 1, f"input.{name}", getattr(self, name), "1 or more")
        _check(all(s > 0 for s in self.std), "input.std", self.std, "three numbers above 0")
        _check(self.color == "rgb", "input.color", self.color, "'rgb'")

    @classmethod
    def from_dict(cls, data: Any) -> InputSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        sizes = {
            name: _get(data, name, int, "input.") for name in ("height", "width", "min_size", "max_size")
        }
        mean, std = (_three(data, name) for name in ("mean", "std"))
        return cls(**sizes, mean=mean, std=std, color=_get(data, "color", str, "input."))


@dataclass(frozen=True)
class PartSpec:
    """One part's head: joints, classes without the background, options of the pose-proposal integration."""

    joints: int
    classes: int
    ppi: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.classes >= 1, "classes", self.classes, "1 or more")

    @classmethod
    def from_dict(cls, data: Any, part: str) -> PartSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        where = f"parts.{part}."
        joints, classes = (_get(data, name, int, where) for name in ("joints", "classes"))
        return cls(joints, classes, dict(_get(data, "ppi", dict, where)))


@dataclass(frozen=True)
class WeightsSpec:
    """Where the weights came from: a name or address, the SHA-256 of that file, and its licence."""

    source: str
    sha256: str
    licence: str

    @classmethod
    def from_dict(cls, data: Any) -> WeightsSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        return cls(*(_get(data, name, str, "weights.") for name in ("source", "sha256", "licence")))


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
        _check(self.family == "dope", "family", self.family, "'dope'")
        _check(self.skeleton == DOPE.name, "skeleton", self.skeleton, f"'{DOPE.name}'")
        _check(set(self.parts) == set(JOINTS), "parts", sorted(self.parts), "body, hand and face")
        for part, joints in JOINTS.items():
            _check(
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
        number = _get(data, "format", int)
        _check(number == FORMAT, "format", number, f"{FORMAT}, so update wholebody or export again")
        certificate = data.get("certificate")
        return cls(
            **{name: _get(data, name, str) for name in ("family", "name", "skeleton", "precision")},
            input=InputSpec.from_dict(_get(data, "input", dict)),
            parts={part: PartSpec.from_dict(p, part) for part, p in _get(data, "parts", dict).items()},
            weights=WeightsSpec.from_dict(_get(data, "weights", dict)),
            versions=dict(_get(data, "versions", dict)),
            certificate=None if certificate is None else dict(_get(data, "certificate", dict)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `from_dict` reads."""
        entries = {"format": FORMAT, **asdict(self)}
        if self.certificate is None:
            del entries["certificate"]
        return entries


def _check(ok: bool, name: str, got: object, allowed: str) -> None:
    if not ok:
        raise ArtefactError(f"'{name}' is {got!r}; allowed is {allowed}")


def _get(data: Any, name: str, kind: type[T], where: str = "") -> T:
    """The entry `name`, of exactly this JSON type (true is not a number)."""
    if not isinstance(data, dict) or name not in data:
        raise ArtefactError(f"the entry '{where}{name}' is missing")
    value = data[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ArtefactError(f"'{where}{name}' is {value!r:.80}; allowed is a value of type {kind.__name__}")
    return value


def _three(data: Any, name: str) -> tuple[float, float, float]:
    values = data[name] if isinstance(data, dict) and name in data else None
    if (
        not isinstance(values, (list, tuple))
        or len(values) != 3
        or not all(type(v) in (int, float) and math.isfinite(v) for v in values)
    ):
        raise ArtefactError(f"'input.{name}' is {values!r:.80}; allowed are three numbers")
    red, green, blue = (float(v) for v in values)
    return red, green, blue
