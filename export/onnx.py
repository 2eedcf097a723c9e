"""A DOPE checkpoint to a verified ONNX student: one file and its sidecar, or none where it drifts too far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx
import torch

from wholebody.export.certificate import Budget
from wholebody.export.dope_checkpoint import DopeCheckpoint
from wholebody.export.dope_drift import compare
from wholebody.export.onnx_file import checked_output, pictures_of, require_budget, save, versions
from wholebody.export.onnx_graph import to_onnx
from wholebody.export.reference import with_proposals
from wholebody.export.students.dope import JOINTS, MEAN, PARTS, STD, DopeConfig, DopeOutputs
from wholebody.runtime.artefact import Artefact, write_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import CheckpointError, WholebodyError
from wholebody.runtime.kernels.ppi import PpiOptions
from wholebody.runtime.media import Frame
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec
from wholebody.runtime.whole import whole

__all__ = ["default_input_size", "export_dope"]

GRID = 32  # the network halves its input five times
TOPK_LIMIT = 3840  # TensorRT's, in every version up to 11


def export_dope(
    checkpoint: DopeCheckpoint,
    output: str | Path,
    *,
    input_size: tuple[int, int] | None = None,
    proposals: int | None = None,
    images: str | Path | Iterable[Frame] | None = None,
    budget_px: float = Budget.px,
    budget_mm: float = Budget.mm,
    force: bool = False,
) -> Artefact:
    """Write `output`, an ONNX file, and its sidecar, once its drift from PyTorch is measured.

    input_size  height and width of the network's input, multiples of 32; None takes `default_input_size`
    proposals   boxes to refine in a picture; None takes the checkpoint's number
    images      a folder, picture or frames to measure the drift on; None takes `noise_pictures`
    force       write a student that is over its budget too, with a certificate that says so

    Raises DriftError where the student is over budget and not forced; CheckpointError for a checkpoint that
    TensorRT could not run or whose options are not allowed; WholebodyError for sizes or an output not
    allowed.
    """
    output = checked_output(Path(output))
    height, width = _checked_size(input_size or default_input_size(checkpoint.config))
    config = replace(checkpoint.config, proposals=_checked_proposals(checkpoint.config, proposals))
    spec = _describe(checkpoint, height, width)
    pictures = pictures_of(images, height, width)
    model = _graph(checkpoint, config, spec)
    with whole(output) as partial:
        save(model, spec, partial)
        spec = _certified(spec, checkpoint, partial, pictures, Budget(budget_px, budget_mm), force)
    return write_artefact(output, spec)


def default_input_size(config: DopeConfig) -> tuple[int, int]:
    """The input, (height, width), that a landscape picture fills as in training: 800 x 1344 as published.

    Its height is `min_size` and its width `max_size`, padded to multiples of 32. A portrait picture is scaled
    down until it fits; for a camera held upright export with the two exchanged.
    """
    return -(-config.min_size // GRID) * GRID, -(-config.max_size // GRID) * GRID


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if min(size) < 1 or any(side % GRID for side in size):
        got, near = (
            "x".join(str(side) for side in pair)
            for pair in (size, [max(1, -(-s // GRID)) * GRID for s in size])
        )
        raise WholebodyError(
            f"input size {got} (height x width): both must be multiples of {GRID}, such as {near}"
        )
    return size


def _checked_proposals(config: DopeConfig, proposals: int | None) -> int:
    if config.candidates > TOPK_LIMIT:
        raise CheckpointError(
            f"the checkpoint keeps {config.candidates} boxes before suppression; TensorRT's TopK allows "
            f"{TOPK_LIMIT}: lower rpn_pre_nms_top_n_test in its dope_kwargs"
        )
    if proposals is None:
        return min(config.proposals, config.candidates)
    if not 1 <= proposals <= config.candidates:
        raise WholebodyError(f"{proposals} proposals; this checkpoint allows 1 to {config.candidates}")
    return proposals


def _describe(checkpoint: DopeCheckpoint, height: int, width: int) -> StudentSpec:
    config, notes = checkpoint.config, checkpoint.notes
    return StudentSpec(
        name=str(notes.get("name", "dope")),
        input=InputSpec(height, width, config.min_size, config.max_size, MEAN, STD),
        parts={part: PartSpec(JOINTS[part], config.classes[part], _ppi(checkpoint, part)) for part in PARTS},
        weights=WeightsSpec(checkpoint.source, checkpoint.sha256, str(notes.get("licence", "not stated"))),
        versions=versions(),
    )


def _ppi(checkpoint: DopeCheckpoint, part: str) -> dict[str, Any]:
    """All options of one part: the checkpoint's, and the published defaults for what it does not say.

    As published, a half of the body's classes is of whole bodies and a half of the hand's of right hands.
    """
    classes = checkpoint.config.classes[part]
    options = PpiOptions.from_dict(
        {"K": classes if part == "face" else classes // 2, **checkpoint.ppi.get(part, {})}
    )
    return {name: value for name, value in asdict(options).items() if name != "group_by"}


def _graph(checkpoint: DopeCheckpoint, config: DopeConfig, spec: StudentSpec) -> onnx.ModelProto:
    height, width = spec.input.height, spec.input.width
    inputs = {
        "image": torch.zeros(1, 3, height, width),
        "size": torch.tensor([height, width], dtype=torch.float32),
    }
    return to_onnx(with_proposals(checkpoint.network, config.proposals), inputs, DopeOutputs._fields)


def _certified(
    spec: StudentSpec,
    checkpoint: DopeCheckpoint,
    path: Path,
    pictures: Iterable[Frame],
    budget: Budget,
    force: bool,
) -> StudentSpec:
    """The description with its certificate; DriftError where that says no and nobody forces it."""
    student = OnnxRuntime(path, providers=["CPUExecutionProvider"])
    certificate = compare(student, checkpoint, spec, pictures, budget)
    require_budget(certificate, force)
    return replace(spec, certificate=certificate.to_dict())
