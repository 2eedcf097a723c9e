"""What a training carries from step to step and keeps on disk: weights, their mean, optimiser, log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from wholebody.benchmarks.synthetic.truth import PartTruth, part_truths
from wholebody.distill.anchor_poses import anchor_poses
from wholebody.distill.losses import AuxiliaryHeads
from wholebody.distill.scenes import Scenes
from wholebody.export.student_file import read_student
from wholebody.export.students.dope import PARTS, Dope, DopeConfig
from wholebody.runtime.whole import whole

__all__ = ["TrainingLog", "TrainingState", "average_gradients", "averaged_network"]

PEAK_RATE, LEAST_RATE, WARM_UP = 4e-4, 4e-6, 500
WEIGHT_DECAY = 0.05
EMA_DECAY = 0.999


@dataclass
class TrainingState:
    """A network in training, its exponential mean, and AdamW; the rate warms up and falls as a cosine."""

    path: Path
    network: Dope
    auxiliary: AuxiliaryHeads
    ema: AveragedModel
    optimizer: torch.optim.AdamW
    steps: int
    step: int = 0

    @classmethod
    def resume(
        cls,
        path: Path,
        config: DopeConfig,
        stock: Scenes,
        seed: int,
        steps: int,
        clustered: int,
        start: Path | None = None,
    ) -> TrainingState:
        """The state kept at `path`; else a new one from a student's weights, or from scratch.

        From scratch, the anchor poses come from the first `clustered` scenes.
        """
        network = Dope(config)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _initialise(network, seed)
        if not path.exists():
            if start is None:
                _cluster(network, stock, seed, clustered)
            else:
                network.load_state_dict({**network.state_dict(), **read_student(start).tensors})
        ema = AveragedModel(network, avg_fn=_moving_mean, use_buffers=True)
        auxiliary = AuxiliaryHeads(network.backbone.c4_channels)
        optimizer = torch.optim.AdamW(_groups(network, auxiliary), lr=PEAK_RATE)
        state = cls(path, network, auxiliary, ema, optimizer, steps)
        if path.exists():
            kept = torch.load(path, weights_only=True)
            network.load_state_dict(kept["network"])
            auxiliary.load_state_dict(kept["auxiliary"])
            ema.load_state_dict(kept["ema"])
            state.optimizer.load_state_dict(kept["optimizer"])
            state.step = kept["step"]
        return state

    def parameters(self) -> list[nn.Parameter]:
        """Everything that learns."""
        return [*self.network.parameters(), *self.auxiliary.parameters()]

    def advance(self) -> None:
        """One step with the gradients at hand."""
        for group in self.optimizer.param_groups:
            group["lr"] = _rate(self.step, self.steps)
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
            "steps": self.steps,
        }
        with whole(self.path) as partial:
            torch.save(state, partial)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process of a training the mean of all their gradients."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:  # another process may have one, and all must step alike
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    means = torch.split(flat, [g.numel() for g in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def averaged_network(path: Path, config: DopeConfig) -> tuple[Dope, int]:
    """The exponential mean of the weights kept at `path`, and its step."""
    kept = torch.load(path, map_location="cpu", weights_only=True)
    network = Dope(config)
    prefix = "module."
    mean = {k.removeprefix(prefix): v for k, v in kept["ema"].items() if k.startswith(prefix)}
    network.load_state_dict(mean)
    return network.eval(), int(kept["step"])


class TrainingLog:
    """Mean losses of every few steps, one JSON line each."""

    def __init__(self, path: Path, every: int) -> None:
        self._path, self._every = path, every
        self._sums: dict[str, float] = {}
        self._since = time.perf_counter()

    def add(self, step: int, losses: dict[str, Tensor], *, pictures: int, scenes: int) -> str | None:
        """Count a step in; every so often write a line, and answer with it in words."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach()) / self._every
        if step % self._every:
            return None
        now = time.perf_counter()
        pace = self._every * pictures / (now - self._since)
        means = {name: round(value, 4) for name, value in self._sums.items()}
        total = round(sum(self._sums.values()), 4)
        with self._path.open("a") as file:
            record = {"step": step, "loss": total, **means, "scenes": scenes, "per_s": round(pace, 1)}
            file.write(json.dumps(record) + "\n")
        self._sums, self._since = {}, now
        return f"loss {total:.3f}, {pace:.0f} pictures/s"


def _moving_mean(mean: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
    """Exponential, and quicker at first so that the random start is soon forgotten."""
    decay = min(EMA_DECAY, (1 + int(count)) / (10 + int(count)))
    return mean * decay + value * (1 - decay) if mean.is_floating_point() else value


def _rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LEAST_RATE + (PEAK_RATE - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _groups(*modules: nn.Module) -> list[dict[str, object]]:
    """Weights decay; biases and norms do not."""
    parameters = [p for module in modules for p in module.parameters()]
    weights = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _initialise(network: Dope, seed: int) -> None:
    """He's initialisation; the last norm of each residual branch at zero; objects start out rare."""
    torch.manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d) and name.endswith("bn3"):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    for layer, bias in (
        (network.rpn.conv, 0.0),
        (network.rpn.bbox_pred, 0.0),
        (network.rpn.cls_logits, -3.0),
    ):
        if layer is not network.rpn.conv:
            nn.init.normal_(layer.weight, std=0.01)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, bias)


def _cluster(network: Dope, stock: Scenes, seed: int, scenes: int) -> None:
    """Set the anchor poses from the first scenes."""
    truths: dict[str, list[PartTruth]] = {part: [] for part in PARTS}
    for _, sample in zip(range(scenes), stock, strict=False):
        height, width = sample.image.shape[:2]
        found = part_truths(sample.keypoints, sample.keypoints3d, sample.visible, height, width)
        for part in PARTS:
            truths[part].append(found[part])
    for part in PARTS:
        poses = anchor_poses(part, truths[part], network.config.classes[part], seed)
        network.get_buffer(f"{part}_anchor_poses").copy_(torch.from_numpy(poses))
