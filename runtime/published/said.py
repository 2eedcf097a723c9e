"""What a user says about an ONNX file of others, in options or in a sidecar, and what has to be asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from wholebody.runtime.artefact import METADATA_KEY, sidecar_path
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.spec import Color, Three, WeightsSpec
from wholebody.runtime.spec.fields import entry, number, three

__all__ = ["NORMS", "PublishedFile", "sidecar_says"]

# Mean and deviation of red, green and blue in 0..255.
NORMS: Mapping[str, tuple[Three, Three]] = MappingProxyType(
    {
        "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
        "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    }
)
COLORS: tuple[Color, Color] = ("rgb", "bgr")
NOT_STATED = "not stated"
T = TypeVar("T")
S = TypeVar("S", bound=str)


class PublishedFile:
    """An ONNX file of others.

    path     the file; a sidecar of the same name, `x.json`, may hold any of the options and its "licence"
    options  what the caller says, None where it says nothing; stronger than the sidecar
    flag     what the command line writes before an option's name

    Raises ArtefactError where the file cannot be read, was exported by wholebody, or the sidecar is no JSON
    object of these options.
    """

    def __init__(self, path: str | Path, options: Mapping[str, Any], flag: str = "--") -> None:
        self.path = Path(path)
        self.onnx = read_onnx(self.path)
        if METADATA_KEY in self.onnx.metadata:
            raise ArtefactError(
                f"{self.path} was exported by wholebody and describes itself: give a file of others"
            )
        given = {name: value for name, value in options.items() if value is not None}
        self._said = {**_left(_sidecar(self.path, {*options, "licence"}), given), **given}
        self._asked_for: set[str] = set()
        self._flag = flag
        self._questions: list[tuple[str, str, object]] = []

    @property
    def weights(self) -> WeightsSpec:
        return WeightsSpec(self.path.name, self.onnx.sha256, self.said("licence", str) or NOT_STATED)

    def says(self, name: str) -> bool:
        self._asked_for.add(name)
        return name in self._said

    def said(self, name: str, kind: type[T]) -> T | None:
        """An option of this type, None where nobody says it."""
        return entry(self._said, name, kind) if self.says(name) else None

    def choice(self, name: str, allowed: Collection[S]) -> S | None:
        """An option that is one of these."""
        said = self.said(name, str)
        if said is not None and said not in allowed:
            raise ArtefactError(f"'{name}' is {said!r}; allowed are {', '.join(allowed)}")
        return cast("S | None", said)

    def number(self, name: str) -> float | None:
        return number(self._said, name) if self.says(name) else None

    def size(self, found: tuple[int | None, int | None]) -> tuple[int, int] | None:
        """(height, width) of the input: the file's, or else the option "size", or else None."""
        said, (height, width) = self._pair("size"), found
        if height is None or width is None:
            return said
        if said not in (None, (height, width)):
            raise ArtefactError(
                f"'size' is {said}; its input is ({height}, {width}), which cannot be changed"
            )
        return height, width

    def ask_size(self, example: tuple[int, int]) -> tuple[int, int]:
        return self.ask("size", "the size of its input (size: height and width)", example)

    def color(self, usual: Color | None = None) -> Color:
        """The order of the channels, asked for where none is usual."""
        color = self.choice("color", COLORS) or usual
        if color is None:
            return self.ask("color", "the order of its colours (color: rgb or bgr)", COLORS[0])
        return color

    def normalisation(self, color: Color, usual: str | None = None) -> tuple[Three, Three]:
        """Mean and deviation in the order of `color`, asked for where none is usual."""
        own, named = self.says("mean") | self.says("std"), self.says("norm")
        if own and named:
            raise ArtefactError("'norm' and 'mean' both tell its normalisation: give one of them")
        if own:
            return three(self._said, "mean", ""), three(self._said, "std", "")
        norm = self.choice("norm", NORMS) or usual
        if norm is None:
            question = f"its normalisation (norm: {_either(NORMS)}; or mean and std of 0..255)"
            norm = self.ask("norm", question, "imagenet")
        mean, std = NORMS[norm]
        return (mean, std) if color == "rgb" else (_reversed(mean), _reversed(std))

    def ask(self, name: str, what: str, example: T) -> T:
        """Note a question for `settle`; until then its example stands in."""
        self._questions.append((name, what, example))
        return example

    def settle(self) -> None:
        """Raise ArtefactError with what was said in vain, or with everything that was asked, in one line."""
        vain = sorted(self._said.keys() - self._asked_for - {"licence"})
        if vain:
            raise ArtefactError(f"{', '.join(map(repr, vain))} tells nothing about such a file: leave it out")
        if self._questions:
            names, questions, examples = zip(*self._questions, strict=True)
            flags = " ".join(map(self._as_flag, names, examples))
            sidecar = json.dumps(dict(zip(names, examples, strict=True)))
            raise ArtefactError(
                f"its shapes do not tell {', '.join(questions)}: say it as in {flags}, or write it into "
                f"{sidecar_path(self.path).name} as in {sidecar}"
            )

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors begin with the file's name."""
        try:
            yield
        except ArtefactError as error:
            raise ArtefactError(f"{self.path}: {error}") from None

    def _as_flag(self, name: str, example: object) -> str:
        option = name.replace("_", "-")
        if isinstance(example, bool):
            return f"{self._flag}{'' if example else 'no-'}{option}"
        value = "x".join(map(str, example)) if isinstance(example, tuple) else example
        return f"{self._flag}{option} {value}"

    def _pair(self, name: str) -> tuple[int, int] | None:
        if not self.says(name):
            return None
        values: Any = self._said[name]
        listed = isinstance(values, (list, tuple)) and len(values) == 2
        if not listed or not all(type(v) is int and v > 0 for v in values):
            raise ArtefactError(f"'{name}' is {values!r:.80}; allowed are a height and a width in pixels")
        height, width = values
        return height, width


def _left(sidecar: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The sidecar without the normalisation, where the caller gives it in another form."""
    other = {"norm"} if {"mean", "std"} & given.keys() else {"mean", "std"} if "norm" in given else set()
    return {name: value for name, value in sidecar.items() if name not in other}


def sidecar_says(path: Path, name: str) -> bool:
    """Whether `x.json` beside `x.onnx` has this entry; whatever else is wrong with it is not looked at."""
    try:
        said = json.loads(sidecar_path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and name in said


def _sidecar(path: Path, allowed: Collection[str]) -> dict[str, Any]:
    """The entries of `x.json` beside `x.onnx`; none where it is not there."""
    sidecar = sidecar_path(path)
    try:
        said = json.loads(sidecar.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ArtefactError(
            f"{sidecar} is no JSON object: allowed is one with any of {', '.join(sorted(allowed))}"
        )
    unknown = sorted(said.keys() - allowed)
    if unknown:
        raise ArtefactError(
            f"{sidecar}: unknown entry {unknown[0]!r:.80}; allowed are {', '.join(sorted(allowed))}"
        )
    return said


def _reversed(values: Three) -> Three:
    first, second, third = values
    return third, second, first


def _either(names: Collection[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
