"""Training checkpoints in, networks out: the published DOPE layout, matched key by key.

A checkpoint is a dictionary with `half`, `dope_kwargs`, `state_dict` and `{part}_ppi_kwargs`, loaded with
`weights_only=True`: a file that hides code in its pickle is refused. Every key must be expected, present and of the
right shape.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholebody.export.students.dope import JOINTS, PARTS, Dope, DopeConfig
from wholebody.export.students.resnet_c4 import fold_batch_norm
from wholebody.runtime.errors import CheckpointError

__all__ = ["DopeCheckpoint", "load_dope_checkpoint", "read_checkpoint"]

BACKBONE = "backbone.resnet_backbone."
ALIAS = "roi_heads.dope_head.resnet_backbone."
PREDICTOR = "roi_heads.dope_predictor."
# torchvision renamed the first RPN convolution when it allowed several.
RENAMED = {"rpn.head.conv.0.0.": "rpn.head.conv."}
LISTED = 8  # keys named in an error before it counts the rest


@dataclass(frozen=True)
class DopeCheckpoint:
    """A loaded network (folded, in evaluation mode) and what its checkpoint says about it.

    ppi: per part, the options of the pose-proposal integration that the weights were tuned with.
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

    bn_eps: epsilon under the root of the frozen BatchNorm; old torchvision used none, DOPE's half branch 1e-5. fold
    writes the BatchNorm into the convolutions. Raises CheckpointError, naming every key at fault.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    missing = [key for key in ("dope_kwargs", "state_dict") if not isinstance(checkpoint.get(key), dict)]
    if missing:
        raise CheckpointError(
            f"{path}: not a DOPE checkpoint: no {' and no '.join(missing)} (it has {_some(sorted(map(str, checkpoint)))}); "
            "give the file that was published or trained as DOPE"
        )
    tensors = _renamed(checkpoint["state_dict"], path)
    config = replace(_config(tensors, checkpoint["dope_kwargs"], path), bn_eps=bn_eps)
    network = Dope(config)
    _load_strictly(network, tensors, path)
    network.eval().requires_grad_(False)
    if fold:
        fold_batch_norm(network)
        network.requires_grad_(False)
    ppi = {part: dict(checkpoint.get(f"{part}_ppi_kwargs") or {}) for part in PARTS}
    return DopeCheckpoint(
        network, config, ppi, bool(checkpoint.get("half", False)), file_sha256(path), path.name, {"bn_eps": bn_eps}
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary in a `torch.save` file, on the CPU; raises CheckpointError, never runs what is inside."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; check the path")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_why(error)}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not a whole PyTorch checkpoint ({_first_line(error)}); download or copy it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: holds a {type(checkpoint).__name__}, not a dictionary; not a DOPE checkpoint")
    return checkpoint


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _why(error: pickle.UnpicklingError) -> str:
    names = re.findall(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|Unsupported global: ([\w. ]+)", str(error))
    named = next((name for group in names for name in group if name), "")
    if named:
        return f"refused: its pickle asks for {named}, and a checkpoint may hold tensors and plain values only; export it again with state_dict alone"
    return "not a PyTorch checkpoint, or one cut short; download or copy it again"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _renamed(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Published keys to the names of `Dope`; the doubled backbone must be two equal copies, its unused `fc` goes."""
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: state_dict['{key}'] is a {type(value).__name__}, not a tensor")
        if key.startswith(ALIAS):
            twin = state.get(BACKBONE + key.removeprefix(ALIAS))
            if twin is not None and not torch.equal(twin, value):
                raise CheckpointError(
                    f"{path}: '{key}' differs from its copy under '{BACKBONE}'; a DOPE checkpoint holds the backbone twice, alike"
                )
        name = _network_key(key)
        if name is not None:
            tensors[name] = value.float() if value.is_floating_point() else value
    return tensors


def _network_key(key: str) -> str | None:
    """The key of `Dope` for a published key; None for what the network does not use."""
    for prefix in (BACKBONE, ALIAS):
        if key.startswith(prefix):
            rest = key.removeprefix(prefix)
            return None if rest.startswith("fc.") else "backbone." + rest
    for old, new in RENAMED.items():
        key = key.replace(old, new)
    if key.startswith("rpn.head."):
        return "rpn." + key.removeprefix("rpn.head.")
    match = re.fullmatch(re.escape(PREDICTOR) + r"(body|hand|face)_(cls_score|pose_pred)\.(weight|bias)", key)
    if match:
        part, head, leaf = match.groups()
        return f"predictor.{head}.{part}.{leaf}"
    return key.removeprefix("roi_heads.")


def _config(tensors: dict[str, Tensor], kwargs: dict[str, Any], path: Path) -> DopeConfig:
    """The network's size, from the tensors' shapes; its conventions, from `dope_kwargs`."""
    try:
        width = tensors["backbone.conv1.weight"].shape[0]
        blocks = tuple(
            len({k.split(".")[2] for k in tensors if k.startswith(f"backbone.layer{i}.")}) for i in (1, 2, 3, 4)
        )
        classes = {part: tensors[f"{part}_anchor_poses"].shape[0] for part in PARTS}
        rpn_width = tensors["rpn.conv.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{path}: no tensor for {error} in its state_dict; not a DOPE checkpoint") from error
    settings = {
        "min_size": kwargs.get("min_size"),
        "max_size": kwargs.get("max_size"),
        "proposals": kwargs.get("rpn_post_nms_top_n_test"),
        "candidates": kwargs.get("rpn_pre_nms_top_n_test"),
        "rpn_threshold": kwargs.get("rpn_nms_thresh"),
    }
    known = {name: _number(value, name, path) for name, value in settings.items() if value is not None}
    assert len(blocks) == 4
    return DopeConfig(width=width, blocks=blocks, classes=classes, rpn_width=rpn_width, **known)


def _number(value: Any, name: str, path: Path) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise CheckpointError(f"{path}: dope_kwargs['{name}'] is {value!r}, not a positive number")
    return value


def _load_strictly(network: Dope, tensors: dict[str, Tensor], path: Path) -> None:
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    faults = [f"missing {key}" for key in expected if key not in given]
    faults += [f"unexpected {key}" for key in given if key not in expected]
    faults += [
        f"{key} has shape {tuple(given[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected
        if key in given and given[key].shape != expected[key].shape
    ]
    if faults:
        raise CheckpointError(f"{path}: does not fit the DOPE network: {'; '.join(faults)}")
    network.load_state_dict(given, strict=False)  # strict above: only num_batches_tracked may be absent


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "") if names else "nothing"
