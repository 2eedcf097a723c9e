"""One measurement from a student's file to its line, its table and its worst pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.benchmarks.accuracy import measure as module
from wholebody.benchmarks.accuracy import measuring
from wholebody.benchmarks.accuracy.measure import measure
from wholebody.benchmarks.accuracy.opening import Asked
from wholebody.benchmarks.accuracy.table import markdown
from wholebody.benchmarks.runs import read_runs
from wholebody.runtime.artefact import sidecar_path
from wholebody.runtime.errors import ArtefactError, SourceError, WholebodyError
from wholebody.runtime.media import read_image
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

TWO = Asked("synthetic", pictures=2, size=(96, 128))


@pytest.fixture
def student(constant_student: Path, tmp_path: Path) -> Path:
    """A student that sees one body in every picture, in a folder of its own."""
    for path in (constant_student, sidecar_path(constant_student)):
        shutil.copy(path, tmp_path / f"student{path.suffix}")
    return tmp_path / "student.onnx"


def test_a_run(student: Path, tmp_path: Path) -> None:
    """As docs/runs.md says; the reference is the same student, so that nothing differs."""
    runs = tmp_path / "runs.jsonl"
    run = measure(student, TWO, reference=student, runs=runs, threads=1)
    assert read_runs(runs) == [{"format": 1, **run}]
    assert (run["kind"], run["id"], run["group"]) == ("accuracy", run["id"], run["id"])
    assert run["model"]["name"] == "constant"
    assert (run["model"]["verified"], run["detector"], run["threads"]) == (True, None, 1)
    assert run["backend"] == "onnxruntime:CPUExecutionProvider"
    assert run["settings"]["size"] == [96, 128]
    assert run["settings"]["pictures"] == run["dataset"]["sha256"]
    assert run["dataset"]["pictures"] == 2
    assert run["reference"]["sha256"] == run["model"]["sha256"]
    assert run["machine"]["cpu"]
    recall = run["metrics"]["body/recall"]
    value, low, high = recall["value"]
    assert low <= value <= high
    assert (recall["reference"], recall["difference"]) == (value, [0, 0, 0])
    assert recall["count"] > 0
    assert run["metrics"]["hand/mpjpe"]["value"] is None
    assert [each["file"] for each in run["worst"]] == [
        f"runs-worst/{run['id']}-{place:02d}.png" for place in (1, 2)
    ]
    for each in run["worst"]:
        sheet = read_image(tmp_path / each["file"])
        assert sheet.shape[1] > 3 * 128
        assert each["figure"] == each["reference"]


def test_what_is_there_is_not_measured_again(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs.jsonl"
    first = measure(student, TWO, runs=runs)
    with runs.open("a") as file:
        file.write('{"format": 1, "kind": "acc')  # another process was killed while it wrote
    asked: list[int] = []
    evaluate = measuring.evaluate

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(1)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(module, "evaluate", counted)
    again = measure(student, TWO, runs=runs)
    assert ({"format": 1, **first}, asked) == (again, [])
    others = Asked("synthetic", pictures=1, size=(96, 128)), Asked("synthetic", pictures=2, size=(128, 96))
    for other in others:
        measure(student, other, runs=runs)
    measure(student, TWO, runs=runs, reference=student)
    assert len(asked) == 3
    assert len({run["id"] for run in read_runs(runs)}) == 4


def test_without_a_reference(student: Path, tmp_path: Path) -> None:
    run = measure(student, TWO, worst=tmp_path / "worst")
    assert run["reference"] is None
    assert {metric["reference"] for metric in run["metrics"].values()} == {None}
    files = [str(tmp_path / "worst" / f"{run['id']}-0{place}.png") for place in (1, 2)]
    assert [each["file"] for each in run["worst"]] == files
    assert sorted(map(str, (tmp_path / "worst").iterdir())) == files
    table = markdown(run)
    assert "No PyTorch reference was at hand, so there are no differences: give one as --reference." in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}
    assert measure(student, TWO)["worst"][0]["file"] is None


def test_the_table(student: Path) -> None:
    table = markdown(measure(student, TWO, reference=student))
    assert table.startswith("Accuracy of constant (fp32, SHA-256 ")
    assert "on rendered people: 2 pictures of 128 x 96, beside student.onnx in onnxruntime:" in table
    assert "| bodies, hands and faces: F1 ↑ | " in table
    assert "| hand: MPJPE ↓ | – | – | – | 0 |" in table
    assert "nan" not in table
    assert "Of fewer than 30 pictures the intervals say little" in table


def test_better_and_worse() -> None:
    """By what the metric wants, and only where the interval leaves 0 out as it is shown."""

    def shown(
        difference: list[float], better: str = "higher", unit: str = "share", pictures: int = 100
    ) -> str:
        metric = {
            "title": "a", "unit": unit, "better": better, "value": [0.5, 0.4, 0.6], "reference": 0.5,
            "difference": difference, "count": 1200,
        }  # fmt: skip
        run: dict[str, Any] = {
            "model": {"name": "m", "precision": "int8", "sha256": "0" * 64}, "detector": None, "backend": "b",
            "dataset": {"name": "d", "title": "d", "pictures": pictures, "notes": ""}, "worst": [],
            "reference": {"backend": "b", "sha256": "1" * 64, "file": "f"}, "metrics": {"a": metric},
            "settings": {"size": None, "boxes": "true", "flip_test": True},
            "machine": {"cpu": "c", "cores": 2, "system": "s"},
        }  # fmt: skip
        (row,) = (line for line in markdown(run).splitlines() if line.startswith("| a "))
        assert row.endswith(" | 1,200 |")
        return row.split(" | ")[3]

    assert shown([-0.012, -0.02, -0.001]) == "−1.20 % [−2.00, −0.10] worse"
    assert shown([-0.012, -0.02, -0.001], "lower") == "−1.20 % [−2.00, −0.10] better"
    assert shown([1.5, 0.25, 3], "lower", "mm") == "+1.50 mm [+0.25, +3.00] worse"
    assert shown([0.012, -0.001, 0.02]) == "+1.20 % [−0.10, +2.00]"
    assert shown([-1e-9, -2e-9, -1e-10]) == "0.00 % [0.00, 0.00]"
    assert shown([-0.012, -0.02, -0.001], pictures=29) == "−1.20 % [−2.00, −0.10]"


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_a_network_that_says_no_numbers(
    constant_onnx: Callable[..., Path], one_body: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Whoever it finds is nowhere: found wrong, never an error, never right."""
    from wholebody.runtime.artefact import write_artefact

    spec = StudentSpec(
        name="lost",
        input=InputSpec(96, 128, 96, 128, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        parts={
            "body": PartSpec(13, 4, {"K": 2}),
            "hand": PartSpec(21, 2, {"K": 1}),
            "face": PartSpec(84, 1, {"K": 1}),
        },
        weights=WeightsSpec("made up", "0" * 64, "none"),
    )
    answers = one_body(spec)
    for name in answers:
        if name.endswith(("pose2d", "pose3d")):
            answers[name] = np.full_like(answers[name], np.nan)
    path = constant_onnx(tmp_path / "lost.onnx", spec, answers)
    write_artefact(path, spec)
    run = measure(path, TWO)
    assert run["metrics"]["body/recall"]["value"] == [0, 0, 0]
    assert run["metrics"]["body/ap"]["value"] == [0, 0, 0]


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked("coca"), "no data set 'coca'; there are: synthetic, coco, "),
        (
            Asked("coco"),
            "--dataset coco needs --data, the folder with annotations/person_keypoints_val2017.json",
        ),
        (Asked("mupots"), "--dataset mupots needs --data: the folder of MuPoTS-3D, which is had at http"),
        (
            Asked("mupots", Path("here"), pictures=3),
            "--pictures is for --dataset synthetic; MuPoTS-3D is taken",
        ),
        (Asked("mupots", Path("here"), size=(96, 96)), "--picture-size is for --dataset synthetic"),
        (Asked("mupots", Path("here"), images=Path("x")), "MuPoTS-3D is told by its folder alone"),
        (Asked("mupots", Path("here")), "here is no folder: give that of MuPoTS-3D with TS"),
        (Asked("synthetic", Path("here")), "--data, --annotations and --images are for photographs"),
        (Asked("synthetic", pictures=0), "0 rendered pictures were asked for"),
    ],
)
def test_what_is_asked_for_wrongly(student: Path, asked: Asked, told: str) -> None:
    with pytest.raises(WholebodyError) as caught:
        measure(student, asked)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_picture(student: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text(
        json.dumps({"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]})
    )
    with pytest.raises(SourceError, match=r"empty\.json names no picture: nothing can be measured"):
        measure(student, Asked("coco", annotations=empty))


def test_files_that_are_spared(student: Path, tmp_path: Path) -> None:
    for path in (student, sidecar_path(student)):
        with pytest.raises(SourceError, match="it is what is measured; choose another name"):
            measure(student, TWO, runs=path)
    with pytest.raises(SourceError, match=r"cannot write .*student\.onnx: File exists; choose another place"):
        measure(student, TWO, worst=student)
    (tmp_path / "old.jsonl").write_text('{"format": 0}\n')
    with pytest.raises(SourceError, match="is of format 0, this version reads 1"):
        measure(student, TWO, runs=tmp_path / "old.jsonl")
    with pytest.raises(ArtefactError):
        measure(tmp_path / "none.onnx", TWO)
