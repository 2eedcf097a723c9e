"""`wholebody quantize` as its user meets it: what it writes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from wholebody import cli
from wholebody.export.onnx_file import save
from wholebody.export.precision import quantizing
from wholebody.export.precision.calibration import samples
from wholebody.export.precision.choosing import TRIED, choose_method
from wholebody.export.precision.drift import PrecisionBudget
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.quantizing import quantize
from wholebody.runtime.artefact import read_artefact, sidecar_path, write_artefact
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec

LOOSE = PrecisionBudget(oks=0, px=1000, mm=1000)
SPEC = TopDownSpec(
    name="tiny",
    head="simcc",
    input=CropInput(64, 32, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "rgb"),
    skeleton="coco17",
    weights=WeightsSpec("tiny.safetensors", "0" * 64, "none"),
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Wholebody = Callable[..., Ended]


@pytest.fixture
def wholebody(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], cache: Path) -> Wholebody:
    """`wholebody("quantize", …)` in this process."""
    monkeypatch.setattr(cli, "_stop_on_signals", lambda: None)

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wholebody", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


def written(model: ModelProto, path: Path) -> Path:
    """A student as `export` writes it."""
    save(model, SPEC, path)
    write_artefact(path, SPEC)
    return path


@pytest.fixture
def student(tiny_rtmpose_onnx: ModelProto, tmp_path: Path) -> Path:
    model = ModelProto()
    model.CopyFrom(tiny_rtmpose_onnx)
    return written(model, tmp_path / "tiny.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six pictures, of noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 255, (80, 60, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), noise)
    return folder


def files_beside(student: Path) -> set[str]:
    return {path.name for path in student.parent.iterdir() if path.is_file()} - {"tiny.onnx", "tiny.json"}


# --- what it writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["fp16"], ["int8", "--target", "cpu"], ["int8", "--target", "tensorrt"]])
def test_it_writes_a_student_that_verify_measures_again(
    wholebody: Wholebody, student: Path, pictures: Path, how: list[str]
) -> None:
    ended = wholebody(
        "quantize", student, "--precision", *how, "--calibration", pictures, "-o", student.parent / "q.onnx",
        "--budget-oks", "0", "--budget-px", "1000",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "within budget" in ended.out
    assert "warning: " in ended.err
    assert files_beside(student) == {"q.onnx", "q.json"}
    told = read_artefact(student.parent / "q.onnx").spec
    assert told.precision == how[0]
    assert told.certificate is not None
    assert told.certificate["pass"]
    assert told.certificate["calibration"]["pictures"] == 4  # and two are held out
    assert told.certificate["data"]["pictures"] == 2
    one = wholebody(
        "verify", student.parent / "q.onnx", "--reference", student, "--images", pictures / "1.png"
    )
    assert one.code == 0, one.err
    assert "1 inputs" in one.out


def test_over_budget_nothing_is_written_unless_forced(
    wholebody: Wholebody, student: Path, pictures: Path
) -> None:
    command = ["quantize", student, "--precision", "int8", "--target", "cpu", "--calibration", pictures]
    strict = ["--budget-oks", "1", "--budget-px", "0"]
    refused = wholebody(*command, *strict)
    assert refused.code == 2
    assert refused.err.splitlines()[-1].startswith("error: not written, for it drifts from FP32: ")
    assert files_beside(student) == set()
    assert wholebody(*command, *strict, "--force").code == 0
    certificate = json.loads(sidecar_path(student.parent / "tiny_int8.onnx").read_text())["certificate"]
    assert certificate["pass"] is False


def test_ranges_are_cut_as_suits_the_student(student: Path, pictures: Path, cache: Path) -> None:
    model, given = onnx.load(student), samples(SPEC, pictures)
    tried = list[str]()
    chosen = choose_method(model, SPEC, given, PrecisionBudget(), target="cpu", report=tried.append)
    assert tuple(tried) == TRIED
    drifts = {}
    for method in TRIED:
        mixes = Mixes(model, SPEC, given, given, target="cpu", method=method)
        drift = mixes.drift(Mix.of(int8=[layer.name for layer in mixes.to_quantize]))
        body = drift.parts["body"]
        drifts[method] = (1 - body.oks) / 0.01 + body.px.median / 0.5
    assert drifts[chosen] == min(drifts.values())


@pytest.mark.parametrize(("rounded", "told"), [(2.0, True), (0.5, False)])
def test_int8_that_does_not_pay_is_told(
    wholebody: Wholebody, student: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, rounded: float,
    told: bool,
) -> None:  # fmt: skip
    def latencies(self: Mixes, mixes: list[Mix]) -> dict[Mix, float]:
        return {mix: rounded if mix.int8 else 1.0 for mix in mixes}

    monkeypatch.setattr(Mixes, "latencies_ms", latencies)
    command = ["quantize", student, "--precision", "int8", "--target", "cpu", "--calibration", pictures]
    ended = wholebody(*command, "--force", "--method", "minmax")
    assert ended.code == 0
    assert ("on this CPU it takes 2 ms, in FP32 1 ms: INT8 does not pay here" in ended.err) is told


# --- what it refuses ----------------------------------------------------------------------------------------


def refusal(wholebody: Wholebody, student: Path, *options: object) -> str:
    """The one line of a refused command, which leaves nothing behind."""
    before = files_beside(student)
    ended = wholebody("quantize", student, "--precision", "int8", "--target", "cpu", *options)
    assert ended.code == 2, ended
    (line,) = ended.err.splitlines()
    assert files_beside(student) == before
    return line


def test_calibration_of_nothing(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty holds no picture" in refusal(wholebody, student, "--calibration", tmp_path / "empty")


def test_calibration_that_cannot_be_read(wholebody: Wholebody, student: Path, pictures: Path) -> None:
    for path in pictures.iterdir():
        path.write_text("no picture")
    assert "is not a picture" in refusal(wholebody, student, "--calibration", pictures)


def test_calibration_of_one_picture(wholebody: Wholebody, student: Path, pictures: Path) -> None:
    for path in pictures.iterdir():
        path.write_bytes((pictures / "0.png").read_bytes())
    line = refusal(wholebody, student, "--calibration", pictures)
    assert "one picture, 4 times over: ranges need different ones" in line


def test_pictures_without_people_are_counted(wholebody: Wholebody, student: Path, pictures: Path) -> None:
    people = student.parent / "people.jsonl"
    (pictures / "manifest.json").write_text(
        json.dumps(
            {"pictures": [{"file": f"{i}.png", "boxes": [[5, 5, 40, 70]] * (i % 2)} for i in range(6)]}
        )
    )
    command = ["quantize", student, "--precision", "int8", "--target", "cpu", "--calibration", pictures]
    ended = wholebody(*command, "--force")
    assert ended.code == 0, ended.err
    assert "warning: 2 of 4 pictures have nobody in them" in ended.err
    assert not people.exists()


def test_a_student_that_is_quantized_already(wholebody: Wholebody, student: Path, pictures: Path) -> None:
    for precision in (["fp16"], ["int8", "--target", "cpu"]):
        made = student.parent / "made.onnx"
        wholebody(
            "quantize", student, "--precision", *precision, "--calibration", pictures, "-o", made, "--force"
        )
        assert made.exists()
        assert "already" in refusal(wholebody, made, "--calibration", pictures)
        made.unlink()


def test_activations_that_are_no_numbers(
    wholebody: Wholebody, tiny_rtmpose_onnx: ModelProto, tmp_path: Path, pictures: Path
) -> None:
    broken = with_weights(tiny_rtmpose_onnx, np.nan)
    line = refusal(wholebody, written(broken, tmp_path / "tiny.onnx"), "--calibration", pictures)
    assert "is not a number for" in line
    assert "export it again" in line


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_activations_that_never_change(
    wholebody: Wholebody, tiny_rtmpose_onnx: ModelProto, tmp_path: Path, pictures: Path, target: str
) -> None:
    dead = written(with_weights(tiny_rtmpose_onnx, 0), tmp_path / "tiny.onnx")
    command = ["quantize", dead, "--precision", "int8", "--target", target, "--calibration", pictures]
    ended = wholebody(*command, "--force")
    assert ended.code == 0, ended.err
    layers = json.loads((tmp_path / "tiny_int8.json").read_text())["certificate"]["layers"]
    assert layers["fp32"]
    assert layers["int8"]


def with_weights(model: ModelProto, factor: float) -> ModelProto:
    """A student one of whose convolutions has its weights times a factor, and no bias."""
    made = ModelProto()
    made.CopyFrom(model)
    conv = [node for node in made.graph.node if node.op_type == "Conv"][2]
    for tensor in made.graph.initializer:
        if tensor.name in conv.input:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((array * np.float32(factor)), tensor.name))
    return made


# --- what is cut off ----------------------------------------------------------------------------------------


class Cut(BaseException):
    """Ctrl-C."""


def test_a_search_goes_on_where_it_was(
    student: Path, pictures: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = list[Mix]()
    drift = Mixes.drift
    asked = Mixes.build

    def build(self: Mixes, mix: Mix) -> ModelProto:
        measured.append(mix)
        return asked(self, mix)

    monkeypatch.setattr(Mixes, "build", build)

    def after(steps: int) -> Callable[[str, int, int], None]:
        def report(what: str, done: int, total: int) -> None:
            if what.startswith("sensitivity") and done == steps:
                raise Cut

        return report

    def search(steps: int) -> Any:
        return quantize(
            student, precision="int8", target="tensorrt", calibration=pictures, budget=LOOSE, search=True,
            method="minmax", report=after(steps),
        )  # fmt: skip

    with pytest.raises(Cut):
        search(5)
    assert files_beside(student) == set()
    first = set(measured)
    measured.clear()
    found = search(-1)
    assert found.artefact.path.exists()
    of_one_layer = {mix for mix in first if len(mix.int8) == 1}
    assert len(of_one_layer) == 5
    assert not of_one_layer.intersection(measured)
    assert drift is Mixes.drift


def test_a_disk_that_is_full(
    wholebody: Wholebody, student: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(model: ModelProto, spec: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(quantizing, "save", fill)
    line = refusal(wholebody, student, "--calibration", pictures, "--force", "--method", "minmax")
    assert "No space left on device" in line


def test_a_cache_that_cannot_be_written_only_costs_time(
    wholebody: Wholebody, student: Path, pictures: Path, cache: Path
) -> None:
    cache.write_text("a file where a folder should be")
    command = ["quantize", student, "--precision", "int8", "--target", "cpu", "--calibration", pictures]
    ended = wholebody(*command, "--force", "--method", "percentile")
    assert ended.code == 0, ended.err
    assert (student.parent / "tiny_int8.onnx").exists()


def test_its_own_name_is_refused(wholebody: Wholebody, student: Path, pictures: Path) -> None:
    assert "is the student itself" in refusal(wholebody, student, "-o", student, "--calibration", pictures)
    read_artefact(student)
    assert replace(SPEC).precision == "fp32"
