"""A training from scenes to the student's file, small enough for a test, and taken up where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from wholebody.distill import learning, scenes
from wholebody.distill.dope import finish as finish_module
from wholebody.distill.dope import train as train_module
from wholebody.distill.dope.finish import PPI, finish
from wholebody.distill.dope.train import MINI, train
from wholebody.distill.scenes import render_shard
from wholebody.distill.state import averaged_weights
from wholebody.export.checkpoints import load_checkpoint
from wholebody.export.student_file import read_student
from wholebody.export.students.dope import Dope, DopeConfig

SIDE = 96
CONFIG = DopeConfig(
    width=4, blocks=(1, 1, 1, 1), c4_stride=8, rpn_width=8, anchor_sizes=(16, 48),
    classes={"body": 4, "hand": 4, "face": 2}, candidates=40, proposals=10, min_size=SIDE, max_size=SIDE,
)  # fmt: skip


def render_scene(seed: int, size: tuple[int, int]) -> SimpleNamespace:
    """Two people as scattered joints, the second without legs in the picture."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(5, 90, (2, 139, 2)).astype(np.float32)
    pixels[1, :4, 1] += 200
    metres = rng.normal(0, 0.3, (2, 139, 3)).astype(np.float32)
    people = [
        SimpleNamespace(
            keypoints=p, keypoints3d=m, visible=np.ones(139, bool),
            keypoints133=p[:133], keypoints3d133=m[:133], visible133=np.ones(133, bool),
        )
        for p, m in zip(pixels, metres, strict=True)
    ]  # fmt: skip
    return SimpleNamespace(image=rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8), people=people)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with eight scenes; trainings are tiny, and on the CPU, where the same steps end the same."""
    monkeypatch.setattr(scenes, "render_scene", render_scene)
    monkeypatch.setattr(scenes, "SHARD", 8)
    for module, name, value in (
        (learning, "SAVE_EVERY", 2), (learning, "LOG_EVERY", 1),
        (train_module, "CLUSTERED_SCENES", 8), (train_module, "MINI", CONFIG),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(finish_module, "MINI", CONFIG)
    monkeypatch.setattr(train_module, "rendering", lambda folder, scenes, processes: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "scenes").mkdir()
    render_shard(tmp_path / "scenes", 0)
    threads = cv2.getNumThreads(), torch.get_num_threads()
    torch.set_num_threads(1)  # quicker for tensors as small as these
    yield tmp_path
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def trained(work: Path, steps: int, *, rate: float = 1e-3, workers: int = 0, **options: Any) -> Path:
    return train(work, steps, 8, batch=2, rate=rate, workers=workers, **options)


def log_of(work: Path, key: str = "step") -> list[Any]:
    return [json.loads(line)[key] for line in (work / "log.jsonl").read_text().splitlines()]


def kept(work: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(work / "last.pt", weights_only=True)
    return state


def assert_same(state: dict[str, Any], other: dict[str, Any]) -> None:
    assert state["step"] == other["step"]
    for kind in ("network", "auxiliary", "ema"):
        for name, tensor in state[kind].items():
            assert torch.equal(other[kind][name], tensor), (kind, name)


def test_a_training_and_its_student(work: Path) -> None:
    last = trained(work, 3)
    assert last == work / "last.pt"
    assert log_of(work) == [1, 2, 3]
    assert not list(work.rglob("*.part*"))

    student = finish(work, work / "weights" / "mini.safetensors")
    checkpoint = load_checkpoint(student)
    assert isinstance(checkpoint.network, Dope)
    assert checkpoint.network.config == CONFIG
    weights, steps = averaged_weights(last)
    assert steps == 3
    network = Dope(CONFIG)
    network.load_state_dict(weights)
    network.eval()
    image, size = torch.randn(1, 3, SIDE, SIDE), torch.tensor([float(SIDE), SIDE])
    with torch.no_grad():
        expected = network.backbone.features(image)
        found = checkpoint.network.backbone.features(image)
        assert all(torch.isfinite(output).all() for output in checkpoint.network(image, size))
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)  # the file's weights are FP16


def test_the_student_has_its_options_of_the_integration(work: Path) -> None:
    """K poses of either group, as the classes were clustered."""
    trained(work, 1)
    ppi = read_student(finish(work, work / "mini.safetensors")).ppi
    assert {part: options["K"] for part, options in ppi.items()} == {"body": 2, "hand": 2, "face": 2}
    for part, options in PPI.items():
        assert options.items() <= ppi[part].items()


def interrupted(work: Path, monkeypatch: pytest.MonkeyPatch, steps: int, after: int) -> None:
    """A training killed in the step that follows `after`."""
    original, drawn = train_module.batches, 0

    def stopping(*arguments: Any) -> Iterator[Any]:
        nonlocal drawn
        for batch in original(*arguments):
            if drawn == after:
                raise KeyboardInterrupt
            drawn += 1
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "batches", stopping)
        with pytest.raises(KeyboardInterrupt):
            trained(work, steps)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # torch's threads
@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_was_stopped_ends_where_it_would_have(
    work: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Whoever draws its batches."""
    trained(work, 5)
    through = kept(work)
    (work / "last.pt").unlink()
    (work / "log.jsonl").unlink()
    interrupted(work, monkeypatch, 5, after=3)
    assert kept(work)["step"] == 2  # the last that was kept
    assert log_of(work) == [1, 2, 3]
    trained(work, 5, workers=workers)
    assert log_of(work) == [1, 2, 3, 3, 4, 5]
    assert_same(kept(work), through)


def test_a_finished_training_takes_no_further_step(work: Path) -> None:
    trained(work, 2)
    before = (work / "last.pt").read_bytes()
    trained(work, 2)
    assert (work / "last.pt").read_bytes() == before
    assert log_of(work) == [1, 2]


def test_another_seed_is_another_training(work: Path) -> None:
    trained(work, 1)
    one = kept(work)
    for seed, same in ((train_module.SEED, True), (2, False)):
        (work / "last.pt").unlink()
        trained(work, 1, seed=seed)
        name = "backbone.conv1.weight"
        assert torch.equal(kept(work)["network"][name], one["network"][name]) == same


def test_scenes_rendered_meanwhile_are_taken_in_at_each_save(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = train_module.batches

    def rendering_too(*arguments: Any) -> Iterator[Any]:
        render_shard(work / "scenes", 8)
        return original(*arguments)

    monkeypatch.setattr(train_module, "batches", rendering_too)
    trained(work, 4)
    assert log_of(work, "scenes") == [8, 8, 16, 16]


def test_a_training_goes_on_from_a_student(work: Path) -> None:
    """With its anchor poses; the first step of a warm-up hardly moves it."""
    trained(work, 2, rate=0.1)
    student = finish(work, work / "mini.safetensors")
    weights, _ = averaged_weights(work / "last.pt")
    (work / "last.pt").unlink()
    trained(work, 1, rate=1e-6, start=student)
    for name, tensor in kept(work)["network"].items():
        if tensor.is_floating_point() and "running" not in name:
            torch.testing.assert_close(tensor, weights[name], rtol=1e-3, atol=1e-5, msg=name)


def test_the_bundled_student_fits_its_scenes() -> None:
    assert MINI.min_size == MINI.max_size == scenes.SIDE
    assert scenes.SIDE % MINI.c4_stride == 0
    assert MINI.classes["body"] % 2 == MINI.classes["hand"] % 2 == 0  # both groups have as many
    assert set(PPI) == set(MINI.classes)
