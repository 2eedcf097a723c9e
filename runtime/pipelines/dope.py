"""One picture through a DOPE student: every person with body, hands and face, in 2D and 3D (ECCV 2020)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from wholebody.runtime.backends.backend import Array, Backend
from wholebody.runtime.geometry import Letterbox, Pixels, Preprocessor, letterbox
from wholebody.runtime.kernels.pose_nms import pose_nms
from wholebody.runtime.kernels.ppi import PpiOptions, integrate
from wholebody.runtime.kernels.proposals import PARTS, Detections, Part, select_best_class, select_candidates
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.assemble import assemble
from wholebody.runtime.spec import StudentSpec

__all__ = ["DopePose", "GroupBy", "Selection"]

Selection = Literal["ppi", "nms"]
GroupBy = Literal["rpn", "pose"]


class DopePose:
    """`people = pose(image_bgr)`.

    backend    the loaded student, with the inputs and outputs of an exported DOPE student
    selection  "ppi" merges the proposals of a person (the published way), "nms" keeps the best one
    group_by   the boxes by which "ppi" tells people apart: "rpn", the proposals (as published), or "pose",
               the extents of the poses
    metadata   entries that every answer carries besides its own

    Every answer's metadata holds `backend`, its name, and `times_ms`: preprocess, network and postprocess.
    One DopePose serves several threads at once where its backend does. Raises ValueError for an unknown
    selection or group_by, CheckpointError for options of pose-proposal integration that are not allowed.
    """

    def __init__(
        self,
        backend: Backend,
        spec: StudentSpec,
        *,
        selection: Selection = "ppi",
        group_by: GroupBy = "rpn",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        _allow("selection", selection, get_args(Selection))
        _allow("group_by", group_by, get_args(GroupBy))
        self.backend = backend
        self.spec = spec
        self.selection: Selection = selection
        self._preprocess = Preprocessor(spec.input)
        self._ppi = {
            part: replace(PpiOptions.from_dict(spec.parts[part].ppi), group_by=group_by) for part in PARTS
        }
        self._metadata = {"backend": backend.name, **(metadata or {})}

    def __call__(self, image_bgr: Pixels) -> People:
        """Find everyone in a picture: (H, W, 3) uint8 in OpenCV's order of blue, green, red.

        Raises ValueError for another shape or dtype, BackendError where the backend fails.
        """
        _check_picture(image_bgr)
        began = time.perf_counter()
        box = letterbox(image_bgr.shape[:2], self.spec.input)
        inputs = {
            "image": self._preprocess(image_bgr, box),
            "size": np.array(box.size, np.float32),
        }
        ready = time.perf_counter()
        outputs = self._run(inputs)
        answered = time.perf_counter()
        body, hand, face = (self._detect(part, outputs, box) for part in PARTS)
        people = assemble(body, hand, face, box.source)
        done = time.perf_counter()
        times = {"preprocess": ready - began, "network": answered - ready, "postprocess": done - answered}
        return people.with_metadata(**self._metadata, times_ms={stage: s * 1e3 for stage, s in times.items()})

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        answer = self.backend(*(inputs[spec.name] for spec in self.backend.inputs))
        return {spec.name: array for spec, array in zip(self.backend.outputs, answer, strict=True)}

    def _detect(self, part: Part, outputs: Mapping[str, Array], box: Letterbox) -> Detections:
        """One part's detections in pixels of the source picture."""
        names = (f"{part}_scores", "boxes", f"{part}_pose2d", f"{part}_pose3d")
        scores, boxes, pose2d, pose3d = (outputs[name] for name in names)
        options = self._ppi[part]
        if self.selection == "nms":
            best = select_best_class(scores, boxes, pose2d, pose3d)
            return pose_nms(best.scaled(*box.to_source), part, options.K)
        candidates = select_candidates(scores, boxes, pose2d, pose3d, options.score_th)
        return integrate(candidates.scaled(*box.to_source), part, options, box.source)

    def __repr__(self) -> str:
        spec = self.spec
        size = f"{spec.input.width}x{spec.input.height}"
        return f"DopePose({spec.name!r}, {size}, {spec.precision}, {self.backend.name}, {self.selection})"


def _check_picture(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(
            f"the picture is a {type(image).__name__}; it must be a NumPy array, as cv2.imread answers"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"the picture is {image.dtype} of shape {image.shape}; it must be uint8 (height, width, 3)"
        )


def _allow(name: str, got: str, allowed: tuple[str, ...]) -> None:
    if got not in allowed:
        raise ValueError(f"{name} is {got!r}; allowed are {', '.join(allowed)}")
