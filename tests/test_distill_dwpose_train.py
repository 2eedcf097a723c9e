"""A training of dwpose-mini from scenes to the student's file, small enough for a test, and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wholebody.distill import learning, scenes
from wholebody.distill.dwpose import finish as finish_module
from wholebody.distill.dwpose import train as train_module
from wholebody.distill.dwpose.batches import CROPS_A_SCENE, batches
from wholebody.distill.dwpose.finish import finish
from wholebody.distill.dwpose.train import MINI, train
from wholebody.distill.scenes import Scenes, render_shard
from wholebody.export.student_file import read_student
from wholebody.export.students.rtmpose import RtmPose, RtmPoseConfig
from wholebody.runtime.skeletons import WHOLEBODY133

SIDE = 192
CONFIG = RtmPoseConfig(deepen=0.1, widen=0.125, height=64, width=64, kernel=1, hidden=32, key=16)


def render_scene(seed: int, size: tuple[int, int]) -> SimpleNamespace:
    """Two people as scattered joints, the second too hidden; in every fourth scene only that one."""
    rng = np.random.default_rng(seed)

    def person(shown: int) -> SimpleNamespace:
        values: dict[str, Any] = {}
        for suffix, joints in (("", 139), ("133", 133)):
            values[f"keypoints{suffix}"] = rng.uniform(20, 170, (joints, 2)).astype(np.float32)
            values[f"keypoints3d{suffix}"] = np.zeros((joints, 3), np.float32)
            values[f"visible{suffix}"] = np.arange(joints) < shown
        return SimpleNamespace(**values)

    people = [person(100), person(3)] if seed % 4 else [person(3)]
    return SimpleNamespace(image=rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8), people=people)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with eight scenes; trainings are tiny, and all in this process."""
    monkeypatch.setattr(scenes, "render_scene", render_scene)
    monkeypatch.setattr(scenes, "SHARD", 8)
    for module, name, value in (
        (learning, "SAVE_EVERY", 2), (learning, "LOG_EVERY", 1), (train_module, "MINI", CONFIG),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(finish_module, "MINI", CONFIG)
    monkeypatch.setattr(train_module, "rendering", lambda folder, scenes, workers: nullcontext())
    (tmp_path / "scenes").mkdir()
    render_shard(tmp_path / "scenes", 0)
    return tmp_path


def run(work: Path, steps: int, batch: int = 8, start: Path | None = None) -> Path:
    return train(work, steps, 8, batch=batch, rate=1e-3, start=start, workers=0)


def steps_of(work: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (work / "log.jsonl").read_text().splitlines()]


def test_a_training_and_its_student(work: Path) -> None:
    assert run(work, 3) == work / "last.pt"
    assert steps_of(work) == [1, 2, 3]
    student = read_student(finish(work, work / "weights" / "mini.safetensors"))
    assert student.config == CONFIG
    assert student.notes == {
        "name": "dwpose-mini", "licence": "Apache-2.0", "data": "rendered people", "steps": 3,
    }  # fmt: skip
    network = RtmPose(CONFIG)
    network.load_state_dict({**network.state_dict(), **student.tensors})
    with torch.no_grad():
        assert all(torch.isfinite(output).all() for output in network.eval()(torch.randn(1, 3, 64, 64)))
    assert not list(work.rglob("*.part*"))


def test_a_training_that_was_stopped_ends_where_it_would_have(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(work, 4)
    through = torch.load(work / "last.pt", weights_only=True)
    (work / "last.pt").unlink()

    def killed(*arguments: object) -> Iterator[object]:
        if arguments[2] == 2:
            raise KeyboardInterrupt
        yield from batches(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "batches", killed)
        with pytest.raises(KeyboardInterrupt):
            run(work, 4)
    assert torch.load(work / "last.pt", weights_only=True)["step"] == 2
    run(work, 4)
    resumed = torch.load(work / "last.pt", weights_only=True)
    assert resumed["step"] == through["step"] == 4
    for kind in ("network", "ema"):
        for name, tensor in through[kind].items():
            assert torch.equal(resumed[kind][name], tensor), (kind, name)


def test_a_training_goes_on_from_a_student(work: Path) -> None:
    run(work, 2)
    student = finish(work, work / "mini.safetensors")
    (work / "last.pt").unlink()
    run(work, 0, start=student)
    run(work, 1, start=student)
    kept = torch.load(work / "last.pt", weights_only=True)["network"]
    torch.testing.assert_close(
        kept["backbone.stem.0.conv.weight"], read_student(student).tensors["backbone.stem.0.conv.weight"],
        atol=1e-4, rtol=0,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [0, CROPS_A_SCENE + 1])
def test_a_batch_of_no_whole_scenes_is_refused(work: Path, batch: int) -> None:
    with pytest.raises(ValueError, match=rf"batch is {batch}; allowed are multiples of {CROPS_A_SCENE}"):
        run(work, 1, batch=batch)


def test_batches_are_drawn_anew_each_step_and_the_same_for_a_seed(work: Path) -> None:
    stock = Scenes(work / "scenes", WHOLEBODY133)
    whole, later = (list(batches(stock, (64, 64), first, 3, 8, 1, 0)) for first in (0, 1))
    assert [len(b) for b in (whole, later)] == [3, 2]
    for batch, again in zip(whole[1:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert len({image.numpy().tobytes() for batch in whole for image in batch.images}) == 24
    assert whole[0].images.shape == (8, 64, 64, 3)
    assert (whole[0].presence == 2).sum(dim=1).min() > 3  # never of one who is too hidden


def test_the_bundled_student_is_small() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in RtmPose(MINI).parameters()) < 6e6
