"""Who is timed: network files, each on the backends that can run it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.plan import SUFFIXES, is_engine, read_sidecar
from wholebody.runtime.published import describe_student
from wholebody.runtime.spec import AnySpec, DetectorSpec, StudentSpec, TopDownSpec, spec_from_dict

__all__ = ["Contender", "Network", "base_of", "check_backends", "line_up", "read_network", "sha256_of"]

Kind = Literal["onnx", "engine", "checkpoint"]
Spec = StudentSpec | TopDownSpec

CHECKPOINTS = (".pth", ".pt", ".tgz", ".safetensors")
ALLOWED = (
    "auto, onnxruntime, onnxruntime:PROVIDER, tensorrt, tensorrt:GPU, pytorch, pytorch:cuda, torch.compile, "
    "torch.compile:cuda"
)
RUNNERS: dict[Kind, tuple[str, ...]] = {  # the first one unless told
    "onnx": ("auto", "onnxruntime", "tensorrt"),
    "engine": ("tensorrt", "auto"),
    "checkpoint": ("pytorch", "torch.compile"),
}


@dataclass(frozen=True, eq=False)
class Network:
    """A file that holds a student.

    proposals   boxes that a DOPE student looks into; None for others
    """

    path: Path
    kind: Kind
    spec: Spec
    sha256: str
    proposals: int | None = None


@dataclass(frozen=True)
class Contender:
    """A network on a backend, which is as the user named it.

    slowed   share of a frame's time that is added to it, for finding out whether that is seen
    """

    network: Network
    backend: str
    slowed: float = 0.0

    @property
    def title(self) -> str:
        """For a line that tells of it."""
        return f"{self.network.path.name} on {self.backend}"


def check_backends(names: Iterable[str]) -> None:
    """Raises BackendError for a name that no backend has."""
    known = {runner for runners in RUNNERS.values() for runner in runners}
    for name in names:
        kind, colon, which = name.partition(":")
        allowed = kind in known and (not colon or (which and kind != "auto"))
        if kind == "tensorrt" and colon:
            allowed = which.isdecimal()
        if kind in RUNNERS["checkpoint"] and colon:
            allowed = which == "cuda" or (which.startswith("cuda:") and which[5:].isdecimal())
        if not allowed:
            raise BackendError(f"unknown backend {name!r}; allowed are {ALLOWED}")


def sha256_of(path: Path) -> str:
    """Of a file's bytes. Raises ArtefactError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def read_network(
    path: Path, students: Iterable[Network], describe: Callable[[Path], tuple[Spec, int | None]]
) -> Network:
    """What a file is, by its own account.

    students   those read before; a checkpoint that one of them came from runs as that one does: the same
               input, as many proposals
    describe   tells of any other checkpoint, for which PyTorch is needed

    Raises ArtefactError for a file that is no student, or described by nothing.
    """
    if is_engine(path):
        plan = read_sidecar(path)
        spec = spec_from_dict(plan.student) if plan.student else describe_student(path.with_name(plan.onnx))
        return Network(path, "engine", _student(spec, path), plan.sha256)
    if path.suffix.lower() == ".onnx":
        return _onnx(path)
    if path.suffix.lower() not in CHECKPOINTS:
        raise ArtefactError(
            f"{path} is no network known here; allowed are .onnx, engines ({', '.join(SUFFIXES)}) and "
            f"checkpoints ({', '.join(CHECKPOINTS)})"
        )
    sha256 = sha256_of(path)
    for student in students:
        if student.spec.weights.sha256 == sha256:
            spec = replace(student.spec, precision="fp32", certificate=None)
            return Network(path, "checkpoint", spec, sha256, student.proposals)
    return Network(path, "checkpoint", *_described(describe(path), sha256))


def _described(found: tuple[Spec, int | None], sha256: str) -> tuple[Spec, str, int | None]:
    return found[0], sha256, found[1]


def _onnx(path: Path) -> Network:
    onnx = read_onnx(path)
    spec = read_artefact(path).spec if is_exported(path) else describe_student(path)
    boxes = onnx.outputs.get("boxes")
    proposals = boxes[0] if boxes and isinstance(spec, StudentSpec) else None
    return Network(path, "onnx", _student(spec, path), onnx.sha256, proposals)


def _student(spec: AnySpec, path: Path) -> Spec:
    if isinstance(spec, DetectorSpec):
        raise ArtefactError(
            f"{path} is a detector, {spec.name}: name a student, and the detector as --detector"
        )
    return spec


def line_up(networks: Sequence[Network], backends: Sequence[str]) -> list[Contender]:
    """Every network on each of the backends that can run such a file, or on the usual one where none can.

    Raises BackendError for a backend that no network can run on.
    """
    found: list[Contender] = []
    backends = list(dict.fromkeys(backends))
    for network in networks:
        able = [name for name in backends if _runs(name, network)] or [RUNNERS[network.kind][0]]
        found += [Contender(network, name) for name in able]
    for name in backends:
        if not any(contender.backend == name for contender in found):
            kinds = [kind for kind in RUNNERS if name.partition(":")[0] in RUNNERS[kind]]
            raise BackendError(
                f"{name} runs a file of kind {' or '.join(kinds)}, and none is given: name one too"
            )
    return found


def _runs(backend: str, network: Network) -> bool:
    return backend.partition(":")[0] in RUNNERS[network.kind]


def base_of(contender: Contender, among: Sequence[Contender], against: Path | None) -> Contender | None:
    """Whom it is compared with: `against`; else PyTorch with the checkpoint it came from; else the first one.

    None for whoever is the measure of the others.
    """
    weights = contender.network.spec.weights.sha256
    if against is not None:
        bases = [other for other in among if other.network.path == against]
    else:
        bases = [
            other
            for other in among
            if other.backend.startswith("pytorch") and other.network.spec.weights.sha256 == weights
        ] or list(among[:1])
    if not bases or contender == bases[0]:
        return None
    return bases[0]
