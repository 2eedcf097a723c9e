"""A TensorRT engine and its sidecar: write, read, refuse.

`student.engine.json` lies beside `student.engine` and tells all that decides whether the engine may run
here: its SHA-256, that of the ONNX file it was built from, the version of TensorRT, the GPU, the shapes, and
the description of the student, so that the engine can travel without the ONNX file.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wholebody.runtime.backends.trt_versions import may_run
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.spec.fields import check, entry
from wholebody.runtime.whole import locked, whole

__all__ = [
    "HARDWARE", "SUFFIXES", "Plan", "engine_beside", "is_engine", "plan_sidecar", "read_plan", "read_sidecar",
    "write_plan",
]  # fmt: skip

FORMAT = 1
SUFFIXES = (".engine", ".plan", ".trt")
HARDWARE = ("this", "same-capability", "ampere+")


@dataclass(frozen=True)
class Plan:
    """What the sidecar of an engine says.

    sha256               of the engine
    onnx, onnx_sha256    the name and SHA-256 of the file that it was built from
    tensorrt             the version that built it
    gpu, capability      the GPU that it was built on: "NVIDIA H200", (9, 0)
    hardware             where it may run: "this" model of GPU, "same-capability", "ampere+" (8.0 and up)
    version_compatible   whether newer versions of TensorRT may run it
    stripped             built without weights, which are put back from the ONNX file beside it
    flags                of `wholebody build`, besides the files
    key                  SHA-256 of all that decides what is built: two builds of one key are the same
    profile              for each input its smallest, typical and largest shape
    layers               how many, how many in each precision, and on which a DLA gave up
    student              the description of the student, as in the ONNX file's sidecar; None without one
    """

    sha256: str
    onnx: str
    onnx_sha256: str
    tensorrt: str
    gpu: str
    capability: tuple[int, int]
    hardware: str
    version_compatible: bool
    stripped: bool
    flags: tuple[str, ...]
    key: str
    profile: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Any] = field(default_factory=dict)
    student: Mapping[str, Any] | None = None

    @classmethod
    def from_dict(cls, data: Any) -> Plan:
        """Raises ArtefactError naming the first entry that is missing or wrong."""
        version = entry(data, "format", int)
        check(version == FORMAT, "format", version, f"{FORMAT}, so update wholebody or build again")
        names = ("sha256", "onnx", "onnx_sha256", "tensorrt", "gpu", "hardware", "key")
        texts = {name: entry(data, name, str) for name in names}
        check(texts["hardware"] in HARDWARE, "hardware", texts["hardware"], ", ".join(HARDWARE))
        student = data.get("student")
        return cls(
            **texts,
            capability=_pair(entry(data, "capability", list)),
            version_compatible=entry(data, "version_compatible", bool),
            stripped=entry(data, "stripped", bool),
            flags=tuple(str(flag) for flag in entry(data, "flags", list)),
            profile=dict(entry(data, "profile", dict)),
            layers=dict(entry(data, "layers", dict)),
            student=None if student is None else dict(entry(data, "student", dict)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object `from_dict` reads."""
        return {"format": FORMAT, **asdict(self)}

    def refusal(self, *, tensorrt: str, gpu: str, capability: Sequence[int]) -> str | None:
        """Why it must not run with this TensorRT on this GPU; None where it may."""
        here = f"this is {gpu}, TensorRT {tensorrt}"
        if not may_run(self.tensorrt, tensorrt, version_compatible=self.version_compatible):
            return f"built with TensorRT {self.tensorrt} on {self.gpu}; {here}"
        if not self._fits(gpu, tuple(capability)):
            return f"built on {self.gpu} (sm_{_digits(self.capability)}) for {self._where()}; {here}"
        return None

    def rebuild(self, engine: Path) -> str:
        """The command that builds it again."""
        onnx = engine.with_name(self.onnx)
        return shlex.join(
            ["wholebody", "build", str(onnx), "--output", str(engine), *self.flags, "--rebuild"]
        )

    def _fits(self, gpu: str, capability: tuple[int, ...]) -> bool:
        if self.hardware == "ampere+":
            return capability >= (8, 0)
        return capability == self.capability and (self.hardware == "same-capability" or gpu == self.gpu)

    def _where(self) -> str:
        capability = f"GPUs of sm_{_digits(self.capability)}"
        return {"this": "that GPU only", "same-capability": capability}.get(self.hardware, "sm_80 and newer")


def is_engine(path: str | Path) -> bool:
    """Whether a file is an engine, by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def engine_beside(onnx: str | Path) -> Path:
    """`student.engine` beside `student.onnx`."""
    return Path(onnx).with_suffix(".engine")


def plan_sidecar(engine: str | Path) -> Path:
    """`student.engine.json` beside `student.engine`; `student.json` is the ONNX file's."""
    return Path(f"{engine}.json")


def write_plan(engine: str | Path, data: bytes | memoryview, plan: Plan) -> None:
    """Write an engine and its sidecar; each appears under its name only when whole, and both of one build.

    Raises ArtefactError where the folder cannot be written to.
    """
    engine, sidecar = Path(engine), plan_sidecar(engine)
    text = json.dumps(plan.to_dict(), indent=2, allow_nan=False) + "\n"
    try:
        with locked(engine.parent), whole(engine) as partial, whole(sidecar) as described:
            partial.write_bytes(data)
            described.write_text(text, "utf-8")
    except OSError as error:
        raise ArtefactError(f"{engine}: the engine cannot be written there ({error.strerror})") from None


def read_plan(engine: str | Path) -> tuple[Plan, bytes]:
    """An engine's sidecar and its bytes, of which nothing was executed.

    Raises ArtefactError where either is missing, cut short or changed, or where the ONNX file beside it is
    not the one it was built from.
    """
    engine = Path(engine)
    data = _bytes(engine)
    plan = read_sidecar(engine)
    if hashlib.sha256(data).hexdigest() != plan.sha256:
        raise ArtefactError(
            f"{engine} is cut short or changed ({len(data)} bytes, not those its sidecar tells of): copy it "
            f"again, or build it again with `{plan.rebuild(engine)}`"
        )
    onnx = engine.with_name(plan.onnx)
    if onnx.is_file() and hashlib.sha256(onnx.read_bytes()).hexdigest() != plan.onnx_sha256:
        raise ArtefactError(
            f"{engine} was built from another {onnx.name} than the one beside it: `{plan.rebuild(engine)}`"
        )
    return plan, data


def _bytes(engine: Path) -> bytes:
    try:
        return engine.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(f"{engine}: no such engine; `wholebody build student.onnx` makes one") from None
    except OSError as error:
        raise ArtefactError(f"{engine}: cannot be read ({error.strerror}); name an engine") from None


def read_sidecar(engine: str | Path) -> Plan:
    """What an engine's sidecar says, whatever became of the engine.

    Raises ArtefactError where it is missing or damaged.
    """
    sidecar = plan_sidecar(engine)
    try:
        return Plan.from_dict(json.loads(sidecar.read_text("utf-8")))
    except FileNotFoundError:
        raise ArtefactError(
            f"{engine} has no {sidecar.name} beside it, so nothing tells where it may run: copy both files, "
            "or build it again with `wholebody build`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{sidecar}: not a JSON file ({error}): copy it or build again") from None
    except ArtefactError as error:
        raise ArtefactError(f"{sidecar}: {error}") from None


def _pair(numbers: list[Any]) -> tuple[int, int]:
    ok = len(numbers) == 2 and all(type(n) is int for n in numbers)
    check(ok, "capability", numbers, "two whole numbers")
    return numbers[0], numbers[1]


def _digits(capability: Sequence[int]) -> str:
    return "".join(map(str, capability))
