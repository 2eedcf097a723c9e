"""DOPE's checkpoints: published as a dictionary of `dope_kwargs`, `state_dict` and more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholebody.export.student_file import StudentFile
from wholebody.export.students.dope import PARTS, Dope, DopeConfig
from wholebody.export.tensors import load_exactly, plain_tensors, some
from wholebody.export.torch_file import file_sha256, read_torch_file
from wholebody.runtime.errors import CheckpointError

__all__ = ["DopeCheckpoint", "dope_from_student", "dope_from_torch", "load_dope_checkpoint"]

BACKBONE = "backbone.resnet_backbone."
ALIAS = "roi_heads.dope_head.resnet_backbone."
PREDICTOR = re.compile(r"roi_heads\.dope_predictor\.(body|hand|face)_(cls_score|pose_pred)\.(weight|bias)")
# `DopeConfig`'s names for what torchvision calls otherwise; of a list, the last entry counts at inference.
SETTINGS = {
    "min_size": "min_size",
    "max_size": "max_size",
    "rpn_post_nms_top_n_test": "proposals",
    "rpn_pre_nms_top_n_test": "candidates",
    "rpn_nms_thresh": "rpn_threshold",
}


@dataclass(frozen=True)
class DopeCheckpoint:
    """A loaded network (in evaluation mode, FP32) and what its checkpoint says about it.

    ppi: per part, the options of the pose-proposal integration that the weights were tuned with. half:
    whether the checkpoint was meant to run in FP16. source, sha256: its file. notes: what else is known, such
    as `name` and `licence`.
    """

    network: Dope
    config: DopeConfig
    ppi: dict[str, dict[str, Any]]
    half: bool
    sha256: str
    source: str
    notes: dict[str, Any] = field(default_factory=dict)


def load_dope_checkpoint(path: str | Path, *, bn_eps: float = 1e-5, fold: bool = True) -> DopeCheckpoint:
    """Read a published DOPE checkpoint into a `Dope`.

    bn_eps: epsilon under the root of the frozen BatchNorm; old torchvision used none, DOPE's half branch
    1e-5. fold: write the BatchNorm into the convolutions. Raises CheckpointError, naming every key at fault.
    """
    path = Path(path)
    return dope_from_torch(read_torch_file(path), path, bn_eps=bn_eps, fold=fold)


def dope_from_torch(
    content: Mapping[Any, Any], path: Path, *, bn_eps: float = 1e-5, fold: bool = True
) -> DopeCheckpoint:
    """What `load_dope_checkpoint` does, the file `path` being read already."""
    missing = [key for key in ("dope_kwargs", "state_dict") if not isinstance(content.get(key), dict)]
    if missing:
        raise CheckpointError(
            f"{path}: not a DOPE checkpoint: no {' and no '.join(missing)} (it has {some(content)}); "
            "give the file that was published or trained as DOPE"
        )
    tensors = _renamed(content["state_dict"], path)
    config = _config(tensors, content["dope_kwargs"], bn_eps, path)
    network = load_exactly(lambda: Dope(config), tensors, "DOPE", path, fold=fold)
    ppi = {part: content.get(f"{part}_ppi_kwargs") or {} for part in PARTS}
    return DopeCheckpoint(network, config, ppi, bool(content.get("half")), file_sha256(path), path.name)


def dope_from_student(
    student: StudentFile, config: DopeConfig, path: Path, *, fold: bool = True
) -> DopeCheckpoint:
    """The DOPE network in a file of our own, `path`, that is read already."""
    network = load_exactly(lambda: Dope(config), student.tensors, "DOPE", path, fold=fold)
    return DopeCheckpoint(
        network, config, student.ppi, False, file_sha256(path), path.name, dict(student.notes)
    )


def _renamed(state: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """Published keys to the names of `Dope`, tensors to FP32; both copies of the backbone must be equal."""
    tensors: dict[str, Tensor] = {}
    for key, value in plain_tensors(state, "DOPE", path).items():
        twin = state.get(BACKBONE + key.removeprefix(ALIAS)) if key.startswith(ALIAS) else None
        if twin is not None and not torch.equal(twin, state[key]):
            raise CheckpointError(
                f"{path}: '{key}' differs from its copy under '{BACKBONE}'; a DOPE checkpoint holds its "
                "backbone twice, alike: download or copy it again"
            )
        if (name := _network_name(key)) is not None:
            tensors[name] = value
    return tensors


def _network_name(key: str) -> str | None:
    """The name in `Dope` of a published key; None for the classifier that the network does not use."""
    for prefix in (BACKBONE, ALIAS):
        if key.startswith(prefix):
            rest = key.removeprefix(prefix)
            return None if rest.startswith("fc.") else "backbone." + rest
    if key.startswith("rpn.head."):  # torchvision renamed the first convolution when it allowed several
        return "rpn." + key.removeprefix("rpn.head.").replace("conv.0.0.", "conv.")
    if match := PREDICTOR.fullmatch(key):
        part, head, leaf = match.groups()
        return f"predictor.{head}.{part}.{leaf}"
    return key.removeprefix("roi_heads.")


def _config(
    tensors: Mapping[str, Tensor], kwargs: Mapping[Any, Any], bn_eps: float, path: Path
) -> DopeConfig:
    """The network's size, from the tensors' shapes; its conventions, from `dope_kwargs`."""
    needed = ["backbone.conv1.weight", "rpn.conv.weight", *(f"{part}_anchor_poses" for part in PARTS)]
    if absent := [name for name in needed if name not in tensors or tensors[name].ndim == 0]:
        raise CheckpointError(f"{path}: not a DOPE checkpoint: no {', '.join(absent)} in its state_dict")
    width, rpn_width, *classes = (tensors[name].shape[0] for name in needed)
    stages = [f"backbone.layer{i}." for i in (1, 2, 3, 4)]
    counts = [len({k.removeprefix(s).split(".")[0] for k in tensors if k.startswith(s)}) for s in stages]
    given = [(ours, kwargs[theirs]) for theirs, ours in SETTINGS.items() if kwargs.get(theirs) is not None]
    known: dict[str, Any] = {
        name: value[-1] if isinstance(value, (list, tuple)) and value else value for name, value in given
    }
    try:
        return DopeConfig(
            width=width,
            blocks=(counts[0], counts[1], counts[2], counts[3]),
            rpn_width=rpn_width,
            classes=dict(zip(PARTS, classes, strict=True)),
            bn_eps=bn_eps,
            **known,
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: not the numbers of a DOPE checkpoint: {error}") from error
