"""What a training carries on: exactly resumed, saved whole or not at all, gradients shared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, nn

from wholebody.distill import state as module
from wholebody.distill.scenes import Sample
from wholebody.distill.state import TrainingLog, TrainingState, average_gradients, averaged_network
from wholebody.export.students.dope import PARTS, DopeConfig

CONFIG = DopeConfig(
    width=4, blocks=(1, 1, 1, 1), c4_stride=8, rpn_width=8, classes={"body": 4, "hand": 4, "face": 2},
    candidates=40, proposals=10, min_size=96, max_size=96,
)  # fmt: skip


class Stock:
    """Eight pictures of two people, one of whom has no legs in it."""

    def __iter__(self) -> Iterator[Sample]:
        for seed in range(8):
            rng = np.random.default_rng(seed)
            pixels = rng.uniform(10, 80, (2, 139, 2)).astype(np.float32)
            pixels[1, :4, 1] += 200
            metres = rng.normal(0, 0.3, (2, 139, 3)).astype(np.float32)
            yield Sample(np.zeros((96, 96, 3), np.uint8), pixels, metres, np.ones((2, 139), bool))


def resume(path: Path, steps: int = 10, seed: int = 1) -> TrainingState:
    stock: Any = Stock()
    return TrainingState.resume(path, CONFIG, stock, seed, steps, clustered=8)


def step(state: TrainingState) -> None:
    """A step with made-up gradients, and BatchNorm's statistics moved."""
    torch.manual_seed(state.step)
    for parameter in state.parameters():
        parameter.grad = torch.randn(parameter.shape)
    state.network.train()
    state.network.backbone.features(torch.randn(2, 3, 32, 32))
    state.advance()


def everything(state: TrainingState) -> dict[str, torch.Tensor]:
    kept = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    kept |= {f"ema.{k}": v for k, v in state.ema.state_dict().items()}
    kept |= {f"auxiliary.{k}": v for k, v in state.auxiliary.state_dict().items()}
    for i, entry in state.optimizer.state_dict()["state"].items():
        kept |= {f"optimizer.{i}.{k}": v for k, v in entry.items()}
    return {k: v.clone() for k, v in kept.items()}


def assert_same(a: TrainingState, b: TrainingState) -> None:
    first, second = everything(a), everything(b)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert a.step == b.step


def test_a_new_training_is_the_same_every_time_and_has_anchor_poses(tmp_path: Path) -> None:
    state = resume(tmp_path / "last.pt")
    assert_same(state, resume(tmp_path / "last.pt"))
    assert state.step == 0
    for part in PARTS:
        poses = state.network.get_buffer(f"{part}_anchor_poses")
        assert len({row.numpy().tobytes() for row in poses}) == CONFIG.classes[part]
    other = resume(tmp_path / "last.pt", seed=2)
    assert not torch.equal(other.network.backbone.conv1.weight, state.network.backbone.conv1.weight)


def test_a_resumed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    through, stopped = resume(tmp_path / "last.pt"), resume(tmp_path / "last.pt")
    for _ in range(2):
        step(through)
        step(stopped)
    stopped.save()
    resumed = resume(tmp_path / "last.pt", seed=7)  # the seed is of a new training only
    assert_same(resumed, through)
    step(through)
    step(resumed)
    assert_same(resumed, through)
    assert resumed.step == 3


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = resume(tmp_path / "last.pt")
    state.save()
    before = (tmp_path / "last.pt").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]

    def broken(value: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    step(state)
    with pytest.raises(OSError, match="disk full"):
        state.save()
    assert (tmp_path / "last.pt").read_bytes() == before


def test_the_mean_of_the_weights_is_what_is_kept_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EMA_DECAY", 0.2)  # reached at the third step; the second still warms up
    state = resume(tmp_path / "last.pt")
    seen = []
    for _ in range(3):
        step(state)
        seen.append({k: v.clone() for k, v in state.network.state_dict().items()})
    state.save()
    network, steps = averaged_network(tmp_path / "last.pt", CONFIG)
    assert steps == 3
    assert not network.training
    for name, mean in network.state_dict().items():
        if mean.is_floating_point():
            early = (2 * seen[0][name] + 9 * seen[1][name]) / 11
            expected = 0.2 * early + 0.8 * seen[2][name]
            torch.testing.assert_close(mean, expected, msg=name)


def test_the_rate_warms_up_and_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP", 4)
    state, rates = resume(tmp_path / "last.pt", steps=12), []
    for _ in range(12):
        step(state)
        rates.append(state.optimizer.param_groups[0]["lr"] / module.PEAK_RATE)
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1, 1])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    np.testing.assert_allclose(rates[8], 0.505, atol=1e-3)  # half way down
    assert rates[-1] < 0.06
    assert module._rate(12, 12) == pytest.approx(module.LEAST_RATE)


def test_norms_and_biases_do_not_decay(tmp_path: Path) -> None:
    state = resume(tmp_path / "last.pt")
    decaying, others = state.optimizer.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (module.WEIGHT_DECAY, 0)
    assert {p.ndim for p in others["params"]} == {1}
    assert sum(len(group["params"]) for group in (decaying, others)) == len(state.parameters())


# --- gradients of several processes -----------------------------------------------------------------

SHARE = """
import sys, torch
from torch import distributed, nn
from wholebody.distill.state import average_gradients
rank = int(sys.argv[1])
distributed.init_process_group("gloo", f"file://{sys.argv[2]}", rank=rank, world_size=2)
layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 5)).to(memory_format=torch.channels_last)
for i, parameter in enumerate(layers.parameters()):
    values = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape) + i
    parameter.grad = torch.empty_like(parameter).copy_(values * (1 + 2 * rank))
average_gradients(layers.parameters())
for i, parameter in enumerate(layers.parameters()):
    values = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape) + i
    assert torch.equal(parameter.grad, 2 * values), (i, parameter.grad)
distributed.destroy_process_group()
"""


def test_two_processes_have_the_mean_of_their_gradients(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARE]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meeting")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors


def test_one_process_keeps_its_own_gradients(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        layer = nn.Linear(3, 2)
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, 3.0)
        average_gradients(layer.parameters())
        assert all(bool((p.grad == 3).all()) for p in layer.parameters() if p.grad is not None)
    finally:
        distributed.destroy_process_group()


# --- log --------------------------------------------------------------------------------------------


def test_the_log_has_the_means_of_every_few_steps(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.jsonl", every=2)
    said = [
        log.add(step, {"box": torch.tensor(float(step)), "class": torch.tensor(1.0)}, pictures=4, scenes=9)
        for step in range(1, 5)
    ]
    assert [line is None for line in said] == [True, False, True, False]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(r["step"], r["box"], r["class"], r["loss"], r["scenes"]) for r in records] == [
        (2, 1.5, 1, 2.5, 9), (4, 3.5, 1, 4.5, 9),
    ]  # fmt: skip
