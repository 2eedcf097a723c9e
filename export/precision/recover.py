"""Quantization-aware distillation: a short training that gives a student in INT8 back what rounding took.

The student is rounded as its graph says (`trainable`), and learns to answer as it did in FP32
(`distillation`), on pictures that need no labels. What it learns, weights and the scales of activations, is
written into the same graph: placement and speed stay. Yang et al., "Effective whole-body pose estimation with
two-stages distillation", 2023, train the head alone in their second stage, on the trunk as it is; so does
"head" here.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from wholebody.export.precision.calibration import Inputs, Samples
from wholebody.export.precision.distillation import Distillation
from wholebody.export.precision.trainable import Trainable
from wholebody.runtime.errors import SourceError, WholebodyError
from wholebody.runtime.spec import AnySpec, TopDownSpec
from wholebody.runtime.whole import whole

__all__ = ["STEPS", "Layers", "Progress", "Recovery", "recover"]

Layers = Literal["head", "whole"]
Progress = Callable[[float, int, int], None]  # the loss, steps done, steps in all

STEPS = 300
LEAST = 16  # pictures: fewer would be learnt by heart
SAMPLES = 8  # of a step
AT_ONCE = 4  # of these in a pass, where the graph takes several
RATE = (
    0.01  # of its grid's step that a weight moves in a step of the training, and a scale of itself, at most
)
WARM_UP = 0.1  # of the training
BETAS = (0.9, 0.99)
KEPT_EVERY = 10  # steps
FORMAT = 1  # of what is kept; another way to train is another number


@dataclass(frozen=True)
class Recovery:
    """What is wanted of a recovery.

    pictures  a folder, files or a video to learn from; None takes those of the calibration
    count     of these at most
    """

    layers: Layers = "whole"
    pictures: str | Path | Sequence[str | Path] | None = None
    count: int = 4096
    steps: int = STEPS


def recover(
    quantized: ModelProto,
    floating: ModelProto,
    spec: AnySpec,
    samples: Samples,
    *,
    layers: Layers = "whole",
    steps: int = STEPS,
    rate: float = RATE,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ModelProto:
    """`quantized` with weights that make it answer more like `floating`, of which `to_int8` made it.

    samples   to learn from: as many as there are, in their order, again and again
    layers    "head" trains what lies behind the trunk alone, in a fraction of the time
    steps     of 8 samples each
    rate      how much of its grid's step a weight moves in a step, and a scale of itself, at most
    cache     the folder of trainings under way or done, by the contents of all of the above: what was cut off
              goes on where it was; None: below $XDG_CACHE_HOME, or ~/.cache
    progress  is told after every step

    The same arguments give the same weights on the same machine. Raises SourceError for fewer than 16
    pictures; ArtefactError for an operator that cannot be trained; WholebodyError where the graph does not
    tell its head, or the training diverges.
    """
    if (pictures := len(set(samples.names))) < LEAST:
        raise SourceError(
            f"{pictures} pictures are too few to recover with: {LEAST} are needed, some hundred advised; no "
            "labels are"
        )
    distillation = Distillation(floating, spec)
    student = Trainable(quantized, floating, distillation.answers, distillation.given)
    training = _Training(student, distillation, _chosen(student, layers), steps, rate)
    key = _key(quantized, floating, samples, layers, steps, rate)
    kept = (cache or _default_cache()) / f"{key}.pt"
    training.resume(kept)
    several = isinstance(spec, TopDownSpec) and _open_batch(floating)
    draws, recent = _draws(samples, training.step), deque[float](maxlen=KEPT_EVERY)
    while training.step < steps:
        batch = islice(draws, SAMPLES)
        recent.append(training.advance(_joined(batch, AT_ONCE) if several else batch))
        if training.step % KEPT_EVERY == 0 or training.step == steps:
            training.keep(kept)
        if progress is not None:
            progress(sum(recent) / len(recent), training.step, steps)
    return student.written()


class _Training:
    """A student, what it learns and how far it is."""

    def __init__(
        self,
        student: Trainable,
        distillation: Distillation,
        chosen: Collection[str],
        steps: int,
        rate: float,
    ) -> None:
        self.step = 0
        self._student, self._distillation = student, distillation
        everything = {**student.weights, **student.scales}
        for name, parameter in everything.items():
            parameter.requires_grad_(name in chosen)
        self._learnt = {name: everything[name] for name in sorted(chosen)}
        self._optimizer = torch.optim.Adam([{"params": [p]} for p in self._learnt.values()], betas=BETAS)
        rates = [rate * (1 if n in student.scales else _grid_step(p)) for n, p in self._learnt.items()]
        self._schedule = OneCycleLR(
            self._optimizer, rates, total_steps=steps + 1, pct_start=WARM_UP, cycle_momentum=False
        )

    def advance(self, batches: Iterator[Inputs]) -> float:
        """One step on these; returns the loss before it. Raises WholebodyError where that is no number."""
        self._optimizer.zero_grad()
        total = 0.0
        for inputs in batches:
            taught = self._distillation.teach(inputs)
            given = {name: torch.from_numpy(array) for name, array in inputs.items()}
            losses = self._distillation.losses(self._student({**taught, **given}), taught)
            size = len(inputs["image"])
            loss = torch.stack(list(losses.values())).sum() * (size / SAMPLES)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if not np.isfinite(total):
            raise WholebodyError(f"the recovery diverged in step {self.step}: its loss is {total}")
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        return total

    def keep(self, path: Path) -> None:
        """Write everything that the next step needs; whole or not at all."""
        state = {
            "step": self.step,
            "learnt": {name: weight.detach() for name, weight in self._learnt.items()},
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> None:
        """Go on from what was kept, if anything."""
        if not path.is_file():
            return
        kept = torch.load(path, weights_only=True)
        self.step = kept["step"]
        with torch.no_grad():
            for name, weight in self._learnt.items():
                weight.copy_(kept["learnt"][name])
        self._optimizer.load_state_dict(kept["optimizer"])
        self._schedule.load_state_dict(kept["schedule"])


def _chosen(student: Trainable, layers: Layers) -> Collection[str]:
    if layers == "whole":
        return {*student.weights, *student.scales}
    if not student.head:
        raise WholebodyError("the names of its weights do not tell head from trunk: recover the whole of it")
    return student.head


def _grid_step(weight: Tensor) -> float:
    """About the step of the grid that it is rounded to: of each output's own, the mean."""
    greatest = weight.detach().abs().reshape(len(weight), -1).amax(dim=1 if weight.ndim > 1 else 0)
    return float(greatest.mean()) / 127


def _draws(samples: Samples, step: int) -> Iterator[Inputs]:
    """All samples without end, from where a training is at this step."""
    return islice(chain.from_iterable(repeat(samples)), step * SAMPLES % len(samples), None)


def _joined(draws: Iterator[Inputs], count: int) -> Iterator[Inputs]:
    """So many at once."""
    while group := list(islice(draws, count)):
        yield {name: np.concatenate([inputs[name] for inputs in group]) for name in group[0]}


def _open_batch(model: ModelProto) -> bool:
    return bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param)


def _key(
    quantized: ModelProto, floating: ModelProto, samples: Samples, layers: Layers, steps: int, rate: float
) -> str:
    digest = hashlib.sha256()
    for model in (quantized, floating):
        digest.update(model.graph.SerializeToString(deterministic=True))
    for entry in (samples.sha256, layers, steps, rate, FORMAT, torch.__version__):
        digest.update(f"{entry}\0".encode())
    return digest.hexdigest()


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wholebody" / "recovery"
