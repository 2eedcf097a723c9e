"""What every export does around its graph: check the path, choose pictures, write, judge."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

from onnx import ModelProto

from wholebody import __version__
from wholebody.export.noise import noise_pictures
from wholebody.export.onnx_graph import OPSET
from wholebody.runtime.artefact import onnx_metadata
from wholebody.runtime.errors import ArtefactError, DriftError, WholebodyError
from wholebody.runtime.media import Frame, open_source
from wholebody.runtime.spec import AnySpec

__all__ = ["Judged", "checked_output", "pictures_of", "require_budget", "save", "versions"]

LIBRARIES = ("torch", "onnx", "onnxscript", "onnxslim")


class Judged(Protocol):
    """A certificate of any family."""

    def failures(self) -> list[str]: ...


def checked_output(output: Path) -> Path:
    """Raises WholebodyError, before any work, where an ONNX file cannot have this path."""
    if output.suffix != ".onnx":
        raise WholebodyError(f"cannot export to {output}: its name must end in .onnx")
    if not output.parent.is_dir():
        raise WholebodyError(f"cannot export to {output}: {output.parent} is no folder; make it first")
    if output.is_dir():
        raise WholebodyError(f"cannot export to {output}: it is a folder; choose another name")
    try:
        with TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise WholebodyError(f"cannot export to {output}: {error.strerror}; choose another folder") from None
    return output


def versions() -> dict[str, str]:
    """Of the exporter and of its libraries."""
    return {
        "wholebody": __version__,
        "opset": str(OPSET),
        **{library: metadata.version(library) for library in LIBRARIES},
    }


def pictures_of(images: str | Path | Iterable[Frame] | None, height: int, width: int) -> Iterable[Frame]:
    """The frames of a folder, picture or video, or those given; None makes `noise_pictures`."""
    if images is None:
        return noise_pictures(height, width)
    return open_source(images).frames() if isinstance(images, (str, Path)) else images


def save(model: ModelProto, spec: AnySpec, path: Path) -> None:
    """Write a graph with its description inside. Raises ArtefactError where the folder does not take it."""
    for key, value in onnx_metadata(spec).items():
        model.metadata_props.add(key=key, value=value)
    try:
        path.write_bytes(model.SerializeToString())
    except OSError as error:
        raise ArtefactError(
            f"{path.parent}: the student cannot be written there ({error.strerror})"
        ) from error


def require_budget(certificate: Judged, force: bool) -> None:
    """Raises DriftError, with all that is over budget, where there is such and nobody forces it."""
    if (failures := certificate.failures()) and not force:
        raise DriftError(
            f"not written, for it drifts from PyTorch: {'; '.join(failures)}; "
            "raise the budget, or write it with --force"
        )
