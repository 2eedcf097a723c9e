"""Train dope-mini, the bundled student, from scratch on rendered people: seeded, resumable, on any CPU.

    python -m wholebody.distill.train_mini --work .training

Scenes are rendered by a second process while the training runs. Every few hundred steps the whole state is
saved, and the same command goes on from there. `python -m wholebody.distill.finish` makes the student of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.utils import clip_grad_norm_

from wholebody.distill.batches import batches
from wholebody.distill.losses import batch_losses
from wholebody.distill.scenes import SIDE, rendering, wait_for_scenes
from wholebody.distill.state import TrainingLog, TrainingState
from wholebody.export.students.dope import DopeConfig

__all__ = ["MINI", "train"]

MINI = DopeConfig(
    width=16,
    blocks=(2, 3, 4, 1),
    c4_stride=8,
    rpn_width=64,
    anchor_sizes=(16, 32, 64, 128, 256),
    classes={"body": 20, "hand": 16, "face": 4},
    candidates=400,
    proposals=100,
    min_size=SIDE,
    max_size=SIDE,
)
SEED = 1
BATCH = 8
CLIP = 5.0
CLUSTERED_SCENES = 2000
SAVE_EVERY, LOG_EVERY = 250, 50


def train(work: Path, steps: int, scenes: int, *, seed: int = SEED, threads: int = 2) -> Path:
    """Train until `steps`, going on from what `work` holds; returns the path of the last checkpoint.

    scenes: how many to render in all, seeds 0 to scenes - 1. Writes work/scenes/*.npz, work/last.pt and
    work/log.jsonl.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # gradients fade into denormals, which are many times slower
    columns = (
        TextColumn("dope-mini"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )  # fmt: skip
    with rendering(work / "scenes", scenes), Progress(*columns) as progress:
        stock = wait_for_scenes(work / "scenes", min(scenes, CLUSTERED_SCENES))
        state = TrainingState.resume(work / "last.pt", MINI, stock, seed, steps, CLUSTERED_SCENES)
        log = TrainingLog(work / "log.jsonl", LOG_EVERY)
        task = progress.add_task("", total=steps, completed=state.step)
        for images, truths in batches(stock, state.network, seed, state.step, steps, BATCH):
            torch.manual_seed(seed * 1_000_003 + state.step)
            losses = batch_losses(state.network, images, truths)
            state.optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(state.network.parameters(), CLIP)
            state.advance()
            if line := log.add(state.step, losses, pictures=len(images), scenes=len(stock)):
                progress.update(task, completed=state.step, description=line)
            if state.step % SAVE_EVERY == 0 or state.step == steps:
                state.save()
    return state.path


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train dope-mini; the same command resumes.")
    parser.add_argument("--work", type=Path, default=Path(".training"), help="scenes, log and checkpoints")
    parser.add_argument("--steps", type=int, default=13_000)
    parser.add_argument("--scenes", type=int, default=40_000, help="scenes to render, seeds from 0 on")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(train(args.work, args.steps, args.scenes, threads=args.threads))


if __name__ == "__main__":
    main()
