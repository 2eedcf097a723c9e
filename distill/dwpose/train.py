"""Train dwpose-mini, the bundled top-down student, from scratch on rendered people: seeded and resumable.

    python -m wholebody.distill.dwpose.train --work .training/dwpose

Other processes render scenes and cut crops from them while the network learns, on a GPU where there is one.
Every few hundred steps the whole state is saved, and the same command goes on from there.
`python -m wholebody.distill.dwpose.finish` makes the student of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn

from wholebody.distill.dwpose.batches import CROPS_A_SCENE, Batch, batches
from wholebody.distill.dwpose.losses import crop_losses
from wholebody.distill.learning import arguments, learn
from wholebody.distill.scenes import Scenes, rendering, wait_for_scenes
from wholebody.distill.state import Schedule, TrainingState
from wholebody.export.student_file import read_student
from wholebody.export.students.rtmpose import RtmPose, RtmPoseConfig, SimCC
from wholebody.runtime.skeletons import WHOLEBODY133

__all__ = ["MINI", "train"]

# The trunk of RTMPose-s. A convolution of 3 x 3 where that has 7 x 7 saves a third of all weights.
MINI = RtmPoseConfig(deepen=0.33, widen=0.5, height=256, width=192, kernel=3)
SEED = 1
FIRST_SCENES = 1000  # to begin with


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

    scenes: how many to render in all, seeds 0 to scenes - 1. batch: crops a step. rate: the peak of the
    learning rate. start: a student to go on from where `work` holds no training yet; None starts from
    scratch. workers: processes that render, and as many that cut crops. Writes work/scenes/*.npz,
    work/last.pt and work/log.jsonl. Raises ValueError for a batch that is not a multiple of CROPS_A_SCENE.
    """
    if batch < CROPS_A_SCENE or batch % CROPS_A_SCENE:
        raise ValueError(f"batch is {batch}; allowed are multiples of {CROPS_A_SCENE}")
    cv2.setNumThreads(1)  # the processes that cut crops are forks, which OpenCV's threads do not survive
    with rendering(work / "scenes", scenes, workers):
        wait_for_scenes(work / "scenes", min(scenes, FIRST_SCENES))
        state = _state(work, Schedule(steps, rate), start, seed)
        _learn(state, Scenes(work / "scenes", WHOLEBODY133), batch, seed, workers)
    return work / "last.pt"


def _state(work: Path, schedule: Schedule, start: Path | None, seed: int) -> TrainingState:
    torch.manual_seed(seed)
    network = RtmPose(MINI)
    if start is not None:
        network.load_state_dict({**network.state_dict(), **read_student(start).tensors})
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        network.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(work / "last.pt", network, nn.Identity(), schedule)


def _learn(state: TrainingState, stock: Scenes, size: int, seed: int, workers: int) -> None:
    network = state.network
    assert isinstance(network, RtmPose)
    config, device = network.config, next(network.parameters()).device

    def draw(first: int, last: int) -> Iterator[Batch]:
        return batches(stock, (config.width, config.height), first, last, size, seed, workers)

    def losses(batch: Batch) -> dict[str, Tensor]:
        batch = batch.to(device)
        return crop_losses(_outputs(network, batch.normalised()), batch, config)

    learn(state, stock, draw, losses, name="dwpose-mini", size=size, seed=seed)


def _outputs(network: RtmPose, images: Tensor) -> SimCC:
    """The trunk in BF16 where that is quick; the head, an eighth of the work, in FP32."""
    with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda):
        features = network.backbone(images)
    outputs: SimCC = network.head(features.float())
    return outputs


def main() -> None:
    """Parse the command line and train."""
    args = arguments("dwpose-mini", family="dwpose", steps=4000, batch=512, rate=2e-3)
    print(train(**vars(args)))


if __name__ == "__main__":
    main()
