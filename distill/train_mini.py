"""Train dope-mini, the bundled student, from scratch on rendered people: seeded, resumable, on any CPU.

    python -m wholebody.distill.train_mini --work .training

Scenes are rendered by one process while others, one a core, train on shares of each batch and average their
gradients. Every few hundred steps the whole state is saved, and the same command goes on from there.
`python -m wholebody.distill.finish` makes the student of it.
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path

import cv2
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn.utils import clip_grad_norm_

from wholebody.distill.batches import batches
from wholebody.distill.losses import batch_losses
from wholebody.distill.scenes import SIDE, Scenes, rendering, wait_for_scenes
from wholebody.distill.state import TrainingLog, TrainingState, average_gradients
from wholebody.export.students.dope import DopeConfig

__all__ = ["MINI", "train"]

MINI = DopeConfig(
    width=16,
    blocks=(2, 3, 4, 3),
    c4_stride=8,
    rpn_width=64,
    cell_width=32,
    anchor_sizes=(16, 32, 64, 128, 256),
    classes={"body": 20, "hand": 16, "face": 4},
    candidates=400,
    proposals=80,
    min_size=SIDE,
    max_size=SIDE,
)
SEED = 1
BATCH = 8
CLIP = 5.0
CLUSTERED_SCENES = 2000
COLUMNS = (
    TextColumn("dope-mini"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    TextColumn("{task.description}"),
)  # fmt: skip
SAVE_EVERY, LOG_EVERY = 250, 50


def train(
    work: Path,
    steps: int,
    scenes: int,
    *,
    start: Path | None = None,
    seed: int = SEED,
    processes: int = 2,
) -> Path:
    """Train until `steps`, going on from what `work` holds; returns the path of the last checkpoint.

    scenes: how many to render in all, seeds 0 to scenes - 1. start: a student to go on from where `work`
    holds no training yet; None starts from scratch. processes: how many share a batch, a core each. Writes
    work/scenes/*.npz, work/last.pt and work/log.jsonl.
    """
    if BATCH % processes:
        raise ValueError(f"{processes} processes cannot share a batch of {BATCH}")
    meeting = work / f"meeting-{os.getpid()}"
    meeting.unlink(missing_ok=True)
    with rendering(work / "scenes", scenes):
        wait_for_scenes(work / "scenes", min(scenes, CLUSTERED_SCENES))
        arguments = (processes, work, meeting, steps, start, seed)
        spawn(_train_share, arguments, nprocs=processes)  # type: ignore[no-untyped-call]
    return work / "last.pt"


def _train_share(
    rank: int, processes: int, work: Path, meeting: Path, steps: int, start: Path | None, seed: int
) -> None:
    """One process of a training: its share of every batch. The first keeps the log and the checkpoints."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.set_flush_denormal(True)  # gradients fade into denormals, which are many times slower
    distributed.init_process_group("gloo", f"file://{meeting.resolve()}", rank=rank, world_size=processes)
    stock = Scenes(work / "scenes")
    state = TrainingState.resume(work / "last.pt", MINI, stock, seed, steps, CLUSTERED_SCENES, start)
    log = TrainingLog(work / "log.jsonl", LOG_EVERY)
    with Progress(*COLUMNS) if rank == 0 else nullcontext() as progress:
        task = progress.add_task("", total=steps, completed=state.step) if progress else None
        for images, truths, heat in batches(stock, state, steps, BATCH // processes, [seed, rank]):
            losses = batch_losses(state.network, images, truths, state.auxiliary, heat)
            state.optimizer.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            average_gradients(state.parameters())
            clip_grad_norm_(state.parameters(), CLIP)
            state.advance()
            if progress is None or task is None:
                continue
            if line := log.add(state.step, losses, pictures=BATCH, scenes=len(stock)):
                progress.update(task, completed=state.step, description=line)
            if state.step % SAVE_EVERY == 0 or state.step == steps:
                state.save()
    distributed.destroy_process_group()


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train dope-mini; the same command resumes.")
    parser.add_argument("--work", type=Path, default=Path(".training"), help="scenes, log and checkpoints")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--scenes", type=int, default=40_000, help="scenes to render, seeds from 0 on")
    parser.add_argument("--start", type=Path, help="a student to go on from, in place of scratch")
    parser.add_argument(
        "--processes", type=int, default=min(2, os.cpu_count() or 1), help="how many share a batch"
    )
    args = parser.parse_args()
    print(train(args.work, args.steps, args.scenes, start=args.start, processes=args.processes))


if __name__ == "__main__":
    main()
