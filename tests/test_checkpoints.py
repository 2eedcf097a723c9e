"""The loaders: the published layout and our own students in, every fault named, nothing ever executed."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wholebody.export.checkpoints import (
    DopeCheckpoint,
    RtmPoseCheckpoint,
    load_checkpoint,
    load_dope_checkpoint,
)
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import Dope
from wholebody.runtime.errors import CheckpointError

BACKBONE, ALIAS = "backbone.resnet_backbone.", "roi_heads.dope_head.resnet_backbone."
Layout = Callable[..., dict[str, Any]]


@pytest.fixture
def checkpoint(tiny_dope: Callable[..., Dope], published_layout: Layout) -> dict[str, Any]:
    """A small network in the published layout, to be damaged at will."""
    return published_layout(tiny_dope(), min_size=96, max_size=(128,), rpn_post_nms_top_n_test=20)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def save(checkpoint: Any) -> Path:
        torch.save(checkpoint, tmp_path / "c.pth.tgz")
        return tmp_path / "c.pth.tgz"

    return save


def picture() -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    return image, torch.tensor([96.0, 128.0])


def assert_same_answers(a: Dope, b: Dope, tolerance: float = 2e-4) -> None:
    for got, expected in zip(a(*picture()), b(*picture()), strict=True):
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


# --- the published layout -------------------------------------------------------------------------


def test_loads_the_network_and_what_it_says(
    checkpoint: dict[str, Any], save: Any, tiny_dope: Callable[..., Dope]
) -> None:
    checkpoint |= {"half": True, "hand_ppi_kwargs": {"K": 2, "th_iou": 0.3}}
    path = save(checkpoint)
    loaded = load_dope_checkpoint(path)
    assert (loaded.half, loaded.source, loaded.ppi) == (
        True, "c.pth.tgz", {"body": {}, "hand": {"K": 2, "th_iou": 0.3}, "face": {}},
    )  # fmt: skip
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    config = loaded.config
    assert (config.width, config.blocks, config.rpn_width) == (4, (1, 1, 1, 1), 8)
    assert (config.min_size, config.max_size, config.proposals) == (96, 128, 20)
    assert (config.candidates, config.rpn_threshold) == (1000, 0.7)  # torchvision's defaults
    assert config.classes == {"body": 4, "hand": 4, "face": 3}
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert_same_answers(loaded.network, tiny_dope(candidates=1000))


def test_folding_is_optional_and_epsilon_is_recorded(checkpoint: dict[str, Any], save: Any) -> None:
    path = save(checkpoint)
    plain = load_dope_checkpoint(path, fold=False, bn_eps=1e-3)
    folded = load_dope_checkpoint(path, bn_eps=1e-3)
    norms = [m for m in plain.network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.network.modules())
    assert plain.config.bn_eps == folded.config.bn_eps == 1e-3
    assert_same_answers(plain.network, folded.network)


def test_old_and_new_names_of_the_first_rpn_convolution(checkpoint: dict[str, Any], save: Any) -> None:
    old = load_dope_checkpoint(save(checkpoint)).network
    for leaf in ("weight", "bias"):
        state = checkpoint["state_dict"]
        state[f"rpn.head.conv.0.0.{leaf}"] = state.pop(f"rpn.head.conv.{leaf}")
    assert_same_answers(load_dope_checkpoint(save(checkpoint)).network, old, 0)


def test_the_unused_classifier_and_counters_may_be_there_or_not(
    checkpoint: dict[str, Any], save: Any
) -> None:
    state = checkpoint["state_dict"]
    for prefix in (BACKBONE, ALIAS):
        state[f"{prefix}fc.weight"] = torch.zeros(1000, 128)
    load_dope_checkpoint(save(checkpoint))
    checkpoint["state_dict"] = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    network = load_dope_checkpoint(save(checkpoint), fold=False).network
    assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_half_weights_become_single(checkpoint: dict[str, Any], save: Any) -> None:
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network = load_dope_checkpoint(save(checkpoint)).network
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}


# --- faults ---------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> None:
    """`load_dope_checkpoint` refuses the file in one line that holds these words and the file's name."""
    with pytest.raises(CheckpointError) as caught:
        load_dope_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "no such checkpoint file")
    refused(tmp_path, "no such checkpoint file")
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        load_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"not a checkpoint at all", b"\x80\x02}q\x00.", bytes(4096)]
)
def test_not_a_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pth").write_bytes(content)
    refused(tmp_path / "c.pth")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_cut_short(checkpoint: dict[str, Any], save: Any, share: float) -> None:
    path = save(checkpoint)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "again")


def test_a_flipped_bit_in_a_weight(checkpoint: dict[str, Any], save: Any) -> None:
    path = save(checkpoint)
    weight = max(checkpoint["state_dict"].values(), key=torch.Tensor.numel).numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weight) + len(weight) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: its record"):
        load_checkpoint(path, DopeCheckpoint)


@pytest.mark.parametrize("content", [{"model": {}}, {"state_dict": {}, "dope_kwargs": None}, {}])
def test_another_kind_of_checkpoint(save: Any, content: Any) -> None:
    refused(save(content), "not a DOPE checkpoint")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3)])
def test_no_dictionary(save: Any, content: Any) -> None:
    refused(save(content), "not a dictionary")


class Payload:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_hidden_code_is_refused_and_not_run(
    checkpoint: dict[str, Any], tmp_path: Path, save: Any, legacy: bool
) -> None:
    victim = tmp_path / "executed"
    checkpoint["extra"] = Payload(victim)
    path = save(checkpoint)
    if legacy:
        path.write_bytes(pickle.dumps(checkpoint))
    refused(path, "refused" if not legacy else "again")
    assert not victim.exists()


def test_every_wrong_tensor_is_named(checkpoint: dict[str, Any], save: Any) -> None:
    state = checkpoint["state_dict"]
    del state["rpn.head.cls_logits.bias"]
    state["roi_heads.surprise"] = torch.zeros(1)
    state["roi_heads.dope_predictor.hand_cls_score.bias"] = torch.zeros(7)
    state["roi_heads.face_anchor_poses"][0, 0, 0] = float("nan")
    state["rpn.head.bbox_pred.bias"] = torch.zeros(60, dtype=torch.int64)
    refused(
        save(checkpoint),
        "missing rpn.cls_logits.bias", "unexpected surprise",
        "predictor.cls_score.hand.bias has shape (7,), expected (5,)",
        "face_anchor_poses holds NaN", "rpn.bbox_pred.bias holds torch.int64",
    )  # fmt: skip


def test_the_two_backbones_must_be_alike(checkpoint: dict[str, Any], save: Any) -> None:
    key = f"{ALIAS}layer4.0.conv1.weight"
    checkpoint["state_dict"][key] = checkpoint["state_dict"][key] + 1e-6
    refused(save(checkpoint), key, "twice")


def test_what_is_no_tensor_is_named(checkpoint: dict[str, Any], save: Any) -> None:
    checkpoint["state_dict"][f"{BACKBONE}conv1.weight"] = [1.0]
    refused(save(checkpoint), "conv1.weight")
    checkpoint["state_dict"] = {7: torch.zeros(1)}
    refused(save(checkpoint), "state_dict[7]")


@pytest.mark.parametrize(
    "key", ["rpn.head.conv.weight", f"{BACKBONE}conv1.weight", "roi_heads.body_anchor_poses"]
)
def test_tensors_that_tell_the_size_must_be_there(checkpoint: dict[str, Any], save: Any, key: str) -> None:
    for twin in (key, key.replace(BACKBONE, ALIAS)):
        checkpoint["state_dict"].pop(twin, None)
    refused(save(checkpoint), "not a DOPE checkpoint")
    checkpoint["state_dict"][key] = torch.tensor(1.0)
    refused(save(checkpoint), "not a DOPE checkpoint")


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("min_size", -1, "min_size"), ("min_size", "800", "min_size"), ("max_size", [], "max_size"),
        ("rpn_post_nms_top_n_test", 64.5, "proposals"), ("rpn_pre_nms_top_n_test", True, "candidates"),
        ("rpn_nms_thresh", float("nan"), "rpn_threshold"),
    ],
)  # fmt: skip
def test_bad_numbers(checkpoint: dict[str, Any], save: Any, key: str, value: Any, name: str) -> None:
    checkpoint["dope_kwargs"][key] = value
    refused(save(checkpoint), name)


def test_a_list_of_training_sizes_means_its_last(checkpoint: dict[str, Any], save: Any) -> None:
    checkpoint["dope_kwargs"]["min_size"] = [64, 80, 96]
    assert load_dope_checkpoint(save(checkpoint)).config.min_size == 96


# --- our own layout -------------------------------------------------------------------------------


def test_either_layout_by_its_content(
    checkpoint: dict[str, Any], save: Any, tiny_dope: Callable[..., Dope], tmp_path: Path
) -> None:
    network = tiny_dope(candidates=1000)
    student = tmp_path / "student.bin"
    save_student(network, student, {"body": {"K": 2}}, half=False, name="tiny", licence="Apache-2.0")
    ours, theirs = (load_checkpoint(path, DopeCheckpoint) for path in (student, save(checkpoint)))
    assert_same_answers(ours.network, theirs.network)
    assert ours.notes == {"name": "tiny", "licence": "Apache-2.0"}
    assert ours.ppi == {"body": {"K": 2}}
    assert ours.sha256 == hashlib.sha256(student.read_bytes()).hexdigest()


def test_a_student_is_folded_as_trained(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network = tiny_dope(c4_stride=8, bn_eps=1e-3)
    save_student(network, tmp_path / "s.safetensors", {}, half=False)
    folded = load_checkpoint(tmp_path / "s.safetensors", DopeCheckpoint)
    assert folded.config == network.config
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.network.modules())
    assert_same_answers(folded.network, network)
    plain = load_checkpoint(tmp_path / "s.safetensors", DopeCheckpoint, fold=False)
    assert_same_answers(plain.network, network, 0)


def test_a_student_of_other_tensors_is_refused(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    network = tiny_dope()
    network.hand_anchor_poses = torch.zeros(9, 21, 5)
    save_student(network, tmp_path / "s.safetensors", {})
    with pytest.raises(
        CheckpointError, match=r"hand_anchor_poses has shape \(9, 21, 5\), expected \(4, 21, 5\)"
    ):
        load_checkpoint(tmp_path / "s.safetensors")


# --- families -------------------------------------------------------------------------------------


def test_another_family_than_asked_for(tiny_dope: Callable[..., Dope], tmp_path: Path) -> None:
    save_student(tiny_dope(), tmp_path / "s.safetensors", {})
    with pytest.raises(CheckpointError, match="this is DOPE, not RTMPose or DWPose"):
        load_checkpoint(tmp_path / "s.safetensors", RtmPoseCheckpoint)


@pytest.mark.parametrize("content", [{}, {"state_dict": {"conv.weight": torch.zeros(1)}}, {"model": 1}])
def test_no_family_at_all(save: Any, content: Any) -> None:
    with pytest.raises(CheckpointError, match="no family known here"):
        load_checkpoint(save(content))
