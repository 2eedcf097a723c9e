"""The demo on a few of its pictures: every promise of its docstring."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from wholebody import demo
from wholebody.demo import DemoReport, calibration_pictures, run_demo
from wholebody.export.zoo import bundled, bundled_source
from wholebody.runtime.artefact import read_artefact
from wholebody.runtime.errors import CheckpointError, SourceError
from wholebody.runtime.media import read_image, write_image
from wholebody.runtime.records import read_records

PICTURES = 3


@pytest.fixture(scope="module")
def told() -> io.StringIO:
    """What the demo says on its console."""
    return io.StringIO()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of the user's own under the name of a bundled one: flat, so that every proposal is a tie."""
    path = tmp_path_factory.mktemp("own") / calibration_pictures()[0].name
    write_image(path, np.full((120, 200, 3), 128, np.uint8))
    return path


@pytest.fixture(scope="module")
def report(
    bundled_weights: Path, own: Path, told: io.StringIO, tmp_path_factory: pytest.TempPathFactory
) -> DemoReport:
    output = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(output, own, pictures=PICTURES, threads=1, console=Console(file=told, width=200))


def test_the_calibration_set_is_there() -> None:
    assert len(calibration_pictures()) >= 50


def test_what_is_written(report: DemoReport) -> None:
    output = report.student.parent
    names = {"dope-mini.onnx", "dope-mini.json", "people.jsonl", "report.json", "report.md"}
    assert {path.name for path in output.iterdir()} == names | {path.name for path in report.drawn}
    assert len(report.drawn) == PICTURES + 1  # two of them have the same name in other folders


def test_the_student_carries_its_certificate(report: DemoReport, bundled_weights: Path) -> None:
    spec = read_artefact(report.student).spec
    assert (spec.name, spec.weights.source) == ("dope-mini", bundled_weights.name)
    assert spec.certificate is not None
    assert spec.certificate["pass"]
    assert spec.certificate["pictures"] == PICTURES
    assert report.certificate.pictures == PICTURES + 1  # the user's own is measured, but stops no export


def test_people_are_found_and_drawn(report: DemoReport, own: Path) -> None:
    records = list(read_records(report.student.with_name("people.jsonl")))
    assert [Path(r.source) for r in records] == [own, *calibration_pictures()[:PICTURES]]
    assert sum(len(r.people) for r in records) == report.people
    assert report.people >= PICTURES  # every bundled picture has somebody on it
    for record, path in zip(records, report.drawn, strict=True):
        drawn = read_image(path)
        assert drawn.shape[1] > record.width * drawn.shape[0] / record.height  # the 3D panel is beside it


def test_the_report(report: DemoReport, told: io.StringIO) -> None:
    data = json.loads(report.student.with_name("report.json").read_text("utf-8"))
    assert data["pictures"] == PICTURES + 1
    assert set(data["times_ms"]) == {"ONNX Runtime", "PyTorch"}
    text = report.student.with_name("report.md").read_text("utf-8")
    assert f"{report.people} people in {PICTURES + 1} pictures" in text
    assert all(f"]({path.name})" in text for path in report.drawn)
    assert "budget" in told.getvalue()
    assert f"found {report.people} people" in told.getvalue()
    times = report.times_ms["ONNX Runtime"]
    assert all(times[stage] > 0 for stage in ("preprocess", "network", "postprocess", "total"))


def test_the_table(report: DemoReport) -> None:
    shown = io.StringIO()
    Console(file=shown, width=80).print(report)
    lines = shown.getvalue().splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["ONNX", "PyTorch"]


@pytest.mark.parametrize("what", ["picture", "output"])
def test_nothing_is_exported_where_the_rest_would_fail(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "export_dope", None)
    (tmp_path / "file").write_text("no folder")
    output, picture = tmp_path / "out", None
    if what == "picture":
        picture = tmp_path / "nowhere.jpg"
    else:
        output = tmp_path / "file" / "out"
    with pytest.raises(SourceError):
        run_demo(output, picture)
    assert not list(tmp_path.rglob("*.onnx"))


def test_weights_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("wholebody.export.zoo._weights", lambda name: tmp_path / name)
    with pytest.raises(
        CheckpointError, match="the weights of dope-mini are missing; install wholebody again"
    ):
        run_demo(tmp_path / "out")
    assert bundled_source("0" * 64) is None


def test_a_student_finds_its_bundled_weights(bundled_weights: Path) -> None:
    assert bundled_source(hashlib.sha256(bundled_weights.read_bytes()).hexdigest()) == bundled_weights
    assert bundled_source("0" * 64) is None


def test_a_student_that_does_not_come_with_wholebody() -> None:
    with pytest.raises(CheckpointError, match="no bundled student 'dope-maxi'; there are: dope-mini"):
        bundled("dope-maxi")
