"""A student of our own as one safetensors file: tensors as trained, and JSON. Nothing in it can run.

Metadata of the file, each entry JSON: `format` (1), `family` ("dope", "rtmpose"; absent it means "dope"),
`config` (every field of `DopeConfig` or `RtmPoseConfig`), `notes` (whatever its trainer had to say: name,
licence, data) and, of DOPE, `ppi` (per part, the options of the pose-proposal integration).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wholebody.export.students.dope import Dope, DopeConfig
from wholebody.export.students.rtmpose import RtmPose, RtmPoseConfig
from wholebody.runtime.errors import CheckpointError
from wholebody.runtime.whole import whole

__all__ = ["StudentFile", "read_student", "save_student"]

FORMAT = 1
Config = DopeConfig | RtmPoseConfig
CONFIGS: Mapping[str, type[DopeConfig] | type[RtmPoseConfig]] = {
    "dope": DopeConfig,
    "rtmpose": RtmPoseConfig,
}
KINDS: Mapping[str, type] = {"format": int, "family": str, "config": dict, "ppi": dict, "notes": dict}
DEFAULTS = {"family": '"dope"'}  # files from before there were two


@dataclass(frozen=True)
class StudentFile:
    """What a student's file holds; its config tells the family."""

    config: Config
    tensors: dict[str, Tensor]
    ppi: dict[str, dict[str, Any]]
    notes: dict[str, Any]


def save_student(
    network: Dope | RtmPose,
    path: str | Path,
    ppi: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    half: bool = True,
    **notes: Any,
) -> None:
    """Write a trained network; the file appears under its name only when whole.

    network: with its BatchNorm, not folded. ppi: of DOPE, per part, options under the names of the published
    `{part}_ppi_kwargs`. half: keep the weights of convolutions and linear layers in FP16; all else stays
    FP32. notes: JSON values, of which an export uses `name` and `licence`. Raises ValueError for a folded
    network or a weight that FP16 cannot hold.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise ValueError("the BatchNorm of this network is folded; save it as it was trained")
    state = network.state_dict()
    tensors = {name: _stored(name, t, half) for name, t in state.items() if t.is_floating_point()}
    family = next(name for name, kind in CONFIGS.items() if isinstance(network.config, kind))
    metadata = {"format": FORMAT, "family": family, "config": asdict(network.config), "notes": notes}
    if family == "dope":
        metadata["ppi"] = dict(ppi or {})
    with whole(Path(path)) as partial:
        save_file(tensors, partial, {name: json.dumps(value) for name, value in metadata.items()})


def read_student(path: Path) -> StudentFile:
    """Read what `save_student` wrote, tensors in FP32. Raises CheckpointError where it is anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint file; check the path") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({error}); download or copy it again"
        ) from error
    entries = _entries({**DEFAULTS, **metadata}, path)
    config = _config(CONFIGS[entries["family"]], entries["config"], path)
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return StudentFile(config, floats, entries.get("ppi", {}), entries["notes"])


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not (half and name.endswith(".weight") and tensor.ndim > 1):
        return tensor.float()
    if not torch.isfinite(stored := tensor.half()).all():
        raise ValueError(f"{name} has a weight beyond FP16's range; save with half=False")
    return stored


def _entries(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The metadata's values, each of its kind."""
    entries = {name: _json(metadata, name, path) for name in ("format", "family", "config", "notes")}
    if entries["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {entries['format']!r}; this version reads {FORMAT}: update it")
    if entries["family"] not in CONFIGS:
        raise CheckpointError(
            f"{path}: its family is {entries['family']!r}; this version knows {', '.join(CONFIGS)}: update it"
        )
    if entries["family"] == "dope":
        entries["ppi"] = _json(metadata, "ppi", path)
    return entries


def _json(metadata: Mapping[str, str], name: str, path: Path) -> Any:
    try:
        value = json.loads(metadata[name])
    except (KeyError, ValueError, RecursionError):
        value = None
    if not isinstance(value, KINDS[name]):
        raise CheckpointError(f"{path}: not a student of wholebody: its metadata has no '{name}'")
    return value


def _config(kind: type[DopeConfig] | type[RtmPoseConfig], values: dict[str, Any], path: Path) -> Config:
    expected = {field.name for field in fields(kind)}
    if differing := sorted(expected ^ set(values)):
        raise CheckpointError(
            f"{path}: its config and this version's differ in {', '.join(differing)}; update wholebody"
        )
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    try:
        return kind(**plain)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its config is damaged ({error}): copy it again") from error
