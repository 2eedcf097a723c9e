"""`wholebody bench accuracy`: its table, its file of runs, and a line for what is wrong."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wholebody import cli
from wholebody.benchmarks.runs import read_runs
from wholebody.runtime.artefact import sidecar_path

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def accuracy(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], constant_student: Path, tmp_path: Path
) -> Command:
    """`accuracy("--pictures", 1)`: exit code, standard output and error, in a folder with student.onnx."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_stop_on_signals", lambda: None)
    for path in (constant_student, sidecar_path(constant_student)):
        shutil.copy(path, tmp_path / f"student{path.suffix}")

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["wholebody", "bench", "accuracy", "student.onnx", *map(str, arguments)]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def test_a_table_and_a_run(accuracy: Command) -> None:
    small = ("--pictures", 2, "--picture-size", "96x128", "--runs", "runs.jsonl")
    code, table, said = accuracy(*small)
    assert (code, said) == (0, "")
    assert table.startswith("Accuracy of constant (fp32, SHA-256 ")
    (run,) = read_runs(Path("runs.jsonl"))
    assert run["command"].endswith(
        "bench accuracy student.onnx --pictures 2 --picture-size 96x128 --runs runs.jsonl"
    )
    code, again, said = accuracy(*small)
    assert (code, again) == (0, table)
    assert said.startswith("measured already, on 20")
    assert len(read_runs(Path("runs.jsonl"))) == 1


def test_rendered_people_need_no_extra(accuracy: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """AP on photographs alone takes faster-coco-eval."""
    for name in [name for name in sys.modules if name.startswith("wholebody.benchmarks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert accuracy("--pictures", 1)[0] == 0
    code, _, said = accuracy("--dataset", "coco", "--annotations", "x.json")
    assert code == 2
    assert "pip install 'wholebody[bench]'" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--dataset", "coca"), "no data set 'coca'; there are: synthetic"),
        (
            ("--dataset", "stb"),
            "--dataset stb needs --data: the folder of Stereo Hand Pose (STB), which is had at",
        ),
        (("--picture-size", "96"), "--picture-size is '96'; it must be HEIGHTxWIDTH"),
        (("--runs", "student.json"), "cannot write student.json: it is what is measured"),
        (("--worst", "student.json"), "cannot write student.json: File exists"),
        (("--reference", "none.pth"), "none.pth: no such checkpoint file"),
        (("--detector", "d.onnx"), "student.onnx finds people by itself"),
    ],
)
def test_what_is_wrong(accuracy: Command, options: tuple[str, ...], told: str) -> None:
    code, table, said = accuracy(*options)
    assert (code, table, said.count("\n")) == (2, "", 1)
    assert said.startswith("error: ")
    assert told in said
