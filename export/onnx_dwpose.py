"""An RTMPose or DWPose checkpoint to a verified ONNX student for any number of crops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from onnx import ModelProto

from wholebody.export.certificate import Budget
from wholebody.export.onnx_file import checked_output, pictures_of, require_budget, save, versions
from wholebody.export.onnx_graph import to_onnx
from wholebody.export.openmmlab import RtmPoseCheckpoint
from wholebody.export.person_boxes import boxes_from
from wholebody.export.students.rtmpose import MEAN, STD, SimCC
from wholebody.export.top_down_drift import compare_crops
from wholebody.runtime.artefact import Artefact, write_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import CheckpointError
from wholebody.runtime.media import Frame
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, WHOLEBODY133
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec
from wholebody.runtime.whole import whole

__all__ = ["export_dwpose"]

# A checkpoint does not name its skeleton; the published ones are told apart by the number of keypoints.
SKELETONS: Mapping[int, str] = MappingProxyType(
    {len(skeleton): skeleton.name for skeleton in (COCO17, COCO_HAND21, WHOLEBODY133)}
)


def export_dwpose(
    checkpoint: RtmPoseCheckpoint,
    output: str | Path,
    *,
    images: str | Path | Iterable[Frame] | None = None,
    boxes: str | Path | PersonDetector | None = None,
    budget_px: float = Budget.px,
    force: bool = False,
) -> Artefact:
    """Write `output`, an ONNX file, and its sidecar, once its drift from PyTorch is measured.

    images     a folder, picture or frames to measure the drift on; None takes `noise_pictures`
    boxes      of the people in them, as for `verify`; None takes every picture for one person
    budget_px  the largest drift allowed, in pixels of the crop
    force      write a student that is over its budget too, with a certificate that says so

    Input and outputs are those of `TopDownSpec`: crops of the checkpoint's own size, normalised. Raises
    DriftError where the student is over budget and not forced; CheckpointError for a number of keypoints of
    no known skeleton; WholebodyError for an output not allowed.
    """
    output = checked_output(Path(output))
    spec = _describe(checkpoint)
    pictures = pictures_of(images, spec.input.height, spec.input.width)
    model = _graph(checkpoint, spec)
    with whole(output) as partial:
        save(model, spec, partial)
        student = OnnxRuntime(partial, providers=["CPUExecutionProvider"])
        budget = Budget(budget_px)
        certificate = compare_crops(student, checkpoint, spec, pictures, boxes_from(boxes), budget)
        require_budget(certificate, force)
    return write_artefact(output, replace(spec, certificate=certificate.to_dict()))


def _describe(checkpoint: RtmPoseCheckpoint) -> TopDownSpec:
    config = checkpoint.config
    if config.joints not in SKELETONS:
        known = ", ".join(f"{count} ({name})" for count, name in SKELETONS.items())
        raise CheckpointError(
            f"{checkpoint.source}: {config.joints} keypoints are of no skeleton known here; known are {known}"
        )
    licence = str(checkpoint.notes.get("licence", "not stated"))
    return TopDownSpec(
        name=checkpoint.name,
        head="simcc",
        input=CropInput(config.height, config.width, MEAN, STD, "rgb"),
        skeleton=SKELETONS[config.joints],
        weights=WeightsSpec(checkpoint.source, checkpoint.sha256, licence),
        split=config.split,
        versions=versions(),
    )


def _graph(checkpoint: RtmPoseCheckpoint, spec: TopDownSpec) -> ModelProto:
    crops = torch.zeros(2, 3, spec.input.height, spec.input.width)  # two, for one would be taken as fixed
    return to_onnx(checkpoint.network, {"image": crops}, SimCC._fields, open_batch=True)
