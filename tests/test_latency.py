"""The latency benchmark: who runs when, what is counted, and what the numbers come to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from wholebody.benchmarks import latency
from wholebody.benchmarks.interleave import LEAST_ROUNDS, STAGES, WARM_UP, interleave, ratio_of_medians
from wholebody.benchmarks.latency import LatencyReport, measure
from wholebody.benchmarks.machine import Machine
from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.stages import run_in_stages, torch_threads
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import JOINTS, PARTS, Dope
from wholebody.runtime.artefact import write_artefact
from wholebody.runtime.errors import ArtefactError, BackendError, CheckpointError, SourceError
from wholebody.runtime.media import Image
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

HEIGHT, WIDTH, PROPOSALS = 96, 128, 20


class FakePose:
    """Takes so many milliseconds by its own account, and writes down what it was shown."""

    def __init__(self, name: str, diary: list[tuple[str, int]], network: float = 3.0) -> None:
        self.name, self.diary, self.network = name, diary, network

    def __call__(self, picture: Image) -> Any:
        self.diary.append((self.name, int(picture[0, 0, 0])))
        times = {"preprocess": 1.0, "network": self.network, "postprocess": 2.0}
        return SimpleNamespace(metadata={"times_ms": times})


def pictures(count: int) -> list[Image]:
    return [np.full((4, 4, 3), i, np.uint8) for i in range(count)]


# --- taking turns -------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever somebody looks at it."""
    now = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))


@pytest.mark.usefixtures("clock")
def test_turns_are_blocks_of_the_same_frames() -> None:
    diary: list[tuple[str, int]] = []
    poses = {name: cast("DopePose", FakePose(name, diary)) for name in "ab"}
    times = interleave(poses, pictures(7), 1000)
    turns = diary[2 * WARM_UP :]
    # the first frame of a block is shown twice: it is not counted at first
    first = [0, 0, 1, 2, 3, 4]
    second = [5, 5, 6, 0, 1, 2]
    assert turns[:24] == [(name, i) for block in (first, second) for name in "ab" for i in block]
    assert times["a"].shape == times["b"].shape
    assert times["a"].shape[1:] == (5, len(STAGES))
    assert times["a"].shape[0] * 12 == len(turns)
    assert set(times["a"][..., :3].reshape(-1, 3).sum(axis=1)) == {6.0}
    assert (times["a"][..., 3] == 1000).all()


@pytest.mark.usefixtures("clock")
def test_slow_networks_get_short_blocks_and_three_rounds() -> None:
    diary: list[tuple[str, int]] = []
    times = interleave({"a": cast("DopePose", FakePose("a", diary))}, pictures(2), 0.1)
    assert times["a"].shape == (LEAST_ROUNDS, 1, len(STAGES))
    assert len(diary) == WARM_UP + 2 * LEAST_ROUNDS


def test_the_ratio_of_medians() -> None:
    fast = np.array([[1.0, 2, 3], [2, 2, 100]])
    ratio = ratio_of_medians(3 * fast, fast)
    assert ratio.value == 3
    assert ratio.low == ratio.high == 3  # slow and fast of a round are resampled together
    assert str(ratio) == "3.00 (95 %: 3.00 to 3.00)"


def test_the_interval_holds_the_true_ratio() -> None:
    rng = np.random.default_rng(0)
    held, narrow = [], []
    for _ in range(40):
        weather = rng.lognormal(0, 0.3, (20, 1))  # slow and fast rounds
        slow, fast = (rng.lognormal(np.log(ms), 0.1, (20, 5)) * weather for ms in (20, 10))
        ratio = ratio_of_medians(slow, fast)
        held.append(ratio.low <= 2 <= ratio.high)
        narrow.append(ratio.low <= ratio.value <= ratio.high and ratio.high - ratio.low < 1)
    assert np.mean(held) >= 0.85
    assert all(narrow)


# --- a tiny student -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tiny_dope: Callable[..., Dope], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latency") / "tiny.safetensors"
    save_student(tiny_dope(proposals=PROPOSALS), path, {}, name="tiny")
    return path


@pytest.fixture(scope="module")
def student(checkpoint: Path, constant_onnx: Callable[..., Path]) -> Path:
    """An ONNX file that finds nobody, and says it came from the checkpoint."""
    loaded = load_checkpoint(checkpoint, DopeCheckpoint)
    classes = loaded.config.classes
    spec = StudentSpec(
        name="tiny",
        input=InputSpec(HEIGHT, WIDTH, HEIGHT, WIDTH, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        parts={p: PartSpec(JOINTS[p], classes[p], {"K": max(1, classes[p] // 2)}) for p in PARTS},
        weights=WeightsSpec(loaded.source, loaded.sha256, "none"),
    )
    shapes: dict[str, tuple[int, ...]] = {"boxes": (PROPOSALS, 4)}
    for part, k in classes.items():
        shapes[f"{part}_scores"] = (PROPOSALS, k + 1)
        shapes |= {f"{part}_pose{d}d": (PROPOSALS, k, JOINTS[part], d) for d in (2, 3)}
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return write_artefact(constant_onnx(checkpoint.with_name("tiny.onnx"), spec, zeros), spec).path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (100, 120, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{i}.png"), noise)
    return folder


@pytest.fixture(scope="module")
def report(student: Path, checkpoint: Path, images: Path) -> LatencyReport:
    return measure(student, against=checkpoint, images=images, seconds=0.05, threads=1)


def test_both_are_timed_alike(report: LatencyReport) -> None:
    assert list(report.times) == ["ONNX Runtime", "PyTorch"]
    ours, theirs = report.times.values()
    assert ours.shape == theirs.shape
    assert len(ours) >= LEAST_ROUNDS
    assert (ours > 0).all()
    assert (ours[..., :3].sum(axis=2) <= ours[..., 3]).all()
    assert set(report.ratios) == {"network", "total"}
    assert report.ratios["network"].value > 1  # constants against a network
    assert (report.threads, report.pictures, report.proposals) == (1, 2, PROPOSALS)
    assert report.backends["PyTorch"].startswith("pytorch:")


def test_the_breakdown_is_of_the_whole_network(report: LatencyReport) -> None:
    assert list(report.breakdown) == ["backbone", "rpn", "proposals", "roi_align", "head", "predictors"]
    assert min(report.breakdown.values()) > 0


def test_a_report_as_json_and_markdown(report: LatencyReport) -> None:
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["runners"]["PyTorch"]["total"]["p50"] == pytest.approx(
        np.median(report.times["PyTorch"][..., 3]), rel=1e-9
    )
    assert data["ratios"]["total"]["low"] <= data["ratios"]["total"]["high"]
    text = report.markdown()
    assert "| preprocess |" in text
    assert "| roi_align |" in text
    assert "PyTorch / ONNX Runtime, network: " in text
    table = [line for line in text.splitlines() if line.startswith(("| milli", "| total"))]
    assert [line.count("|") for line in table] == [8, 8]


def test_percentiles_pace_and_share_by_hand() -> None:
    frames = np.zeros((10, 10, 4))
    frames[..., 1] = np.arange(1, 101).reshape(10, 10)
    frames[..., 3] = frames[..., 1] + 50.5
    report = LatencyReport(
        student="x", sha256="0" * 64, precision="fp32", input_hw=(1, 2), proposals=3, threads=1, pictures=1,
        backends={"r": "b"}, times={"r": frames}, ratios={}, breakdown={}, machine=Machine.here(),
    )  # fmt: skip
    network = report.percentiles("r")["network"]
    assert network == pytest.approx({"p50": 50.5, "p90": 90.1, "p99": 99.01})
    assert report.frames_per_second("r") == pytest.approx(1000 / 101)
    assert report.outside_network("r") == pytest.approx(0.5)
    assert "100 frames in 10 rounds" in report.markdown()


def test_a_student_alone(student: Path, images: Path) -> None:
    report = measure(student, images=images, seconds=0.01, threads=1)
    assert list(report.times) == ["ONNX Runtime"]
    assert (report.ratios, report.breakdown) == ({}, {})
    assert "PyTorch" not in report.markdown()


def test_rendered_pictures_unless_told(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "PICTURES", 2)
    report = measure(student, seconds=0.01, threads=1)
    assert report.pictures == 2


def test_what_is_refused(student: Path, checkpoint: Path, images: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    loaded = load_checkpoint(checkpoint, DopeCheckpoint)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        save_student(Dope(loaded.config), other, {})
    with pytest.raises(ArtefactError, match=r"was exported from tiny\.safetensors"):
        measure(student, against=other, images=images, seconds=0.01, threads=1)
    with pytest.raises(CheckpointError):
        measure(student, against=tmp_path / "none.pth", images=images, seconds=0.01, threads=1)
    with pytest.raises(SourceError):
        measure(student, images=tmp_path / "nowhere", seconds=0.01, threads=1)
    with pytest.raises(BackendError, match="threads is 0"):
        measure(student, images=images, seconds=0.01, threads=0)


# --- the network's stages -----------------------------------------------------------------------------------


def test_the_stages_together_are_the_network(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope(proposals=7)
    image = np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)
    size = np.array([90, 120], np.float32)
    outputs, times = run_in_stages(network, image, size)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image), torch.from_numpy(size))
    for name, got, wanted in zip(expected._fields, outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, msg=name)
    assert all(ms > 0 for ms in times.values())


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError), torch_threads(before + 2):
        torch.zeros(2).add(torch.zeros(3))
    assert torch.get_num_threads() == before
