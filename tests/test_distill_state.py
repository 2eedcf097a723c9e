"""What a training carries on: exactly resumed, saved whole or not at all, logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wholebody.distill import state as module
from wholebody.distill.state import Schedule, TrainingLog, TrainingState, averaged_weights

SCHEDULE = Schedule(steps=10, peak=1e-2, warm_up=2)


def begin(path: Path, seed: int = 1, schedule: Schedule = SCHEDULE) -> TrainingState:
    """A small network with a norm, and an auxiliary head."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return TrainingState(path, network, nn.Linear(4, 2), schedule)


def step(state: TrainingState) -> None:
    """A step with made-up gradients, and BatchNorm's statistics moved."""
    torch.manual_seed(state.step)
    for parameter in state.parameters():
        parameter.grad = torch.randn(parameter.shape)
    state.network.train()
    state.network(torch.randn(2, 3, 8, 8))
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


def test_a_resumed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    through, stopped = begin(tmp_path / "last.pt"), begin(tmp_path / "last.pt")
    assert through.step == 0
    for _ in range(2):
        step(through)
        step(stopped)
    stopped.save()
    resumed = begin(tmp_path / "last.pt", seed=7)  # the weights are those kept, not these
    assert_same(resumed, through)
    step(through)
    step(resumed)
    assert_same(resumed, through)
    assert resumed.step == 3
    assert everything(resumed).keys() >= {"optimizer.0.exp_avg", "ema.n_averaged", "auxiliary.weight"}


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = begin(tmp_path / "last.pt")
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
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_the_mean_of_the_weights_is_what_is_kept_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EMA_DECAY", 0.2)  # reached at the third step; the second still warms up
    state = begin(tmp_path / "last.pt")
    seen = []
    for _ in range(3):
        step(state)
        seen.append({k: v.clone() for k, v in state.network.state_dict().items()})
    state.save()
    weights, steps = averaged_weights(tmp_path / "last.pt")
    assert steps == 3
    assert weights.keys() == seen[0].keys()
    for name, mean in weights.items():
        if mean.is_floating_point():
            early = (2 * seen[0][name] + 9 * seen[1][name]) / 11
            torch.testing.assert_close(mean, 0.2 * early + 0.8 * seen[2][name], msg=name)
        else:
            assert torch.equal(mean, seen[2][name])


def test_each_step_has_the_rate_of_the_schedule(tmp_path: Path) -> None:
    state = begin(tmp_path / "last.pt")
    for i in range(SCHEDULE.steps):
        step(state)
        assert {group["lr"] for group in state.optimizer.param_groups} == {SCHEDULE.rate(i)}


def test_norms_and_biases_do_not_decay(tmp_path: Path) -> None:
    state = begin(tmp_path / "last.pt")
    decaying, others = state.optimizer.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (module.WEIGHT_DECAY, 0)
    assert {p.ndim for p in decaying["params"]} == {2, 4}
    assert {p.ndim for p in others["params"]} == {1}
    assert sum(len(group["params"]) for group in (decaying, others)) == len(state.parameters()) == 6


# --- the rate ---------------------------------------------------------------------------------------


def test_the_rate_warms_up_and_falls() -> None:
    schedule = Schedule(steps=12, peak=2.0, warm_up=4)
    rates = [schedule.rate(i) / 2 for i in range(13)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1, 1])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    np.testing.assert_allclose(rates[8], 0.505)  # half way down
    np.testing.assert_allclose(rates[12], 0.01)


@given(st.integers(1, 3000), st.integers(0, 5000), st.floats(1e-6, 10))
def test_the_rate_is_never_above_its_peak_and_never_nothing(steps: int, at: int, peak: float) -> None:
    """In trainings shorter than the warm-up, and beyond their end, too."""
    assert 0 < Schedule(steps, peak).rate(at) <= peak * (1 + 1e-12)


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
    assert all(r["per_s"] > 0 for r in records)


def test_a_log_keeps_no_graph(tmp_path: Path) -> None:
    """Of fifty steps, that would be fifty batches in memory."""
    log = TrainingLog(tmp_path / "log.jsonl", every=2)
    log.add(1, {"box": torch.ones((), requires_grad=True) * 2}, pictures=1, scenes=1)
    assert not log._sums["box"].requires_grad
