"""What the descriptions of all families share: reading entries of a JSON object, checking, weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeGuard, TypeVar, get_args

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import Shape

__all__ = [
    "FORMAT",
    "Color",
    "Shape",
    "Three",
    "WeightsSpec",
    "check",
    "check_input",
    "entry",
    "input_entries",
    "names",
    "number",
    "shared_entries",
    "three",
    "to_json",
]

FORMAT = 1

Color = Literal["rgb", "bgr"]
Three = tuple[float, float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class WeightsSpec:
    """Where the weights came from: a name or address, the SHA-256 of that file, and its licence."""

    source: str
    sha256: str
    licence: str

    @classmethod
    def from_dict(cls, data: Any) -> WeightsSpec:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        return cls(*(entry(data, name, str, "weights.") for name in ("source", "sha256", "licence")))


def shared_entries(data: Any) -> dict[str, Any]:
    """The entries that every family has, as keyword arguments; raises ArtefactError for the first wrong."""
    version = entry(data, "format", int)
    check(version == FORMAT, "format", version, f"{FORMAT}, so update wholebody or export again")
    certificate = data.get("certificate")
    return {
        **{name: entry(data, name, str) for name in ("family", "name", "precision")},
        "weights": WeightsSpec.from_dict(entry(data, "weights", dict)),
        "versions": dict(entry(data, "versions", dict)),
        "certificate": None if certificate is None else dict(entry(data, "certificate", dict)),
    }


def to_json(spec: Any) -> dict[str, Any]:
    """The JSON object of a description; without a certificate where nothing was measured."""
    entries = {"format": FORMAT, **asdict(spec)}
    if spec.certificate is None:
        del entries["certificate"]
    return entries


def check(ok: bool, name: str, got: object, allowed: str) -> None:
    """Raise ArtefactError about the entry `name` unless it is `ok`."""
    if not ok:
        raise ArtefactError(f"'{name}' is {got!r}; allowed is {allowed}")


def check_input(height: int, width: int, mean: Three, std: Three, color: str) -> None:
    """Of pixels of 0..255, normalised channel by channel in the order `color`."""
    check(height >= 1, "input.height", height, "1 or more")
    check(width >= 1, "input.width", width, "1 or more")
    check(all(0 <= m <= 255 for m in mean), "input.mean", mean, "three numbers of 0..255")
    check(all(s >= 1 for s in std), "input.std", std, "three numbers of 1 or more, as pixels are 0..255")
    check(color in get_args(Color), "input.color", color, "'rgb' or 'bgr'")


def entry(data: Any, name: str, kind: type[T], where: str = "") -> T:
    """The entry `name`, of exactly this JSON type (true is not a number)."""
    if not isinstance(data, dict) or name not in data:
        raise ArtefactError(f"the entry '{where}{name}' is missing")
    value = data[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise ArtefactError(f"'{where}{name}' is {value!r:.80}; allowed is a value of type {kind.__name__}")
    return value


def input_entries(data: Any) -> dict[str, Any]:
    """The entries that the inputs of crops and detectors share, as keyword arguments."""
    return {
        **{name: entry(data, name, int, "input.") for name in ("height", "width")},
        **{name: three(data, name) for name in ("mean", "std")},
        "color": entry(data, "color", str, "input."),
    }


def number(data: Any, name: str, where: str = "") -> float:
    """The entry `name`, a finite number."""
    value = entry(data, name, object, where)
    if not _is_number(value):
        raise ArtefactError(f"'{where}{name}' is {value!r:.80}; allowed is a number")
    return float(value)


def three(data: Any, name: str, where: str = "input.") -> Three:
    """The entry `name`, three finite numbers."""
    values = data[name] if isinstance(data, dict) and name in data else None
    if not isinstance(values, (list, tuple)) or len(values) != 3 or not all(map(_is_number, values)):
        raise ArtefactError(f"'{where}{name}' is {values!r:.80}; allowed are three numbers")
    first, second, third = (float(v) for v in values)
    return first, second, third


def names(data: Any, name: str) -> tuple[str, ...]:
    """The entry `name`, a list of different names."""
    values: Any = data[name] if isinstance(data, dict) and name in data else None
    strings = isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)
    if not strings or len({*values}) < len(values):
        raise ArtefactError(f"'{name}' is {values!r:.80}; allowed is a list of different names")
    return tuple(values)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
