"""What a training carries from step to step and keeps on disk: weights, their mean, optimiser, log."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wholebody.runtime.whole import whole

__all__ = ["Schedule", "TrainingLog", "TrainingState", "averaged_weights"]

WEIGHT_DECAY = 0.05
EMA_DECAY = 0.999
Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Schedule:
    """The learning rate: a linear warm-up to `peak`, then a cosine down to a hundredth of it at `steps`."""

    steps: int
    peak: float
    warm_up: int = 500

    def rate(self, step: int) -> float:
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        done = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        least = self.peak / 100
        return least + (self.peak - least) * 0.5 * (1 + math.cos(math.pi * done))


class TrainingState:
    """A network in training, its exponential mean, and AdamW.

    auxiliary: what learns beside the network and is dropped after the training. Goes on from what `path`
    keeps, where there is such a file.
    """

    def __init__(self, path: Path, network: nn.Module, auxiliary: nn.Module, schedule: Schedule) -> None:
        self.path, self.network, self.auxiliary, self.schedule = path, network, auxiliary, schedule
        self.ema = AveragedModel(network, multi_avg_fn=_moving_mean, use_buffers=True)
        self.optimizer = torch.optim.AdamW(_groups(network, auxiliary), lr=schedule.peak)
        self.step = 0
        if path.exists():
            self._resume(torch.load(path, map_location="cpu", weights_only=True))

    def parameters(self) -> list[nn.Parameter]:
        """Everything that learns."""
        return [*self.network.parameters(), *self.auxiliary.parameters()]

    def advance(self) -> None:
        """One step with the gradients at hand."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.step()
        self.ema.update_parameters(self.network)
        self.step += 1

    def save(self) -> None:
        """Keep everything at `path`; the file is replaced only when the new one is whole."""
        state = {
            "network": self.network.state_dict(),
            "auxiliary": self.auxiliary.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        with whole(self.path) as partial:
            torch.save(state, partial)

    def _resume(self, kept: dict[str, dict[str, Tensor]]) -> None:
        self.network.load_state_dict(kept["network"])
        self.auxiliary.load_state_dict(kept["auxiliary"])
        self.ema.load_state_dict(kept["ema"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step = int(kept["step"])  # type: ignore[call-overload]


def averaged_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    """The exponential mean of the weights kept at `path`, and its step."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "module."
    mean = {k.removeprefix(prefix): v for k, v in kept["ema"].items() if k.startswith(prefix)}
    return mean, int(kept["step"])


class TrainingLog:
    """Mean losses of every few steps, one JSON line each."""

    def __init__(self, path: Path, every: int) -> None:
        self._path, self._every = path, every
        self._sums: dict[str, Tensor] = {}
        self._since = time.perf_counter()

    def add(self, step: int, losses: dict[str, Tensor], *, pictures: int, scenes: int) -> str | None:
        """Count a step in; every so often write a line, and answer with it in words."""
        for name, value in losses.items():  # summed where they are: reading each would stop a GPU every step
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        if step % self._every:
            return None
        means = {name: round(float(value) / self._every, 4) for name, value in self._sums.items()}
        now = time.perf_counter()
        pace = self._every * pictures / (now - self._since)
        total = round(sum(means.values()), 4)
        with self._path.open("a") as file:
            record = {"step": step, "loss": total, **means, "scenes": scenes, "per_s": round(pace, 1)}
            file.write(json.dumps(record) + "\n")
        self._sums, self._since = {}, now
        return f"loss {total:.3f}, {pace:.0f} pictures/s"


def _moving_mean(means: Tensors, values: Tensors, count: Tensor | int) -> None:
    """Exponential, and quicker at first so that the random start is soon forgotten.

    All tensors at once: one by one they would keep a GPU waiting.
    """
    if means[0].is_floating_point():
        decay = min(EMA_DECAY, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(means, values, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
    else:
        torch._foreach_copy_(means, values)  # pyright: ignore[reportPrivateImportUsage]


def _groups(*modules: nn.Module) -> list[dict[str, object]]:
    """Weights decay; biases and norms do not."""
    parameters = [p for module in modules for p in module.parameters()]
    weights = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
