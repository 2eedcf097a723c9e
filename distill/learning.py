"""What the trainings of both students share: the loop, and the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from wholebody.distill.scenes import Scenes
from wholebody.distill.state import TrainingLog, TrainingState

__all__ = ["arguments", "learn"]

CLIP = 5.0
SAVE_EVERY, LOG_EVERY = 500, 50  # at each save, scenes rendered meanwhile are taken in
COLUMNS = (
    TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn(),
    TimeRemainingColumn(), TextColumn("{task.fields[pace]}"),
)  # fmt: skip
Batch = TypeVar("Batch")


def learn(
    state: TrainingState,
    stock: Scenes,
    draw: Callable[[int, int], Iterable[Batch]],
    losses: Callable[[Batch], dict[str, Tensor]],
    *,
    name: str,
    size: int,
    seed: int,
) -> None:
    """Train until the schedule's last step, saving and logging on the way.

    draw(first, last) gives the batches of the steps first to last - 1; size: samples a batch.
    """
    log, last = TrainingLog(state.path.with_name("log.jsonl"), LOG_EVERY), state.schedule.steps
    with Progress(*COLUMNS) as progress:
        task = progress.add_task(name, total=last, completed=state.step, pace="")
        while state.step < last:
            stock.refresh()
            torch.manual_seed(seed + state.step)
            for batch in draw(state.step, min(last, state.step + SAVE_EVERY)):
                each = losses(batch)
                state.optimizer.zero_grad(set_to_none=True)
                torch.stack(list(each.values())).sum().backward()  # type: ignore[no-untyped-call]
                clip_grad_norm_(state.parameters(), CLIP)
                state.advance()
                if line := log.add(state.step, each, pictures=size, scenes=len(stock)):
                    progress.update(task, completed=state.step, pace=line)
            state.save()


def arguments(name: str, *, family: str, steps: int, batch: int, rate: float) -> argparse.Namespace:
    """The command line of a training, with these defaults."""
    parser = argparse.ArgumentParser(description=f"Train {name}; the same command resumes.")
    work = Path(".training") / family
    parser.add_argument("--work", type=Path, default=work, help="scenes, log and checkpoints")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--scenes", type=int, default=60_000, help="scenes to render, seeds from 0 on")
    parser.add_argument("--batch", type=int, default=batch, help="samples a step")
    parser.add_argument("--rate", type=float, default=rate, help="peak of the learning rate")
    parser.add_argument("--start", type=Path, help="a student to go on from, in place of scratch")
    workers = max(1, (os.cpu_count() or 2) - 1)
    parser.add_argument("--workers", type=int, default=workers, help="processes that render, and that draw")
    return parser.parse_args()
