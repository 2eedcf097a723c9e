"""Training checkpoints in, networks out, matched key by key: which family a file is, its content tells.

DOPE             a PyTorch file with `dope_kwargs`               `DopeCheckpoint`
RTMPose, DWPose  a PyTorch file of OpenMMLab's or a distiller's  `RtmPoseCheckpoint`
our students     a safetensors file                              either
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

from wholebody.export.dope_checkpoint import (
    DopeCheckpoint,
    dope_from_student,
    dope_from_torch,
    load_dope_checkpoint,
)
from wholebody.export.openmmlab import (
    RtmPoseCheckpoint,
    is_openmmlab,
    load_openmmlab,
    rtmpose_from_student,
    rtmpose_from_torch,
)
from wholebody.export.origin import origin_notes
from wholebody.export.student_file import read_student
from wholebody.export.students.dope import DopeConfig
from wholebody.export.tensors import some
from wholebody.export.torch_file import read_torch_file, require_file
from wholebody.runtime.errors import CheckpointError

__all__ = [
    "AnyCheckpoint",
    "DopeCheckpoint",
    "RtmPoseCheckpoint",
    "load_checkpoint",
    "load_dope_checkpoint",
    "load_openmmlab",
]

AnyCheckpoint = DopeCheckpoint | RtmPoseCheckpoint
Kind = TypeVar("Kind", bound=AnyCheckpoint)
NAMES: dict[type, str] = {DopeCheckpoint: "DOPE", RtmPoseCheckpoint: "RTMPose or DWPose"}


@overload
def load_checkpoint(path: str | Path, *, fold: bool = True) -> AnyCheckpoint: ...


@overload
def load_checkpoint(path: str | Path, kind: type[Kind], *, fold: bool = True) -> Kind: ...


def load_checkpoint(
    path: str | Path,
    kind: type[Any] | None = None,
    *,
    fold: bool = True,
) -> AnyCheckpoint:
    """Read a checkpoint of any family and layout, told apart by its content.

    kind: the family it must be. fold: write the BatchNorm into the convolutions. Its notes hold the name and
    licence under which `wholebody fetch` found it. Raises CheckpointError for a file of another family, or of
    none, and for one whose tensors are not its network's, each named.
    """
    path = Path(path)
    require_file(path)
    checkpoint = _student(path, fold) if _is_safetensors(path) else _torch(path, fold)
    if kind is not None and not isinstance(checkpoint, kind):
        raise CheckpointError(
            f"{path}: this is {NAMES[type(checkpoint)]}, not {NAMES[kind]}: give one of that family"
        )
    notes = {**origin_notes(path, checkpoint.sha256), **checkpoint.notes}
    return replace(checkpoint, notes=notes)


def _is_safetensors(path: Path) -> bool:
    """Eight bytes of length, then a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _student(path: Path, fold: bool) -> AnyCheckpoint:
    student = read_student(path)
    if isinstance(student.config, DopeConfig):
        return dope_from_student(student, student.config, path, fold=fold)
    return rtmpose_from_student(student, student.config, path, fold=fold)


def _torch(path: Path, fold: bool) -> AnyCheckpoint:
    content = read_torch_file(path)
    if "dope_kwargs" in content:
        return dope_from_torch(content, path, fold=fold)
    if is_openmmlab(content):
        return rtmpose_from_torch(content, path, fold=fold)
    raise CheckpointError(
        f"{path}: a checkpoint of no family known here: neither 'dope_kwargs' nor 'head.cls_x.weight' is in "
        f"it, which DOPE and RTMPose have (it has {some(content)}); give another file"
    )
