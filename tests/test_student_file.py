"""Our own students' files: what was saved comes back, and anything else is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from wholebody.export.student_file import read_student, save_student
from wholebody.export.students.batch_norm import fold_batch_norm
from wholebody.export.students.dope import Dope
from wholebody.runtime.errors import CheckpointError


@pytest.fixture
def saved(tiny_dope: Callable[..., Dope], tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    save_student(tiny_dope(), path, {"hand": {"K": 2}}, name="tiny")
    return path


def rewrite(path: Path, **changed: Any) -> Path:
    """The same tensors under other metadata; None leaves an entry out."""
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **{k: json.dumps(v) for k, v in changed.items()}}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    save_file(tensors, path, {k: v for k, v in metadata.items() if v != "null"})
    return path


def test_configuration_and_notes_come_back_exactly(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network = tiny_dope(anchor_ratios=(1 / 3, 1.0), rpn_threshold=0.1 + 0.2, bn_eps=1e-3, rpn_width=None)
    ppi = {"body": {"K": 2, "score_th": None, "th_iou": 0.1 + 0.2}}
    save_student(network, tmp_path / "s.safetensors", ppi, name="x", pictures=12)
    student = read_student(tmp_path / "s.safetensors")
    assert student.config == network.config
    assert student.ppi == ppi
    assert student.notes == {"name": "x", "pictures": 12}


def test_half_storage_rounds_matrices_only(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network, path = tiny_dope(), tmp_path / "s.safetensors"
    save_student(network, path, {}, half=True)
    tensors = read_student(path).tensors
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert name not in tensors
        elif name.endswith(".weight") and tensor.ndim > 1:
            assert torch.equal(tensors[name], tensor.half().float())
        else:
            assert torch.equal(tensors[name], tensor)
    size = path.stat().st_size
    save_student(network, path, {}, half=False)
    assert path.stat().st_size > 1.5 * size
    assert all(
        torch.equal(read_student(path).tensors[k], v) for k, v in network.state_dict().items() if k in tensors
    )


def test_a_weight_beyond_half_is_refused_and_nothing_written(
    tiny_dope: Callable[..., Dope], tmp_path: Path
) -> None:
    network = tiny_dope()
    with torch.no_grad():
        network.rpn.conv.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"rpn\.conv\.weight .* half=False"):
        save_student(network, tmp_path / "s.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_a_folded_network_is_refused(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network = tiny_dope()
    fold_batch_norm(network)
    with pytest.raises(ValueError, match="folded"):
        save_student(network, tmp_path / "s.safetensors", {})


def test_saving_leaves_only_the_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["student.safetensors"]


def refused(path: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        read_student(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "absent.safetensors", "no such checkpoint file")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_cut_short(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    refused(saved, "not a whole safetensors file")


def test_another_safetensors_file(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "not a student of wholebody")


def test_a_newer_format(saved: Path) -> None:
    refused(rewrite(saved, format=2), "format 2")


@pytest.mark.parametrize("entry", ["format", "config", "ppi", "notes"])
def test_missing_or_foreign_metadata(saved: Path, entry: str) -> None:
    refused(rewrite(saved, **{entry: "text"}), f"no '{entry}'")
    refused(rewrite(saved, **{entry: None}), f"no '{entry}'")


@pytest.mark.parametrize(
    "damage",
    [
        {"width": -1},
        {"blocks": [1, 1]},
        {"classes": [1, 2, 3]},
        {"bn_eps": "small"},
        {"blocks": [10**12] * 4},
    ],
)
def test_a_damaged_configuration(saved: Path, damage: dict[str, Any]) -> None:
    with safe_open(saved, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    refused(rewrite(saved, config={**config, **damage}), "config is damaged")


def test_a_configuration_of_another_version(saved: Path) -> None:
    refused(rewrite(saved, config={"width": 4}), "differ in anchor_ratios, .*update")
