"""What `wholebody build` would build, told from the ONNX file and the options, without TensorRT or a GPU."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.errors import WholebodyError
from wholebody.runtime.onnxfile import Shape, read_onnx
from wholebody.runtime.plan import HARDWARE, engine_beside, is_engine

__all__ = ["BuildOptions", "BuildPlan", "Range", "parse_batch", "parse_shape", "plan_build"]

DEFAULT_BATCH = (1, 4, 16)
GIB = 1 << 30

Fixed = tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """The smallest, the typical and the largest shape of one input; the typical one is made fastest."""

    smallest: Fixed
    typical: Fixed
    largest: Fixed

    def __post_init__(self) -> None:
        sides = list(zip(self.smallest, self.typical, self.largest, strict=True))
        if not all(1 <= low <= middle <= high for low, middle, high in sides):
            raise WholebodyError(
                f"the shapes {self} do not rise from 1 up: write them smallest, typical, largest"
            )

    def __str__(self) -> str:
        return ":".join("x".join(map(str, s)) for s in (self.smallest, self.typical, self.largest))


@dataclass(frozen=True)
class BuildOptions:
    """How to build an engine. None: TensorRT's own choice.

    batch               smallest, typical and largest number of pictures or people, where the ONNX file
                        leaves it open; None takes 1:4:16
    shapes              the same for whole inputs by name, where more than the batch is open
    workspace           GiB of GPU memory that a layer's kernel may take while it runs
    optimization_level  0 (quick build) to 5 (every kernel is tried); TensorRT takes 3
    tf32                FP32 may be rounded to 10 bits before it is multiplied, which is faster
    hardware            "this" model of GPU, "same-capability", "ampere+": plans for more GPUs are slower
    version_compatible  newer versions of TensorRT may run the engine too
    refit               its weights can be exchanged later
    strip               it has no weights, and takes them from the ONNX file beside it when it is loaded
    dla                 number of the DLA core to run on, with the GPU for what that cannot do
    """

    batch: tuple[int, int, int] | None = None
    shapes: Mapping[str, Range] = field(default_factory=dict)
    workspace: float | None = None
    optimization_level: int | None = None
    tf32: bool = False
    hardware: str = "this"
    version_compatible: bool = False
    refit: bool = False
    strip: bool = False
    dla: int | None = None

    def __post_init__(self) -> None:
        _allow("workspace", self.workspace, self.workspace is None or self.workspace > 0, "GiB above 0")
        level = self.optimization_level
        _allow("optimization level", level, level is None or 0 <= level <= 5, "0 to 5")
        _allow("hardware", self.hardware, self.hardware in HARDWARE, ", ".join(HARDWARE))
        _allow("dla", self.dla, self.dla is None or self.dla >= 0, "the number of a DLA core, from 0")
        if self.dla is not None and self.hardware != "this":
            raise WholebodyError("a plan for a DLA runs on its own device only: leave out --hardware")

    @classmethod
    def from_flags(cls, flags: Iterable[str]) -> BuildOptions:
        """The options that `flags` gave. Raises WholebodyError for others."""
        options: dict[str, Any] = {"shapes": {}}
        for flag in flags:
            name, _, value = flag.removeprefix("--").partition("=")
            if name == "shape":
                tensor, shapes = parse_shape(value)
                options["shapes"][tensor] = shapes
            elif name in _READ:
                options[name.replace("-", "_")] = _READ[name](value)
            else:
                raise WholebodyError(f"{flag} is no option of `wholebody build`: build the engine anew")
        return cls(**options)

    def flags(self) -> tuple[str, ...]:
        """These options as `wholebody build` takes them."""
        found = [f"--batch={':'.join(map(str, self.batch))}"] if self.batch else []
        found += [f"--shape={name}={shapes}" for name, shapes in self.shapes.items()]
        for name, value in (
            ("workspace", self.workspace), ("optimization-level", self.optimization_level),
            ("hardware", None if self.hardware == "this" else self.hardware), ("dla", self.dla),
        ):  # fmt: skip
            found += [] if value is None else [f"--{name}={value}"]
        for name in ("tf32", "version_compatible", "refit", "strip"):
            found += [f"--{name.replace('_', '-')}"] if getattr(self, name) else []
        return tuple(found)


@dataclass(frozen=True)
class BuildPlan:
    """One engine to be built: `print(plan)` tells what it will be.

    profile    for each input its Range; empty where every size is fixed
    student    the description in the ONNX file's sidecar, None for a file of others
    precision  what the graph computes in: "fp32", "fp16", "int8"
    """

    onnx: Path
    onnx_sha256: str
    output: Path
    options: BuildOptions
    inputs: Mapping[str, Shape]
    profile: Mapping[str, Range]
    student: Mapping[str, Any] | None
    precision: str

    def key(self, tensorrt: str, gpu: str, capability: tuple[int, int]) -> str:
        """A SHA-256 of all that decides what is built: ONNX file, options, TensorRT and GPU."""
        decides = {
            "onnx": self.onnx_sha256,
            "options": asdict(self.options),
            "profile": {name: str(shapes) for name, shapes in self.profile.items()},
            "tensorrt": tensorrt,
            "gpu": gpu,
            "capability": capability,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        options = self.options
        name = self.student["name"] if self.student else "no description beside it"
        lines = [
            ("ONNX", f"{self.onnx} ({name}, SHA-256 {self.onnx_sha256[:12]})"),
            ("engine", f"{self.output} and {self.output.name}.json"),
            ("precision", f"{self.precision}, by the types in the graph{', TF32 for FP32' * options.tf32}"),
        ]
        for tensor, shape in self.inputs.items():
            fixed = "x".join(str(side or "?") for side in shape)
            lines.append(("input", f"{tensor} {self.profile.get(tensor, fixed)}"))
        lines += [
            ("workspace", "all GPU memory" if options.workspace is None else f"{options.workspace:g} GiB"),
            ("optimization", _level(options)),
            ("runs on", _where(options)),
            ("weights", _weights(options)),
        ]
        return "\n".join(f"{what:<13}{text}" for what, text in lines)


def plan_build(
    onnx: str | Path, output: str | Path | None = None, options: BuildOptions | None = None
) -> BuildPlan:
    """Decide what to build from an ONNX file; nothing is written.

    output  the engine; None puts student.engine beside student.onnx

    Raises ArtefactError for a file that is missing, damaged or not the one its sidecar describes;
    WholebodyError for options that the file cannot have, and for an output that is not named like an engine.
    """
    onnx, options = Path(onnx), options or BuildOptions()
    output = Path(output) if output else engine_beside(onnx)
    if not is_engine(output):
        raise WholebodyError(f"{output}: name the engine *.engine")
    file = read_onnx(onnx)
    student = read_artefact(onnx).spec.to_dict() if is_exported(onnx) else None
    precision = str(student["precision"]) if student else file.precision
    if options.dla is not None and precision == "fp32":
        raise WholebodyError(f"a DLA computes in fp16 and int8, {onnx.name} is fp32: quantize it first")
    profile = _profile(file.inputs, options)
    return BuildPlan(onnx, file.sha256, output, options, file.inputs, profile, student, precision)


def parse_batch(text: str) -> tuple[int, int, int]:
    """(1, 4, 16) of "1:4:16"; "8" is 8:8:8. Raises WholebodyError for anything else."""
    found = re.fullmatch(r"(\d+)(?::(\d+):(\d+))?", text)
    if not found:
        raise WholebodyError(f"the batch is {text!r}; write smallest:typical:largest, as in 1:4:16, or 8")
    first, *rest = found.groups()
    smallest, typical, largest = (int(first), int(rest[0] or first), int(rest[1] or first))
    Range((smallest,), (typical,), (largest,))
    return smallest, typical, largest


def parse_shape(text: str) -> tuple[str, Range]:
    """A name and a Range of "image=1x3x256x192:4x3x256x192:16x3x256x192"; WholebodyError for others."""
    name, _, shapes = text.rpartition("=")
    parts = shapes.split(":") if re.fullmatch(r"\d+(x\d+)*(:\d+(x\d+)*){2}", shapes) else []
    fixed = [tuple(map(int, part.split("x"))) for part in parts]
    if not name or len({len(shape) for shape in fixed}) != 1:
        raise WholebodyError(
            f"the shape is {text!r}; write it as in image=1x3x256x192:4x3x256x192:16x3x256x192"
        )
    return name, Range(*fixed)


_READ: Mapping[str, Callable[[str], Any]] = {
    "batch": parse_batch, "workspace": float, "optimization-level": int, "hardware": str, "dla": int,
    **dict.fromkeys(("tf32", "version-compatible", "refit", "strip"), lambda _: True),
}  # fmt: skip


def _profile(inputs: Mapping[str, Shape], options: BuildOptions) -> dict[str, Range]:
    """A Range for every input, where any has an open size."""
    unknown = sorted(set(options.shapes) - set(inputs))
    if unknown:
        raise WholebodyError(f"there is no input {', '.join(unknown)}; allowed are {', '.join(inputs)}")
    if not any(None in shape for shape in inputs.values()):
        if options.batch not in (None, (1, 1, 1)) or options.shapes:
            raise WholebodyError(
                "every size in this ONNX file is fixed: leave out --batch and --shape, or export it with an "
                "open batch"
            )
        return {}
    return {name: _range(name, shape, options) for name, shape in inputs.items()}


def _range(name: str, shape: Shape, options: BuildOptions) -> Range:
    if name in options.shapes:
        asked = options.shapes[name]
        if not all(_fits(shape, side) for side in (asked.smallest, asked.typical, asked.largest)):
            given = "x".join(str(side or "?") for side in shape)
            raise WholebodyError(f"the shape {asked} does not fit the input {name}, which is {given}")
        return asked
    if None in shape[1:]:
        raise WholebodyError(
            f"the input {name} leaves more than its batch open: say --shape {name}=SMALLEST:TYPICAL:LARGEST"
        )
    batch = options.batch or DEFAULT_BATCH
    low, middle, high = (_with_batch(shape, size) for size in batch)
    return Range(low, middle, high)


def _with_batch(shape: Shape, size: int) -> Fixed:
    return tuple(size if side is None else side for side in shape)


def _fits(shape: Shape, fixed: Fixed) -> bool:
    return len(shape) == len(fixed) and all(a in (None, b) for a, b in zip(shape, fixed, strict=True))


def _level(options: BuildOptions) -> str:
    level = options.optimization_level
    return "level 3, TensorRT's own choice" if level is None else f"level {level}"


def _where(options: BuildOptions) -> str:
    hardware = {
        "this": "this model of GPU",
        "same-capability": "GPUs of this compute capability",
        "ampere+": "GPUs of compute capability 8.0 and newer",
    }[options.hardware]
    device = f"DLA core {options.dla}, else " if options.dla is not None else ""
    versions = "and newer versions" if options.version_compatible else "only"
    return f"{device}{hardware}, this version of TensorRT {versions}"


def _weights(options: BuildOptions) -> str:
    if options.strip:
        return "none: they are taken from the ONNX file beside the engine"
    return "in the engine, exchangeable" if options.refit else "in the engine"


def _allow(name: str, got: object, ok: bool, allowed: str) -> None:
    if not ok:
        raise WholebodyError(f"the {name} is {got}; allowed is {allowed}")
