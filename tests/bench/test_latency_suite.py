"""The latency suite from files to lines and tables, with worker processes of their own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest

from wholebody.benchmarks.latency import suite as suites
from wholebody.benchmarks.latency.contenders import Contender, read_network
from wholebody.benchmarks.latency.crew import Crew
from wholebody.benchmarks.latency.process import WorkerProcess, WorkerStopped
from wholebody.benchmarks.latency.scenes import Scene
from wholebody.benchmarks.latency.suite import Suite, measure
from wholebody.benchmarks.latency.table import markdown
from wholebody.benchmarks.latency.turns import take_turns
from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.runs import read_runs
from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import JOINTS, PARTS, Dope
from wholebody.runtime.artefact import write_artefact
from wholebody.runtime.errors import ArtefactError, BackendError, SourceError, WholebodyError
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

HEIGHT, WIDTH, PROPOSALS = 96, 128, 20


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (100, 120, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{i}.png"), noise)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny_dope: Callable[..., Dope], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latency") / "tiny.safetensors"
    save_student(tiny_dope(proposals=PROPOSALS), path, {}, name="tiny")
    return path


@pytest.fixture(scope="module")
def student(checkpoint: Path, constant_onnx: Callable[..., Path]) -> Path:
    """An ONNX file that finds nobody, says it came from the checkpoint, and has no certificate."""
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
def measured(student: Path, checkpoint: Path, images: Path) -> tuple[list[dict[str, Any]], list[str], Path]:
    """Student and checkpoint, free and paced: the runs, what was told, and the file."""
    told: list[str] = []
    file = student.with_name("runs.jsonl")
    asked = Suite([student], against=checkpoint, images=images, hertz=[400], seconds=0.05, threads=1)
    return measure(asked, file, told.append), told, file


def test_both_are_timed_alike(measured: tuple[list[dict[str, Any]], list[str], Path]) -> None:
    runs, _, _ = measured
    assert [run["model"]["file"] for run in runs] == ["tiny.onnx", "tiny.safetensors"] * 2
    assert len({run["group"] for run in runs}) == 2
    assert len({run["id"] for run in runs}) == 4
    for run in runs:
        assert run["rounds"] == len(run["times"]) == len(run["network_times"]) >= 5
        assert run["samples"] == sum(map(len, run["times"]))
        assert run["settings"]["proposals"] == PROPOSALS
        assert run["settings"]["size"] == [100, 120]
        assert run["memory"]["host_peak_mb"] > 10
        assert min(run["cold_start"].values()) > 0
        assert run["found"] is not None
    assert [run["settings"]["pace_hz"] for run in runs] == [None, None, 400, 400]
    ours, theirs = runs[:2]
    assert (ours["model"]["verified"], ours["backend"]) == (None, "onnxruntime:CPUExecutionProvider")
    assert theirs["backend"].startswith("pytorch:")
    assert theirs["over"] is None
    assert ours["over"]["id"] == theirs["id"]
    assert ours["over"]["network"][1] > 1  # constants against a network
    assert "decode" in ours["ms"]
    assert "decode" not in runs[2]["ms"]
    assert list(theirs["network_stages"]) == [
        "backbone",
        "rpn",
        "proposals",
        "roi_align",
        "head",
        "predictors",
    ]


def test_what_is_told(measured: tuple[list[dict[str, Any]], list[str], Path]) -> None:
    assert measured[1] == [
        "tiny.onnx has no certificate: nothing tells that it does what PyTorch did",
        "1 of 2: whole frames, 2 in turns",
        "2 of 2: 400 frames a second, 2 in turns",
    ]


def test_the_file_holds_it_as_the_report_reads_it(
    measured: tuple[list[dict[str, Any]], list[str], Path],
) -> None:
    runs, _, file = measured
    assert [{"format": 1, **run} for run in runs] == read_runs(file)
    recorded = load_runs([file])
    assert [run.id for run in recorded] == [run["id"] for run in runs]
    assert recorded[0].machine["host"]


def test_the_tables(measured: tuple[list[dict[str, Any]], list[str], Path]) -> None:
    text = markdown(measured[0])
    assert text.startswith("Latency of tiny (fp32):")
    assert " as tiny.safetensors on pytorch |" in text
    assert "| roi_align |" in text
    assert "% late" in text
    for table in text.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def taken_turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of scenes that were measured; nobody is started for it."""
    taken: list[str] = []

    def write_down(members: object, scene: Scene, *_: object, **__: object) -> dict[Contender, Any]:
        taken.append(scene.title)
        return {}

    monkeypatch.setattr(Crew, "members", lambda *_: {})
    monkeypatch.setattr(suites, "take_turns", write_down)
    return taken


def test_a_killed_run_goes_on_at_the_next_group(
    measured: tuple[list[dict[str, Any]], list[str], Path],
    student: Path,
    checkpoint: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, _, whole = measured
    file, lines = tmp_path / "killed.jsonl", whole.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:100])
    taken = taken_turns(monkeypatch)
    asked = Suite([student], against=checkpoint, images=images, hertz=[400], seconds=0.05, threads=1)
    found = measure(asked, file)
    assert taken == ["400 frames a second"]
    assert [run["id"] for run in found] == [run["id"] for run in runs[:2]]


def test_everything_is_in_the_file_and_nobody_is_started(
    measured: tuple[list[dict[str, Any]], list[str], Path],
    student: Path,
    checkpoint: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Crew, "members", lambda *_: pytest.fail("somebody was started"))
    asked = Suite([student], against=checkpoint, images=images, hertz=[400], seconds=0.05, threads=1)
    before = measured[2].read_bytes()
    assert len(measure(asked, measured[2])) == 4
    assert measured[2].read_bytes() == before


def test_another_machine_measures_again(
    measured: tuple[list[dict[str, Any]], list[str], Path], student: Path, checkpoint: Path, images: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = tmp_path / "others.jsonl"
    lines = [{**run, "machine": {**run["machine"], "host": "elsewhere"}} for run in read_runs(measured[2])]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    taken = taken_turns(monkeypatch)
    asked = Suite([student], against=checkpoint, images=images, hertz=[400], seconds=0.05, threads=1)
    with pytest.raises(BackendError, match="nothing could be measured"):
        measure(asked, file)
    assert len(taken) == 2


def test_a_backend_that_is_not_here_leaves_the_others(constant_student: Path, images: Path) -> None:
    told: list[str] = []
    backends = ["onnxruntime", "onnxruntime:NoSuchProvider", "tensorrt"]
    runs = measure(
        Suite([constant_student], backends=backends, images=images, seconds=0.05), tell=told.append
    )
    assert [run["backend"] for run in runs] == ["onnxruntime:CPUExecutionProvider"]
    assert runs[0]["model"]["verified"] is True
    assert runs[0]["found"] == 1
    assert [line.endswith("; left out") for line in told] == [False, True, True]
    assert told[1].startswith(
        "constant.onnx on onnxruntime:NoSuchProvider: this onnxruntime has no NoSuchProvider"
    )


def test_nobody_can_run(constant_student: Path, images: Path) -> None:
    asked = Suite([constant_student], backends=["onnxruntime:NoSuchProvider"], images=images, seconds=0.05)
    with pytest.raises(BackendError, match=r"nothing could be measured: .*NoSuchProvider"):
        measure(asked)


# --- refusals -----------------------------------------------------------------------------------------------


def refused(
    error: type[Exception], match: str, *models: Path, runs: Path | None = None, **options: Any
) -> None:
    with pytest.raises(error, match=match) as caught:
        measure(Suite(models, **{"seconds": 0.05, **options}), runs)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_allowed(constant_student: Path) -> None:
    refused(WholebodyError, "--people is 17; allowed are 0 to 16", constant_student, people=[17])
    refused(WholebodyError, "--people is -1", constant_student, people=[-1])
    refused(WholebodyError, "--batch is 0; allowed are 1 to", constant_student, batches=[0])
    refused(WholebodyError, "--proposals is 0", constant_student, proposals=[0])
    refused(WholebodyError, "--pace is 0; allowed are 0.1 to", constant_student, hertz=[0.0])
    refused(WholebodyError, "--pace is nan", constant_student, hertz=[float("nan")])
    refused(WholebodyError, "--threads is 0", constant_student, threads=0)
    refused(WholebodyError, "no model")


def test_what_does_not_belong_together(constant_student: Path, tmp_path: Path) -> None:
    refused(WholebodyError, "--batch is of crops", constant_student, batches=[1])
    refused(BackendError, "unknown backend 'cpu'; allowed are auto", constant_student, backends=["cpu"])
    refused(BackendError, "pytorch runs a file of kind checkpoint", constant_student, backends=["pytorch"])
    refused(ArtefactError, "is a student, constant; --detector", constant_student, detector=constant_student)


@pytest.mark.parametrize(
    "name", ["", "auto:1", "tensorrt:x", "onnxruntime:", "pytorch:gpu", "torch.compile:cuda:x"]
)
def test_backends_that_nobody_has(constant_student: Path, name: str) -> None:
    refused(BackendError, "unknown backend", constant_student, backends=[name])


def test_files_that_are_no_students(constant_student: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    refused(ArtefactError, "is no network known here", text)
    refused(ArtefactError, "no such file", tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(constant_student.read_bytes()[:100])
    refused(ArtefactError, "broken.onnx", broken)
    checkpoint = tmp_path / "broken.pth"
    checkpoint.write_bytes(b"nothing")
    refused(WholebodyError, "broken.pth", checkpoint)


def test_pictures_and_places_that_are_not_there(
    constant_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(SourceError, "nowhere", constant_student, images=tmp_path / "nowhere")
    refused(SourceError, "cannot write", constant_student, runs=tmp_path / "no" / "runs.jsonl")
    refused(SourceError, "it is what is measured", constant_student, runs=constant_student)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "locked.jsonl").touch()
    refused(SourceError, "it is read-only", constant_student, runs=tmp_path / "locked.jsonl")
    monkeypatch.undo()
    old = tmp_path / "old.jsonl"
    old.write_text('{"format": 0}\n')
    refused(SourceError, "of format 0, this version reads 1", constant_student, runs=old)


# --- workers ------------------------------------------------------------------------------------------------


def nobody(path: Path) -> NoReturn:
    pytest.fail(f"{path} is no checkpoint")


@pytest.fixture
def scene() -> Scene:
    return Scene("grey", (np.full((96, 128, 3), 128, np.uint8),), None)


def test_a_worker_that_is_killed_is_told_of_in_one_line(constant_student: Path, scene: Scene) -> None:
    contender = Contender(read_network(constant_student, [], nobody), "auto")
    with WorkerProcess(contender.title, 1) as process:
        process.start(contender, None, 1)
        assert process.ask("first", scene) > 0
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(
            WorkerStopped, match=r"the process of constant\.onnx on auto was ended by signal 9"
        ):
            process.ask("first", scene)
        assert not process.alive


def test_ctrl_c_does_not_reach_a_worker(constant_student: Path) -> None:
    with WorkerProcess("x", 1) as process:
        assert os.getpgid(process.pid) != os.getpgid(0)


def test_a_worker_ends_with_whoever_started_it() -> None:
    process = WorkerProcess("x", 1)
    process.close()
    assert not process.alive
    process.kill()  # once more does no harm


def test_an_error_inside_is_one_line_and_the_worker_lives(constant_student: Path, scene: Scene) -> None:
    contender = Contender(read_network(constant_student, [], nobody), "auto")
    with WorkerProcess(contender.title, 1) as process:
        process.start(contender, None, 1)
        wrong = replace(scene, pictures=(np.zeros((3, 3), np.uint8),))
        with pytest.raises(BackendError, match=r"constant\.onnx on auto failed: ValueError: the picture is"):
            process.ask("first", wrong)
        assert process.ask("first", scene) > 0


def test_paced_frames_wait_for_their_turn(constant_student: Path, scene: Scene) -> None:
    contender = Contender(read_network(constant_student, [], nobody), "auto")
    with WorkerProcess(contender.title, 1) as process:
        process.start(contender, None, 1)
        process.ask("prepare", replace(scene, pace_hz=20), 0.1)
        began = time.perf_counter()
        stages, times = process.ask("block", 0, 4)
        assert time.perf_counter() - began >= 4 / 20
        assert (times[:, stages.index("total")] < 50).all()


def test_ten_percent_are_added_where_asked_for(constant_student: Path, scene: Scene) -> None:
    network = read_network(constant_student, [], nobody)
    with WorkerProcess("x", 1) as process:
        process.start(Contender(network, "auto", slowed=5.0), None, 1)
        process.ask("prepare", scene, 0.1)
        stages, times = process.ask("block", 0, 5)
    parts = times[:, [stages.index(stage) for stage in ("preprocess", "postprocess")]].sum(axis=1)
    network_ms, total = (times[:, stages.index(stage)] for stage in ("network", "total"))
    assert (network_ms > total * 5 / 6 * 0.99).all()
    assert (parts + network_ms <= total).all()


def test_whose_process_died_is_not_asked_again(constant_student: Path, scene: Scene) -> None:
    told: list[str] = []
    network = read_network(constant_student, [], nobody)
    both = [Contender(network, "auto"), Contender(network, "onnxruntime")]
    with Crew(None, 1, told.append) as crew:
        members = crew.members(both, scene)
        os.kill(members[both[0]].process.pid, signal.SIGKILL)
        timed = take_turns(
            members, scene, 0.05, meters={}, device_memory=crew.device_memory, tell=told.append
        )
        assert list(timed) == list(crew.members(both, scene)) == [both[1]]
    assert told == ["grey: the process of constant.onnx on auto was ended by signal 9; left out"]
