"""Training checkpoints in, networks out, matched key by key.

Two layouts: the published DOPE one, a dictionary with `half`, `dope_kwargs`, `state_dict` and
`{part}_ppi_kwargs`, loaded with `weights_only=True` so that a file which hides code in its pickle is refused;
and our own students' safetensors file. Every tensor must be expected, present, finite and of the right shape.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholebody.export.student_file import read_student
from wholebody.export.students.dope import PARTS, Dope, DopeConfig
from wholebody.export.students.resnet_c4 import fold_batch_norm
from wholebody.runtime.errors import CheckpointError

__all__ = ["DopeCheckpoint", "load_checkpoint", "load_dope_checkpoint", "load_student"]

BACKBONE = "backbone.resnet_backbone."
ALIAS = "roi_heads.dope_head.resnet_backbone."
PREDICTOR = re.compile(r"roi_heads\.dope_predictor\.(body|hand|face)_(cls_score|pose_pred)\.(weight|bias)")
COUNTERS = "num_batches_tracked"  # of BatchNorm, used in training only
# `DopeConfig`'s names for what torchvision calls otherwise; of a list, the last entry counts at inference.
SETTINGS = {
    "min_size": "min_size",
    "max_size": "max_size",
    "rpn_post_nms_top_n_test": "proposals",
    "rpn_pre_nms_top_n_test": "candidates",
    "rpn_nms_thresh": "rpn_threshold",
}
LISTED = 8  # keys named in an error before it counts the rest


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


def load_checkpoint(path: str | Path) -> DopeCheckpoint:
    """Read a checkpoint of either layout, told apart by its content; raises CheckpointError."""
    path = Path(path)
    _require_file(path)
    with path.open("rb") as file:
        start = file.read(9)
    return load_student(path) if start[8:] == b"{" else load_dope_checkpoint(path)


def load_dope_checkpoint(path: str | Path, *, bn_eps: float = 1e-5, fold: bool = True) -> DopeCheckpoint:
    """Read a published DOPE checkpoint into a `Dope`.

    bn_eps: epsilon under the root of the frozen BatchNorm; old torchvision used none, DOPE's half branch
    1e-5. fold: write the BatchNorm into the convolutions. Raises CheckpointError, naming every key at fault.
    """
    path = Path(path)
    checkpoint = _unpickle(path)
    missing = [key for key in ("dope_kwargs", "state_dict") if not isinstance(checkpoint.get(key), dict)]
    if missing:
        raise CheckpointError(
            f"{path}: not a DOPE checkpoint: no {' and no '.join(missing)} (it has {_some(checkpoint)}); "
            "give the file that was published or trained as DOPE"
        )
    tensors = _renamed(checkpoint["state_dict"], path)
    config = _config(tensors, checkpoint["dope_kwargs"], bn_eps, path)
    ppi = {part: checkpoint.get(f"{part}_ppi_kwargs") or {} for part in PARTS}
    network = _network(config, tensors, fold, path)
    return DopeCheckpoint(network, config, ppi, bool(checkpoint.get("half")), _sha256(path), path.name)


def load_student(path: str | Path, *, fold: bool = True) -> DopeCheckpoint:
    """Read a student that `save_student` wrote; `fold` and errors as in `load_dope_checkpoint`."""
    path = Path(path)
    student = read_student(path)
    network = _network(student.config, student.tensors, fold, path)
    return DopeCheckpoint(
        network, student.config, student.ppi, False, _sha256(path), path.name, dict(student.notes)
    )


def _network(config: DopeConfig, tensors: Mapping[str, Tensor], fold: bool, path: Path) -> Dope:
    with torch.device("meta"):  # no memory, and none asked for by a damaged file, before the shapes agree
        network = Dope(config)
    expected = {name: t.shape for name, t in network.state_dict().items() if not name.endswith(COUNTERS)}
    given = {name: t for name, t in tensors.items() if not name.endswith(COUNTERS)}
    if faults := _faults(expected, given):
        raise CheckpointError(f"{path}: does not fit the DOPE network: {'; '.join(faults)}")
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTERS)}
    network.load_state_dict({**given, **counters}, assign=True)
    network.eval()
    if fold:
        fold_batch_norm(network)
    return network.requires_grad_(False)


def _faults(expected: Mapping[str, torch.Size], given: Mapping[str, Tensor]) -> list[str]:
    """Every disagreement, in words."""
    faults = [f"missing {name}" for name in expected if name not in given]
    faults += [f"unexpected {name}" for name in given if name not in expected]
    for name in expected.keys() & given.keys():
        tensor, shape = given[name], expected[name]
        if tensor.shape != shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        elif tensor.dtype != torch.float32:
            faults.append(f"{name} holds {tensor.dtype}, expected floating point")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds NaN or infinity")
    return sorted(faults)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; check the path")


def _unpickle(path: Path) -> dict[str, Any]:
    """The dictionary in a `torch.save` file, on the CPU; never runs what is inside."""
    _require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's word about pickle protocols; a refusal follows
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_why_refused(error)}") from error
    except Exception as error:  # a damaged file fails in any of a dozen ways inside torch, zip and pickle
        reason = f"{type(error).__name__} {error}".partition("\n")[0].partition(". ")[0]
        raise CheckpointError(
            f"{path}: not a whole PyTorch checkpoint ({reason:.120}); download or copy it again"
        ) from error
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise CheckpointError(f"{path}: not a DOPE checkpoint: a {kind}, not a dictionary; give another file")
    return checkpoint


def _why_refused(error: pickle.UnpicklingError) -> str:
    named = re.search(r"(?:GLOBAL|Unsupported class|Unsupported global: GLOBAL) ([\w.]+)", str(error))
    if named is None:
        return "not a PyTorch checkpoint, or one cut short; download or copy it again"
    return (
        f"refused: its pickle asks for {named[1]}, and a checkpoint may hold tensors and plain values only; "
        "ask its author for one with the state_dict alone"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _renamed(state: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """Published keys to the names of `Dope`, tensors to FP32; both copies of the backbone must be equal."""
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise CheckpointError(f"{path}: state_dict[{key!r}] is no plain tensor; not a DOPE checkpoint")
        twin = state.get(BACKBONE + key.removeprefix(ALIAS)) if key.startswith(ALIAS) else None
        if twin is not None and not torch.equal(twin, value):
            raise CheckpointError(
                f"{path}: '{key}' differs from its copy under '{BACKBONE}'; a DOPE checkpoint holds its "
                "backbone twice, alike: download or copy it again"
            )
        if (name := _network_name(key)) is not None:
            tensors[name] = value.float() if value.is_floating_point() else value
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


def _some(entries: Mapping[Any, Any]) -> str:
    names = sorted(map(str, entries))
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "") if names else "nothing"
