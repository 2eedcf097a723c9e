"""Checkpoints that no student at hand came from, and students of other numbers of proposals."""

from __future__ import annotations

from pathlib import Path

from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.onnx import _describe as describe_dope
from wholebody.export.onnx import default_input_size, export_dope
from wholebody.export.onnx_dwpose import _describe as describe_top_down
from wholebody.runtime.spec import StudentSpec, TopDownSpec

__all__ = ["describe", "export"]


def describe(path: Path) -> tuple[StudentSpec | TopDownSpec, int | None]:
    """The student that `wholebody export` would make of it, and how many proposals it looks into."""
    checkpoint = load_checkpoint(path)
    if isinstance(checkpoint, DopeCheckpoint):
        config = checkpoint.config
        spec = describe_dope(checkpoint, *default_input_size(config))
        return spec, min(config.proposals, config.candidates)
    return describe_top_down(checkpoint), None


def export(path: Path, output: Path, size: tuple[int, int], proposals: int) -> None:
    """A DOPE checkpoint as ONNX, whatever its drift: it is made to be timed."""
    checkpoint = load_checkpoint(path, DopeCheckpoint)
    export_dope(checkpoint, output, input_size=size, proposals=proposals, force=True)
