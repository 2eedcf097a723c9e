"""The loader of OpenMMLab's and DWPose's files: their layouts in, faults named, nothing ever executed."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wholebody.export.checkpoints import DopeCheckpoint, RtmPoseCheckpoint, load_checkpoint
from wholebody.export.openmmlab import load_openmmlab
from wholebody.export.student_file import save_student
from wholebody.export.students.rtmpose import RTMPOSE, RtmPose, RtmPoseConfig
from wholebody.runtime.errors import CheckpointError

TINY = RtmPoseConfig(0.33, 0.0625, 64, 32, joints=5, kernel=3, hidden=16, key=8)
State = dict[str, Tensor]
Save = Callable[..., Path]


def network(seed: int, config: RtmPoseConfig = TINY) -> RtmPose:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = RtmPose(config).eval()
        for name, tensor in made.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", ".bias")):
                tensor.normal_(0, 0.3)
    return made


def state_of(seed: int, prefix: str = "", **config: Any) -> State:
    return {prefix + k: t for k, t in network(seed, replace(TINY, **config)).state_dict().items()}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """`save(content)`: a file called as if it were of another size, for names must not matter."""

    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "rtmpose-x_384x288.pth")
        return tmp_path / "rtmpose-x_384x288.pth"

    return save


def assert_is(path: Path, expected: RtmPose | State) -> RtmPoseCheckpoint:
    """The file holds exactly these weights."""
    loaded = load_openmmlab(path, fold=False)
    state = expected if isinstance(expected, dict) else expected.state_dict()
    for name, tensor in loaded.network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, state[name]), name
    return loaded


# --- layouts --------------------------------------------------------------------------------------


def test_a_published_file(save: Save) -> None:
    path = save({"meta": {"epoch": 270}, "state_dict": OrderedDict(state_of(0))})
    loaded = assert_is(path, network(0))
    assert loaded.config == TINY
    assert (loaded.source, loaded.name) == (path.name, "rtmpose")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_folding_the_batch_norm_changes_no_answer(save: Save) -> None:
    path = save({"state_dict": state_of(0)})
    folded, plain = load_openmmlab(path).network, load_openmmlab(path, fold=False).network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    for got, expected in zip(folded(image), plain(image), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_a_bare_state_dict(save: Save) -> None:
    assert_is(save(state_of(0)), network(0))


def test_half_weights_become_single(save: Save) -> None:
    halves = {k: t.half() if t.is_floating_point() else t for k, t in state_of(0).items()}
    assert_is(save({"state_dict": halves}), {k: t.float() for k, t in halves.items()})


def test_counters_of_batch_norm_may_be_missing(save: Save) -> None:
    state = {k: t for k, t in state_of(0).items() if not k.endswith("num_batches_tracked")}
    loaded = assert_is(save({"state_dict": state}), network(0))
    assert not any(tensor.is_meta for tensor in loaded.network.state_dict().values())


def test_the_moving_average(save: Save) -> None:
    """mmengine exchanges the two when it saves: `state_dict` is the average."""
    last = {"steps": torch.tensor(7), **state_of(1, "module.")}
    assert_is(save({"state_dict": state_of(0), "ema_state_dict": last}), network(0))
    assert_is(save({"ema_state_dict": last}), network(1))


@pytest.mark.parametrize("name", list(RTMPOSE))
def test_size_and_input_are_told_by_the_tensors(tmp_path: Path, name: str) -> None:
    """Of every published size, on tensors that take no room: each is one number, repeated."""
    with torch.device("meta"):
        shapes = {k: (t.shape, t.dtype) for k, t in RtmPose(RTMPOSE[name]).state_dict().items()}
    state = {k: torch.zeros((), dtype=dtype).expand(shape) for k, (shape, dtype) in shapes.items()}
    torch.save({"state_dict": state}, tmp_path / "c.pth")
    loaded = load_openmmlab(tmp_path / "c.pth", fold=False)
    assert (loaded.config, loaded.name) == (RTMPOSE[name], f"rtmpose-{name}")


@pytest.mark.parametrize(
    "config",
    [
        {"widen": 0.1875}, {"deepen": 0.5}, {"joints": 17}, {"kernel": 7}, {"hidden": 24}, {"key": 4},
        {"expansion": 1.5}, {"split": 3.0}, {"height": 32, "width": 96},
    ],
)  # fmt: skip
def test_sizes_of_nobody(save: Save, config: dict[str, Any]) -> None:
    expected = replace(TINY, **config)
    loaded = assert_is(save({"state_dict": state_of(0, **config)}), network(0, expected))
    assert replace(loaded.config, deepen=1.0, split=1.0) == replace(expected, deepen=1.0, split=1.0)
    assert loaded.config.split == pytest.approx(expected.split)


# --- distillers -----------------------------------------------------------------------------------


def test_the_first_stage_of_a_distiller(save: Save) -> None:
    state = state_of(0, "student.") | state_of(1, "teacher.", widen=0.125)
    state["distill_losses.loss_fea.align.weight"] = torch.zeros(128, 64, 1, 1)
    assert_is(save({"state_dict": state}), network(0))


def test_the_second_stage_of_a_distiller(save: Save) -> None:
    """The teacher's trunk, the student's head; the student's own trunk was never trained."""
    teacher, student = state_of(1), state_of(0)
    expected = {k: (teacher if k.startswith("backbone.") else student)[k] for k in student}
    state = state_of(0, "student.") | state_of(1, "teacher.")
    assert_is(save({"state_dict": state}), expected)
    without = {k: t for k, t in state.items() if not k.startswith("student.backbone.")}
    assert_is(save({"state_dict": without}), expected)


@pytest.mark.parametrize(("stage", "trunk"), [("two_dis=False,", 0), ("    two_dis = True", 1)])
def test_the_configuration_tells_the_stage(save: Save, stage: str, trunk: int) -> None:
    """Where trunks of one size were distilled by their answers alone, the tensors do not tell."""
    state = state_of(0, "student.") | state_of(1, "teacher.")
    loaded = load_openmmlab(save({"meta": {"cfg": f"model = dict(\n{stage}\n)"}, "state_dict": state}))
    expected = load_openmmlab(save({"state_dict": state_of(trunk)}))
    key = "backbone.stem.0.conv.weight"
    assert torch.equal(loaded.network.state_dict()[key], expected.network.state_dict()[key])


def test_only_the_first_stage_is_kept(save: Save) -> None:
    assert_is(save({"state_dict": state_of(0, "student.")}), network(0))


# --- what OpenMMLab keeps beside the weights ------------------------------------------------------


@pytest.fixture
def mmengine(monkeypatch: pytest.MonkeyPatch) -> type:
    """mmengine's learning curve: a class of that name in a module of that name, gone when it is saved."""

    class HistoryBuffer:
        def __init__(self, values: list[float]) -> None:
            self.max_length = 1_000_000
            self._log_history = np.array(values)
            self._count_history = np.ones(len(values), np.int64)
            self._statistics_methods = {"mean": HistoryBuffer.mean}

        def mean(self) -> float:
            return float(self._log_history.mean())

    module = ModuleType("mmengine.logging.history_buffer")
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = module.__name__, "HistoryBuffer.mean"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return HistoryBuffer


@pytest.fixture
def in_training(mmengine: type) -> dict[str, Any]:
    """A file as mmengine writes it in the middle of training, every kind of entry in its place."""
    metainfo = {
        "dataset_name": "coco_wholebody", "num_keypoints": 5, "flip_indices": [0, 2, 1, 3, 4],
        "keypoint_colors": np.zeros((5, 3), np.uint8), "sigmas": np.full(5, 0.05, np.float32),
        "keypoint_id2name": {0: "nose"}, "skeleton_links": [(0, 1)],
    }  # fmt: skip
    return {
        "meta": {
            "epoch": 10, "iter": np.int64(100), "cfg": "model = dict(type='TopdownPoseEstimator')",
            "seed": 21, "experiment_name": "rtmpose", "time": "20230728_000000", "mmengine_version": "0.8.2",
            "dataset_meta": metainfo,
        },
        "state_dict": OrderedDict(state_of(0)),
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": mmengine([0.5, 0.25]), "train/lr": mmengine([4e-3])}),
            "runtime_info": OrderedDict(iter=100, best=np.float64(0.5), dataset_meta=metainfo),
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "optimizer": torch.optim.AdamW([nn.Parameter(torch.zeros(2))]).state_dict(),
        "param_schedulers": [{"start_factor": 1e-5, "begin": 0, "_global_step": 100}],
        "ema_state_dict": OrderedDict({"steps": torch.tensor(1), **state_of(1, "module.")}),
    }  # fmt: skip


def test_a_file_from_the_middle_of_training(
    in_training: dict[str, Any], save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(in_training)
    monkeypatch.undo()  # mmengine is not installed where the file is read
    assert "mmengine" not in sys.modules
    loaded = assert_is(path, network(0))
    assert loaded.config == TINY


def test_a_file_of_an_older_numpy(
    in_training: dict[str, Any], save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(in_training)
    monkeypatch.undo()
    assert replace_in_pickle(path, b"numpy._core.multiarray", b"numpy.core.multiarray") >= 2
    assert_is(path, network(0))


def replace_in_pickle(path: Path, old: bytes, new: bytes) -> int:
    """Names that end in a newline may change their length; returns how many did."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    count = entries[pickled].count(old)
    entries[pickled] = entries[pickled].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return count


class Payload:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_hidden_code_is_refused_and_not_run(
    in_training: dict[str, Any], save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_training["meta"]["hook"] = Payload(tmp_path / "executed")
    path = save(in_training)
    monkeypatch.undo()
    refused(path, "refused: its pickle asks for pathlib")
    assert not (tmp_path / "executed").exists()


def test_code_under_a_name_that_is_let_through_is_not_run(save: Save, tmp_path: Path) -> None:
    """`builtins.getattr` and NumPy's own unpickler stand in a file for nothing at all."""

    class Reach:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (Path(tmp_path / "executed"), "mkdir")

    path = save({"meta": {"x": np.zeros(3), "y": {"z": [1, np.float32(2)]}}, "state_dict": state_of(0)})
    assert_is(path, network(0))
    refused(save({"meta": Reach(), "state_dict": state_of(0)}), "pathlib")


def test_weights_of_another_library_are_no_weights(save: Save) -> None:
    state = {**state_of(0), "head.mlp.0.g": np.ones(1)}
    refused(save({"state_dict": state}), "'head.mlp.0.g'", "no plain tensor")


# --- faults ---------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> None:
    """The loader refuses the file in one line that holds these words and the file's name."""
    with pytest.raises(CheckpointError) as caught:
        load_openmmlab(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message


def test_every_wrong_tensor_is_named(save: Save) -> None:
    state = state_of(0)
    del state["head.gau.ln.g"], state["backbone.stem.0.bn.weight"]
    state["neck.conv.weight"] = torch.zeros(1)
    state["head.final_layer.bias"] = torch.zeros(4)
    state["head.mlp.0.g"] = torch.tensor([float("nan")])
    state["head.gau.beta"] = torch.zeros(2, 8, dtype=torch.int64)
    refused(
        save({"state_dict": state}),
        "missing head.gau.ln.g", "missing backbone.stem.0.bn.weight", "unexpected neck.conv.weight",
        "head.final_layer.bias has shape (4,), expected (5,)", "head.mlp.0.g holds NaN",
        "head.gau.beta holds torch.int64",
    )  # fmt: skip


def test_what_a_distiller_must_not_hold_is_named(save: Save) -> None:
    state = {**state_of(0, "student."), "head.extra": torch.zeros(1)}
    refused(save({"state_dict": state}), "unexpected head.extra")
    del state["student.head.cls_y.weight"]
    refused(save({"state_dict": state}), "no head.cls_y.weight")


@pytest.mark.parametrize("key", ["head.cls_x.weight", "head.final_layer.weight", "head.mlp.1.weight"])
def test_tensors_that_tell_the_size_must_be_there(save: Save, key: str) -> None:
    state = state_of(0)
    state[key] = torch.tensor(1.0)
    refused(save({"state_dict": state}), "not an RTMPose or DWPose checkpoint", key)
    del state[key]
    refused(save({"state_dict": state}), "not an RTMPose or DWPose checkpoint", key)


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("head.cls_x.weight", (63, 16), "the crop is 65x32"),
        ("head.cls_x.weight", (0, 16), "not the numbers"),
        ("head.mlp.1.weight", (16, 0), "not the numbers"),
        ("head.mlp.1.weight", (16, 3), "not the numbers"),
        ("head.final_layer.weight", (5, 64, 4, 4), "kernel is 4"),
        ("head.final_layer.weight", (5, 1, 3, 3), "widen is"),
        ("head.gau.gamma", (2, 0), "key is 0"),
    ],
)
def test_sizes_that_cannot_be(save: Save, key: str, shape: tuple[int, ...], words: str) -> None:
    refused(save({"state_dict": {**state_of(0), key: torch.zeros(shape)}}), words)


def test_a_stage_without_blocks(save: Save) -> None:
    state = {k: t for k, t in state_of(0).items() if ".stage3.1.blocks.1." not in k}
    refused(save({"state_dict": state}), "(1, 2, 1, 1) blocks, which no depth gives")


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"model": 1}])
def test_another_kind_of_file(save: Save, content: Any) -> None:
    refused(save(content))


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "no such checkpoint file")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_cut_short(save: Save, share: float) -> None:
    path = save({"state_dict": state_of(0)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, "again")


# --- families -------------------------------------------------------------------------------------


def test_recognised_among_the_families(save: Save) -> None:
    for state in (state_of(0), state_of(0, "student.")):
        path = save({"state_dict": state})
        assert load_checkpoint(path, RtmPoseCheckpoint).config == TINY
        assert isinstance(load_checkpoint(path), RtmPoseCheckpoint)
    with pytest.raises(CheckpointError, match="this is RTMPose or DWPose, not DOPE"):
        load_checkpoint(path, DopeCheckpoint)


def test_name_and_licence_of_a_file_that_was_fetched(save: Save) -> None:
    path = save({"state_dict": state_of(0)})
    origin = path.with_name(f"{path.name}.origin.json")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"name": "dwpose-t", "sha256": sha256, "weights_licence": "Apache-2.0 as published"}
    for text, name in (
        (json.dumps(record), "dwpose-t"), (json.dumps({**record, "sha256": "0"}), "rtmpose"),
        ("[1]", "rtmpose"), ("not json", "rtmpose"), ("{}", "rtmpose"),
    ):  # fmt: skip
        origin.write_text(text)
        assert load_checkpoint(path, RtmPoseCheckpoint).name == name
    origin.write_text(json.dumps(record))
    assert load_checkpoint(path).notes["licence"] == "Apache-2.0 as published"


def test_a_student_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "mini.safetensors"
    save_student(network(0), path, half=False, name="dwpose-mini", licence="Apache-2.0")
    loaded = load_checkpoint(path, RtmPoseCheckpoint, fold=False)
    assert (loaded.config, loaded.name) == (TINY, "dwpose-mini")
    assert loaded.notes["licence"] == "Apache-2.0"
    assert all(torch.equal(t, network(0).state_dict()[k]) for k, t in loaded.network.state_dict().items())


def test_a_student_in_half_precision(tmp_path: Path) -> None:
    save_student(network(0), tmp_path / "h.safetensors")
    loaded = load_checkpoint(tmp_path / "h.safetensors", RtmPoseCheckpoint, fold=False)
    for name, tensor in network(0).state_dict().items():
        matrix = name.endswith(".weight") and tensor.ndim > 1
        assert torch.equal(loaded.network.state_dict()[name], tensor.half().float() if matrix else tensor)
