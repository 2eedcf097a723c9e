"""An exported student and its sidecar: write, read, refuse.

`student.onnx` carries its description as JSON in the metadata entry "wholebody"; `student.json` beside it
repeats that description, adds the SHA-256 of the ONNX file and, once measured, the certificate. The runtime
runs only a pair that belongs together: without its sidecar a student is refused, because nothing tells that
it is whole and was verified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import OnnxFile, Shape, describe, read_onnx
from wholebody.runtime.spec import AnySpec, spec_from_dict
from wholebody.runtime.whole import whole

__all__ = [
    "METADATA_KEY",
    "Artefact",
    "is_exported",
    "onnx_metadata",
    "read_artefact",
    "sidecar_path",
    "write_artefact",
]

METADATA_KEY = "wholebody"


@dataclass(frozen=True)
class Artefact:
    """A student or detector that may be run: the ONNX file, its SHA-256 and what it is."""

    path: Path
    sha256: str
    spec: AnySpec


def sidecar_path(path: str | Path) -> Path:
    """`student.json` beside `student.onnx`."""
    return Path(path).with_suffix(".json")


def onnx_metadata(spec: AnySpec) -> dict[str, str]:
    """The entry an exporter puts into the ONNX file's `metadata_props` before it calls `write_artefact`."""
    return {METADATA_KEY: json.dumps(spec.to_dict())}


def is_exported(path: str | Path) -> bool:
    """Whether wholebody exported this ONNX file; others are read by `wholebody.runtime.published`.

    Raises ArtefactError where it is missing, no ONNX file or cut short.
    """
    return METADATA_KEY in read_onnx(Path(path)).metadata


def read_artefact(path: str | Path) -> Artefact:
    """The student in this ONNX file, checked against its sidecar.

    Raises ArtefactError where the file is missing, no ONNX file, cut short or another network, or where the
    sidecar is missing, malformed, that of another file or at odds with the description inside the ONNX file.
    """
    path = Path(path)
    onnx = read_onnx(path)
    inside = _described(path, onnx)
    sidecar = sidecar_path(path)
    entries = _entries(sidecar, path)
    if entries.get("sha256") != onnx.sha256:
        raise ArtefactError(
            f"{sidecar} belongs to another file (SHA-256 {str(entries.get('sha256'))[:12]}; {path.name} has "
            f"{onnx.sha256[:12]}): copy both files together, or export again"
        )
    spec = _spec(sidecar, entries)
    _agree(path, inside, spec)
    return Artefact(path, onnx.sha256, spec)


def write_artefact(path: str | Path, spec: AnySpec) -> Artefact:
    """Write the sidecar of an exported ONNX file; it appears under its name only when whole.

    Raises ArtefactError where the ONNX file is missing or cut short, is not the network that `spec`
    describes, or holds another description.
    """
    path = Path(path)
    onnx = read_onnx(path)
    _agree(path, _described(path, onnx), spec)
    text = json.dumps({**spec.to_dict(), "sha256": onnx.sha256}, indent=2, allow_nan=False) + "\n"
    _write_whole(sidecar_path(path), text)
    return Artefact(path, onnx.sha256, spec)


def _described(path: Path, onnx: OnnxFile) -> AnySpec:
    """The description inside the ONNX file, which its inputs and outputs must bear out."""
    if METADATA_KEY not in onnx.metadata:
        raise ArtefactError(
            f"{path} is not a student of wholebody ({onnx}): use `wholebody export` to make one"
        )
    spec = _spec(path, _json(path, onnx.metadata[METADATA_KEY]))
    for wanted, found in ((spec.inputs, onnx.inputs), (spec.outputs, onnx.outputs)):
        for name, shape in wanted.items():
            if name not in found or not _fits(found[name], shape):
                raise ArtefactError(
                    f"{path} says it is {spec.name} but lacks {describe({name: shape})} ({onnx}): "
                    "export it again"
                )
    return spec


def _fits(found: Shape, wanted: Shape) -> bool:
    """A size that the file leaves open is no contradiction."""
    return len(found) == len(wanted) and all(
        None in (f, w) or f == w for f, w in zip(found, wanted, strict=True)
    )


def _entries(sidecar: Path, path: Path) -> dict[str, Any]:
    try:
        return _json(sidecar, sidecar.read_text("utf-8"))
    except FileNotFoundError:
        raise ArtefactError(
            f"{path} is unverified, for {sidecar.name} is not beside it: copy both files, or export again"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{sidecar}: cannot be read ({error}): copy it or export again") from None


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        raise ArtefactError(f"{path}: its description is not a JSON object: copy it or export again")
    return entries


def _spec(path: Path, entries: dict[str, Any]) -> AnySpec:
    try:
        return spec_from_dict(entries)
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error}") from None


def _agree(path: Path, inside: AnySpec, beside: AnySpec) -> None:
    """Only the certificate may differ: it is measured after the file is written."""
    ours, theirs = (json.loads(onnx_metadata(spec)[METADATA_KEY]) for spec in (inside, beside))
    differing = [name for name in ours if name != "certificate" and ours[name] != theirs[name]]
    if differing:
        raise ArtefactError(f"{path} and its sidecar disagree on {', '.join(differing)}: export again")


def _write_whole(path: Path, text: str) -> None:
    try:
        with whole(path) as partial:
            partial.write_text(text, "utf-8")
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be written ({error.strerror})") from None
