"""The errors a user can cause.

    WholebodyError          any of them; the command line prints it in one line and exits with 2
    |-- SourceError         a picture, video or folder that cannot be read, or an output not written
    |-- CheckpointError     a training checkpoint that is not what it should be
    |-- ArtefactError       an ONNX file or engine, or its sidecar, that is missing, foreign or changed
    |-- BackendError        a backend that was asked for and is not there, or that failed
    `-- DriftError          an exported student that differs from PyTorch by more than its budget

Every message says what was wrong, what was got, what is allowed and what to do next, in one line.
"""

from __future__ import annotations

__all__ = ["ArtefactError", "BackendError", "CheckpointError", "DriftError", "SourceError", "WholebodyError"]


class WholebodyError(Exception):
    """Something the user can mend; its text is one line."""


class SourceError(WholebodyError):
    """A picture, video or folder that cannot be read, or an output that cannot be written."""


class CheckpointError(WholebodyError):
    """A training checkpoint that is not what it should be."""


class ArtefactError(WholebodyError):
    """An ONNX file, engine or sidecar that is missing, foreign or changed."""


class BackendError(WholebodyError):
    """A backend that was asked for and is not available, or that failed."""


class DriftError(WholebodyError):
    """An exported student that differs from its PyTorch reference by more than its budget."""
