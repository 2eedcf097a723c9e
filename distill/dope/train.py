"""Train dope-mini, the bundled DOPE student, from scratch on rendered people: seeded and resumable.

    python -m wholebody.distill.dope.train --work .training/dope

Other processes render scenes and draw batches from them while the network learns, on a GPU where there is
one. Every few hundred steps the whole state is saved, and the same command goes on from there.
`python -m wholebody.distill.dope.finish` makes the student of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from torch import Tensor

from wholebody.distill.dope.batches import Batch, batches
from wholebody.distill.dope.losses import AuxiliaryHeads, batch_losses
from wholebody.distill.dope.start import cluster, initialise
from wholebody.distill.learning import arguments, learn
from wholebody.distill.scenes import SIDE, Scenes, rendering, wait_for_scenes
from wholebody.distill.state import Schedule, TrainingState
from wholebody.export.student_file import read_student
from wholebody.export.students.dope import PARTS, Dope, DopeConfig
from wholebody.runtime.skeletons import DOPE

__all__ = ["MINI", "train"]

MINI = DopeConfig(
    width=20,
    blocks=(2, 3, 7, 2),
    c4_stride=8,
    rpn_width=64,
    cell_width=24,
    anchor_sizes=(16, 24, 40, 64, 104, 168, 272),
    classes={"body": 16, "hand": 12, "face": 4},
    candidates=500,
    proposals=128,
    min_size=SIDE,
    max_size=SIDE,
)
SEED = 1
CLUSTERED_SCENES = 2000


def train(
    work: Path,
    steps: int,
    scenes: int,
    *,
    batch: int,
    rate: float,
    start: Path | None = None,
    seed: int = SEED,
    workers: int = 1,
) -> Path:
    """Train until `steps`, going on from what `work` holds; returns the path of the last checkpoint.

    scenes: how many to render in all, seeds 0 to scenes - 1. rate: the peak of the learning rate. start: a
    student to go on from where `work` holds no training yet; None starts from scratch. workers: processes
    that render, and as many that draw batches. Writes work/scenes/*.npz, work/last.pt and work/log.jsonl.
    """
    cv2.setNumThreads(1)  # the processes that draw batches are forks, which OpenCV's threads do not survive
    with rendering(work / "scenes", scenes, workers):
        wait_for_scenes(work / "scenes", min(scenes, CLUSTERED_SCENES))
        stock = Scenes(work / "scenes", DOPE)
        state = _state(work, Schedule(steps, rate), stock, start, seed)
        _learn(state, stock, batch, seed, workers)
    return work / "last.pt"


def _state(work: Path, schedule: Schedule, stock: Scenes, start: Path | None, seed: int) -> TrainingState:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    network = Dope(MINI)
    initialise(network, seed)
    if not (work / "last.pt").exists():
        if start is None:
            cluster(network, stock, seed, CLUSTERED_SCENES)
        else:
            network.load_state_dict({**network.state_dict(), **read_student(start).tensors})
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    auxiliary = AuxiliaryHeads(network.backbone.c4_channels).to(device)
    return TrainingState(work / "last.pt", network, auxiliary, schedule)


def _learn(state: TrainingState, stock: Scenes, size: int, seed: int, workers: int) -> None:
    network, auxiliary = state.network, state.auxiliary
    assert isinstance(network, Dope)
    assert isinstance(auxiliary, AuxiliaryHeads)
    anchors = {part: network.get_buffer(f"{part}_anchor_poses").cpu().numpy() for part in PARTS}
    device, stride = next(network.parameters()).device, network.config.c4_stride

    def draw(first: int, last: int) -> Iterator[Batch]:
        return batches(stock, anchors, first, last, size, seed, workers)

    def losses(batch: Batch) -> dict[str, Tensor]:
        batch = batch.to(device)
        return batch_losses(network, batch.normalised(), batch.truth, auxiliary, batch.heat(stride))

    learn(state, stock, draw, losses, name="dope-mini", size=size, seed=seed)


def main() -> None:
    """Parse the command line and train."""
    args = arguments("dope-mini", family="dope", steps=8000, batch=128, rate=1.2e-3)
    print(train(**vars(args)))


if __name__ == "__main__":
    main()
