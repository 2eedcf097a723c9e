"""From a distilled whole-body pose student's checkpoint to a verified engine, and to people in a picture.

    import wholebody

    pose = wholebody.load("student.onnx")
    people = pose(image_bgr)

Names are imported when first used, so that `import wholebody` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wholebody.runtime.errors import (
        ArtefactError,
        BackendError,
        CheckpointError,
        DriftError,
        SourceError,
        WholebodyError,
    )
    from wholebody.runtime.loading import load
    from wholebody.runtime.people import People
    from wholebody.runtime.pipelines.dope import DopePose
    from wholebody.runtime.pipelines.top_down import TopDownPose
    from wholebody.runtime.skeletons import SKELETONS, Skeleton

__version__ = "0.1.0"

__all__ = [
    "SKELETONS",
    "ArtefactError",
    "BackendError",
    "CheckpointError",
    "DopePose",
    "DriftError",
    "People",
    "Skeleton",
    "SourceError",
    "TopDownPose",
    "WholebodyError",
    "__version__",
    "load",
]

_HOMES = {
    "runtime.errors": (
        "ArtefactError", "BackendError", "CheckpointError", "DriftError", "SourceError", "WholebodyError",
    ),
    "runtime.loading": ("load",),
    "runtime.people": ("People",),
    "runtime.pipelines.dope": ("DopePose",),
    "runtime.pipelines.top_down": ("TopDownPose",),
    "runtime.skeletons": ("SKELETONS", "Skeleton"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"wholebody.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'wholebody' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
