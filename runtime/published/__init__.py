"""ONNX files of others as they are: what they are is told by their shapes, by options and by a sidecar.

Nothing tells whether such a file is right: its `certificate` is None and `verified` says no.
"""

from __future__ import annotations

from wholebody.runtime.published.detector import describe_detector
from wholebody.runtime.published.said import sidecar_says
from wholebody.runtime.published.student import describe_student

__all__ = ["describe_detector", "describe_student", "sidecar_says"]
