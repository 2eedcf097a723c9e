"""Checkpoints of OpenMMLab and DWPose: RTMPose networks under `backbone.` and `head.`.

Which tensors of a file are the network's:

`state_dict`      as mmengine writes it, the moving average where one was kept (it exchanges the two when it
                  saves, so that `ema_state_dict` holds the last step); of a published file, all there is
`ema_state_dict`  only where the file has no `state_dict`; its keys begin with `module.`
neither           the file itself is the `state_dict`

A distiller of DWPose holds teacher and student. In its first stage the student is `student.*`; the second
trains a new head, `student.head.*`, on the frozen trunk of a student that is now the teacher,
`teacher.backbone.*` (papers: "Effective whole-body pose estimation with two-stages distillation", 2023).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from wholebody.export.student_file import StudentFile
from wholebody.export.students.cspnext import STRIDE, blocks_of, channels_of
from wholebody.export.students.rtmpose import RTMPOSE, RtmPose, RtmPoseConfig
from wholebody.export.tensors import load_exactly, plain_tensors, some
from wholebody.export.torch_file import file_sha256, read_torch_file
from wholebody.runtime.errors import CheckpointError

__all__ = [
    "RtmPoseCheckpoint",
    "is_openmmlab",
    "load_openmmlab",
    "rtmpose_from_student",
    "rtmpose_from_torch",
]

FAMILY = "RTMPose"
BLOCK = re.compile(r"backbone\.stage([1-4])\.\d\.blocks\.(\d+)\.")
TWO_STAGES = re.compile(r"\btwo_dis\s*=\s*(True|False)\b")  # in the configuration that mmengine keeps as text
# Tensors that tell the network's size, and how many axes they have.
TELLING = {
    "head.final_layer.weight": 4,  # (K, C5, kernel, kernel)
    "head.mlp.1.weight": 2,  # (hidden, cells)
    "head.gau.gamma": 2,  # (2, key)
    "head.gau.o.weight": 2,  # (hidden, expansion * hidden)
    "head.cls_x.weight": 2,  # (split * width, hidden)
    "head.cls_y.weight": 2,  # (split * height, hidden)
}


@dataclass(frozen=True)
class RtmPoseCheckpoint:
    """A loaded network (in evaluation mode, FP32), its file, and what else is known: `name`, `licence`."""

    network: RtmPose
    config: RtmPoseConfig
    sha256: str
    source: str
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The one its trainer gave it, that of the published size, or "rtmpose"."""
        sizes = (f"rtmpose-{size}" for size, config in RTMPOSE.items() if config == self.config)
        return str(self.notes.get("name", next(sizes, "rtmpose")))


def load_openmmlab(path: str | Path, *, fold: bool = True) -> RtmPoseCheckpoint:
    """Read an RTMPose or DWPose checkpoint of OpenMMLab's; size and input are told by the tensors' shapes.

    fold: write the BatchNorm into the convolutions. Raises CheckpointError, naming every key at fault.
    """
    path = Path(path)
    return rtmpose_from_torch(read_torch_file(path), path, fold=fold)


def rtmpose_from_torch(content: Mapping[Any, Any], path: Path, *, fold: bool = True) -> RtmPoseCheckpoint:
    """What `load_openmmlab` does, the file `path` being read already."""
    tensors = _student(plain_tensors(_state(content), FAMILY, path), content)
    config = _config(tensors, path)
    network = load_exactly(lambda: RtmPose(config), tensors, FAMILY, path, fold=fold)
    return RtmPoseCheckpoint(network, config, file_sha256(path), path.name)


def rtmpose_from_student(
    student: StudentFile, config: RtmPoseConfig, path: Path, *, fold: bool = True
) -> RtmPoseCheckpoint:
    """The RTMPose network in a file of our own, `path`, that is read already."""
    network = load_exactly(lambda: RtmPose(config), student.tensors, FAMILY, path, fold=fold)
    return RtmPoseCheckpoint(network, config, file_sha256(path), path.name, dict(student.notes))


def is_openmmlab(content: Mapping[Any, Any]) -> bool:
    """Whether this has the classifiers of RTMPose's head somewhere."""
    return any(str(key).endswith("head.cls_x.weight") for key in _state(content))


def _state(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    if isinstance(state := content.get("state_dict"), dict):
        return state
    if isinstance(state := content.get("ema_state_dict"), dict):
        module = "module."
        return {str(key).removeprefix(module): t for key, t in state.items() if str(key).startswith(module)}
    return content


def _student(tensors: dict[str, Tensor], content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors to use, under the network's names; of a distiller, the student's of the file's stage."""
    distiller = "student.", "teacher.", "distill_losses."
    if not any(key.startswith("student.") for key in tensors):
        return tensors
    trunk = "teacher.backbone." if _second_stage(tensors, content) else "student.backbone."
    ours = {key: t for key, t in tensors.items() if key.startswith("student.") and ".backbone." not in key}
    ours |= {key: t for key, t in tensors.items() if key.startswith(trunk)}
    foreign = {key: t for key, t in tensors.items() if not key.startswith(distiller)}
    return foreign | {key.partition(".")[2]: t for key, t in ours.items()}


def _second_stage(tensors: Mapping[str, Tensor], content: Mapping[Any, Any]) -> bool:
    """As the file's own configuration says, else as its tensors do.

    The second stage has trunks of one size and, having no loss on features, no `distill_losses.*`.
    """
    meta = content.get("meta")
    text = str(meta.get("cfg")) if isinstance(meta, dict) else ""
    if told := TWO_STAGES.search(text):
        return told[1] == "True"
    shapes = [
        {key.partition(".")[2]: t.shape for key, t in tensors.items() if key.startswith(f"{who}.backbone.")}
        for who in ("teacher", "student")
    ]
    aligned = any(key.startswith("distill_losses.") for key in tensors)
    return bool(shapes[0]) and not aligned and (not shapes[1] or shapes[0] == shapes[1])


def _config(tensors: Mapping[str, Tensor], path: Path) -> RtmPoseConfig:
    """The network's size and input, from the tensors' shapes."""
    absent = [name for name, axes in TELLING.items() if name not in tensors or tensors[name].ndim != axes]
    if absent:
        raise CheckpointError(
            f"{path}: not an RTMPose or DWPose checkpoint: no {', '.join(absent)} (it has {some(tensors)}); "
            "give a file with CSPNeXt under 'backbone.' and the SimCC head under 'head.'"
        )
    (joints, channels, kernel, _), (hidden, cells), (_, key), (_, values), (bins_x, _), (bins_y, _) = (
        tensors[name].shape for name in TELLING
    )
    try:
        split = math.sqrt(bins_x * bins_y / (cells * STRIDE**2))
        return RtmPoseConfig(
            deepen=_deepen(tensors),
            widen=channels / channels_of(1.0)[-1],
            height=round(bins_y / split),
            width=round(bins_x / split),
            joints=joints,
            split=split,
            kernel=kernel,
            hidden=hidden,
            key=key,
            expansion=values / hidden,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: not the numbers of an RTMPose checkpoint: {error}") from error


def _deepen(tensors: Mapping[str, Tensor]) -> float:
    """The published depth with as many blocks, else the depth at which the second stage has as many."""
    found = {(int(m[1]), int(m[2])) for m in map(BLOCK.match, tensors) if m}
    counts = tuple(sum(stage == i for stage, _ in found) for i in (1, 2, 3, 4))
    depths = [config.deepen for config in RTMPOSE.values()]
    depths.append(counts[1] / blocks_of(1.0)[1])
    for depth in depths:
        if blocks_of(depth) == counts:
            return depth
    raise ValueError(f"its stages have {counts} blocks, which no depth gives")
