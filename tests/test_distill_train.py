"""A training from scenes to the student's file, small enough for a test, and taken up where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wholebody.distill import batches as batches_module
from wholebody.distill import finish as finish_module
from wholebody.distill import scenes, train_mini
from wholebody.distill.batches import batches
from wholebody.distill.finish import finish
from wholebody.distill.scenes import Scenes, render_shard
from wholebody.distill.state import averaged_network
from wholebody.distill.train_mini import MINI, train
from wholebody.export.checkpoints import load_checkpoint
from wholebody.export.students.dope import DopeConfig

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
        SimpleNamespace(keypoints=p, keypoints3d=m, visible=np.ones(139, bool))
        for p, m in zip(pixels, metres, strict=True)
    ]
    return SimpleNamespace(image=rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8), people=people)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with eight scenes; trainings are tiny, of one process, which is this one."""

    def spawn(function: Callable[..., None], arguments: tuple[Any, ...], nprocs: int) -> None:
        assert nprocs == 1
        function(0, *arguments)

    monkeypatch.setattr(scenes, "render_scene", render_scene)
    monkeypatch.setattr(scenes, "SHARD", 8)
    for name, value in (("BATCH", 2), ("SAVE_EVERY", 2), ("LOG_EVERY", 1), ("CLUSTERED_SCENES", 8)):
        monkeypatch.setattr(train_mini, name, value)
    monkeypatch.setattr(train_mini, "MINI", CONFIG)
    monkeypatch.setattr(finish_module, "MINI", CONFIG)
    monkeypatch.setattr(train_mini, "rendering", lambda folder, scenes: nullcontext())
    monkeypatch.setattr(train_mini, "spawn", spawn)
    (tmp_path / "scenes").mkdir()
    render_shard(tmp_path / "scenes", 0)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def steps_of(work: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (work / "log.jsonl").read_text().splitlines()]


def test_a_training_and_its_student(work: Path) -> None:
    last = train(work, steps=3, scenes=8, processes=1)
    assert last == work / "last.pt"
    assert steps_of(work) == [1, 2, 3]
    assert not list(work.rglob("*.part*"))

    student = finish(work, work / "weights" / "mini.safetensors")
    checkpoint = load_checkpoint(student)
    assert checkpoint.network.config == CONFIG
    assert {part: options["K"] for part, options in checkpoint.ppi.items()} == {
        "body": 2,
        "hand": 2,
        "face": 2,
    }
    trained, steps = averaged_network(last, CONFIG)
    assert steps == 3
    image, size = torch.randn(1, 3, SIDE, SIDE), torch.tensor([float(SIDE), SIDE])
    with torch.no_grad():
        expected = trained.backbone.features(image)
        found = checkpoint.network.backbone.features(image)
        assert all(torch.isfinite(output).all() for output in checkpoint.network(image, size))
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)  # the file's weights are FP16


def test_a_training_that_was_stopped_ends_where_it_would_have(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(work, steps=4, scenes=8, processes=1)
    through = torch.load(work / "last.pt", weights_only=True)
    (work / "last.pt").unlink()

    def stopping(stock: Any, state: Any, last: int, count: int, seed: list[int]) -> Any:
        return batches(stock, state, 3, count, seed)

    with monkeypatch.context() as patch:
        patch.setattr(train_mini, "batches", stopping)
        train(work, steps=4, scenes=8, processes=1)  # killed after the third step: the second was kept
    assert torch.load(work / "last.pt", weights_only=True)["step"] == 2
    train(work, steps=4, scenes=8, processes=1)
    resumed = torch.load(work / "last.pt", weights_only=True)
    assert resumed["step"] == through["step"] == 4
    for kind in ("network", "auxiliary", "ema"):
        for name, tensor in through[kind].items():
            assert torch.equal(resumed[kind][name], tensor), (kind, name)


def test_a_finished_training_takes_no_further_step(work: Path) -> None:
    train(work, steps=2, scenes=8, processes=1)
    before = (work / "last.pt").read_bytes()
    train(work, steps=2, scenes=8, processes=1)
    assert (work / "last.pt").read_bytes() == before
    assert steps_of(work) == [1, 2]


def test_batches_are_drawn_anew_each_step_and_the_same_for_a_seed(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(work, steps=2, scenes=8, processes=1)
    network, _ = averaged_network(work / "last.pt", CONFIG)
    stock = Scenes(work / "scenes")

    def drawn(first: int, seed: list[int]) -> list[Any]:
        state: Any = SimpleNamespace(step=first, network=network)
        return [(images, torch.rand(1)) for images, *_ in batches(stock, state, 3, 2, seed)]

    whole, later, other = drawn(0, [1, 0]), drawn(1, [1, 0]), drawn(0, [1, 1])
    assert [len(b) for b in (whole, later, other)] == [3, 2, 3]
    for (images, chance), (again, same_chance) in zip(whole[1:], later, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(chance, same_chance)
    pictures = {
        image.numpy().tobytes() for batch in (whole, other) for images, _ in batch for image in images
    }
    assert len(pictures) == 12
    assert whole[0][0].shape == (2, 3, SIDE, SIDE)


def test_pictures_are_normalised_rgb(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "augment", lambda sample, rng: sample)
    train(work, steps=1, scenes=8, processes=1)
    network, _ = averaged_network(work / "last.pt", CONFIG)
    stock = Scenes(work / "scenes")
    state: Any = SimpleNamespace(step=0, network=network)
    images = next(iter(batches(stock, state, 1, 1, [0])))[0]
    colours = (images[0].permute(1, 2, 0).numpy() * (0.229, 0.224, 0.225) + (0.485, 0.456, 0.406)) * 255
    assert min(np.abs(colours[..., ::-1] - sample.image).max() for sample in stock) < 1e-2


def test_the_bundled_student_fits_its_scenes() -> None:
    assert MINI.min_size == MINI.max_size == scenes.SIDE
    assert MINI.classes["body"] % 2 == MINI.classes["hand"] % 2 == 0  # both groups have as many
