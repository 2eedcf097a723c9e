"""The command line as its user meets it: what works, and one line and exit code 2 for what does not."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from wholebody import cli
from wholebody.runtime.artefact import sidecar_path
from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import write_image
from wholebody.runtime.records import read_records

HEIGHT, WIDTH = 48, 64
PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Ended:
    """Exit code and what stood on standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a refused command."""
        assert self.code == 2, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        assert self.out == ""
        return line


Wholebody = Callable[..., Ended]


@pytest.fixture
def signals() -> Iterator[None]:
    """Gives the handlers of Ctrl-C and SIGTERM back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def wholebody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, signals: None
) -> Wholebody:
    """`wholebody("run", …)` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wholebody", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def student(constant_student: Path, tmp_path: Path) -> Path:
    """`student.onnx` and `student.json` in the working folder."""
    for path in (constant_student, sidecar_path(constant_student)):
        shutil.copy(path, tmp_path / f"student{path.suffix}")
    return tmp_path / "student.onnx"


def video(path: Path, frames: int = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for k in range(frames):
        writer.write(np.roll(PICTURE, k, axis=1))
    writer.release()
    return path


# --- help and usage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("bench",)])
def test_without_arguments_it_explains_itself(wholebody: Wholebody, arguments: tuple[str, ...]) -> None:
    ended = wholebody(*arguments)
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


@pytest.mark.parametrize("command", ["export", "verify", "build", "run", "demo", "doctor", "bench"])
def test_help(wholebody: Wholebody, command: str) -> None:
    overview, ended = wholebody("--help"), wholebody(command, "--help")
    assert (overview.code, ended.code, ended.err) == (0, 0, "")
    (line,) = (line for line in overview.out.splitlines() if line.startswith(f"  {command} "))
    assert not line.endswith("...")  # short enough to be shown whole
    assert line.split(maxsplit=1)[1] in ended.out


def test_the_options_of_run(wholebody: Wholebody) -> None:
    text = wholebody("run", "--help").out
    for option in ("STUDENT", "SOURCE", "-o, --output", "--backend", "--json", "--show", "--view3d"):
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run",), "Missing argument 'STUDENT'"),
        (("run", "student.onnx"), "Missing argument 'SOURCE'"),
        (("runn",), "No such command 'runn'"),
        (("run", "--colour"), "No such option: --colour"),
        (("run", "student.onnx", "x.png", "--threads", "0"), "Invalid value for '--threads'"),
        (("export", "rtmo"), "'dope', 'dwpose', 'dope-mini', 'dwpose-mini'"),
        (("verify", "student.onnx"), "Missing option '--images'"),
        (("bench", "accuracy", "student.onnx", "--pictures", "0"), "Invalid value for '--pictures'"),
    ],
)
def test_wrong_usage(wholebody: Wholebody, arguments: tuple[str, ...], expected: str) -> None:
    ended = wholebody(*arguments)
    assert ended.code == 2
    assert "Usage: wholebody" in ended.err
    assert expected in ended.err.splitlines()[-1]
    assert "─" not in ended.err


# --- run: what works ----------------------------------------------------------------------------------------


def test_run_writes_into_out_unless_told(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    ended = wholebody("run", student, "a.png")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"1 person in 1 frame: {Path('out/a.wholebody.png')}\n"
    assert (tmp_path / "out" / "a.wholebody.png").is_file()


def test_run_on_many_with_json(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png", PICTURE)
    ended = wholebody(
        "run", student, "a.png", "b.png", video(tmp_path / "c.avi"), "-o", "o", "--json", "p.jsonl"
    )
    assert (ended.code, ended.err) == (0, "12 people in 12 frames: 3 files in o, p.jsonl\n")
    assert len(list(read_records("p.jsonl"))) == 12


def test_run_prints_json_and_draws_nothing(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    ended = wholebody("run", student, "a.png", "--json", "-")
    assert [json.loads(line)["source"] for line in ended.out.splitlines()] == ["a.png"]
    assert (ended.code, ended.err) == (0, "1 person in 1 frame\n")
    assert not (tmp_path / "out").exists()


def test_out_of_memory(wholebody: Wholebody, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wholebody.runtime import run

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 671. GiB")

    monkeypatch.setattr(run, "run", fail)
    refusal = wholebody("run", student, "a.png").refusal
    assert refusal == "error: out of memory: take smaller pictures or crops"


def test_names_with_brackets_are_not_markup(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "[bold]a:x:.png", PICTURE)
    ended = wholebody("run", student, "[bold]a:x:.png", "-o", "b.png", "--json", "[red].jsonl")
    assert ended.err == "1 person in 1 frame: b.png, [red].jsonl\n"
    assert "[bold]b.png" in wholebody("run", student, "[bold]b.png").refusal


def turned(image: Any) -> bytes:
    """A JPEG that its EXIF entry turns by a quarter."""
    data = cv2.imencode(".jpg", image)[1].tobytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, 6, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff + data[2:]


@pytest.mark.parametrize(
    ("name", "data", "size"),
    [
        ("grey.png", cv2.imencode(".png", PICTURE[..., 0])[1].tobytes(), (WIDTH, HEIGHT)),
        (
            "alpha.png",
            cv2.imencode(".png", np.dstack([PICTURE, PICTURE[..., :1]]))[1].tobytes(),
            (WIDTH, HEIGHT),
        ),
        ("deep.png", cv2.imencode(".png", PICTURE.astype(np.uint16) * 257)[1].tobytes(), (WIDTH, HEIGHT)),
        ("turned.jpg", turned(PICTURE), (HEIGHT, WIDTH)),
        ("one.png", cv2.imencode(".png", PICTURE[:1, :1])[1].tobytes(), (1, 1)),
    ],
)
def test_pictures_of_every_kind(
    wholebody: Wholebody, student: Path, tmp_path: Path, name: str, data: bytes, size: tuple[int, int]
) -> None:
    (tmp_path / name).write_bytes(data)
    assert wholebody("run", student, name, "--json", "x.jsonl").code == 0
    (record,) = read_records("x.jsonl")
    assert (record.width, record.height) == size


def test_a_picture_of_108_megapixels(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "large.jpg", np.zeros((9000, 12000, 3), np.uint8))
    ended = wholebody("run", student, "large.jpg", "--json", "x.jsonl")
    assert (ended.code, ended.err) == (0, "1 person in 1 frame: x.jsonl\n")


# --- run: what is refused -----------------------------------------------------------------------------------


def a_file(path: Path, content: bytes = b"hello\n") -> str:
    path.write_bytes(content)
    return path.name


def test_sources_that_cannot_be_read(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    whole = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    huge = struct.pack("<2sIHHI IiiHHIIiiII", b"BM", 0, 0, 0, 54, 40, 40_000, 40_000, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "empty").mkdir()
    expected = {
        "nowhere.jpg": "does not exist",
        a_file(tmp_path / "text.jpg"): "is not a picture",
        a_file(tmp_path / "cut.jpg", whole[: len(whole) // 2]): "is cut off or damaged",
        a_file(tmp_path / "huge.bmp", huge): "is too large: 40000 x 40000 pixels",
        a_file(tmp_path / "text.mp4"): "cannot be opened",
        a_file(tmp_path / "nothing", b""): "cannot be opened",
        "empty": "holds no picture",
        "": "a source without a name",
    }
    for source, reason in expected.items():
        assert reason in wholebody("run", student, source).refusal


def test_a_video_that_ends_in_the_middle_of_a_frame(
    wholebody: Wholebody, student: Path, tmp_path: Path
) -> None:
    whole = video(tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(whole[: int(len(whole) * 0.6)])
    ended = wholebody("run", student, "clip.avi", "-o", "o", "--json", "x.jsonl")
    warning, done = ended.err.splitlines()
    frames = len(list(read_records("x.jsonl")))
    assert ended.code == 0
    assert warning == f"warning: clip.avi is cut off or damaged: {frames} of its 10 frames could be decoded"
    assert done.startswith(f"{frames} people in {frames} frames: ")


def test_what_was_done_before_an_error_is_told(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    a_file(tmp_path / "text.jpg")
    write_image(tmp_path / "a.png", PICTURE)
    ended = wholebody("run", student, "text.jpg", "a.png")
    done, error = ended.err.splitlines()
    assert (ended.code, done) == (2, f"1 person in 1 frame: {Path('out/a.wholebody.png')}")
    assert "text.jpg is not a picture" in error


def test_students_that_are_none(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    shutil.copy(student, "lone.onnx")
    shutil.copy(student, "foreign.onnx")
    sidecar = json.loads((tmp_path / "student.json").read_text())
    (tmp_path / "foreign.json").write_text(json.dumps({**sidecar, "sha256": "0" * 64}))
    a_file(tmp_path / "cut.onnx", student.read_bytes()[:-100])
    expected = {
        "nowhere.onnx": "no such file",
        a_file(tmp_path / "text.onnx"): "is not an ONNX file",
        "cut.onnx": "not the whole of one",
        "lone.onnx": "lone.json is not beside it",
        "foreign.onnx": "belongs to another file",
        "student.json": "is not an ONNX file",
        ".": "cannot be read",
    }
    for name, reason in expected.items():
        assert reason in wholebody("run", name, "a.png").refusal


def test_networks_of_others(wholebody: Wholebody, shared: Path, tmp_path: Path) -> None:
    """A detector is no student; a student that does not tell enough asks, in one line."""
    write_image(tmp_path / "a.png", PICTURE)
    models = sorted((shared / "data" / "models").glob("*.onnx"))
    assert len(models) == 5
    for model in models:
        refusal = wholebody("run", model, "a.png").refusal
        asks = "say it as in --color rgb --norm imagenet --no-udp" in refusal
        assert asks == ("simplepose" in model.name)
        assert asks or "allowed for a student are" in refusal
        assert len(refusal) < 1000


SIMPLEPOSE = ("--color", "rgb", "--norm", "imagenet", "--no-udp")


def test_a_top_down_student_of_others(wholebody: Wholebody, shared: Path) -> None:
    models, picture = shared / "data" / "models", shared / "data" / "images" / "rtmlib_demo.jpg"
    student = models / "ultralight_simplepose_coco17.onnx"
    detector = ("--detector", models / "rtmdet_nano_raw_heads.onnx")
    ended = wholebody("run", student, picture, *SIMPLEPOSE, *detector, "--max-people", 2, "--json", "-")
    assert ended.code == 0
    people = json.loads(ended.out)["people"]
    assert [len(person["keypoints"]) for person in people] == [17, 17]
    whole = wholebody("run", student, picture, *SIMPLEPOSE, "--full-frame", "--json", "-")
    assert len(json.loads(whole.out)["people"]) == 1
    refusals = {
        SIMPLEPOSE: "name a person detector with --detector",
        (*SIMPLEPOSE, "--min-score", 0.5): "min_score without a detector",
        (*SIMPLEPOSE, "--detect-every", 3, "--full-frame"): "has no detector to spare",
        (*SIMPLEPOSE, "--detector", student): "allowed for a detector",
        (*SIMPLEPOSE, "--skeleton", "wholebody133"): "17",
        (*SIMPLEPOSE, "--size", "64"): "--size is '64'",
    }
    for options, expected in refusals.items():
        assert expected in wholebody("run", student, picture, *options).refusal


def test_figures_and_json_lines_spare_the_networks(
    wholebody: Wholebody, shared: Path, tmp_path: Path
) -> None:
    models, picture = shared / "data" / "models", shared / "data" / "images" / "rtmlib_demo.jpg"
    before = (models / "rtmdet_nano_raw_heads.onnx").read_bytes()
    (tmp_path / "d.onnx").write_bytes(before)
    shutil.copy(models / "ultralight_simplepose_coco17.onnx", "s.onnx")
    pair = ("s.onnx", *SIMPLEPOSE, "--detector", "d.onnx", "--json")
    for json_file in ("d.onnx", "d.json", "s.onnx", "s.json"):
        assert "this run needs that file" in wholebody("run", *pair, json_file, picture).refusal
        figures = wholebody("bench", "accuracy", *pair[:-1], "--runs", json_file, "--dataset", "coco")
        assert "it is what is measured" in figures.refusal
    assert (tmp_path / "d.onnx").read_bytes() == before


def test_a_student_that_needs_no_detector(wholebody: Wholebody, student: Path, shared: Path) -> None:
    detector = shared / "data" / "models" / "yolox_nano_coco_raw.onnx"
    refusal = wholebody("run", student, "a.png", "--detector", detector).refusal
    assert "finds people by itself" in refusal
    for option in (("--full-frame",), ("--flip-test",), ("--max-people", "2")):
        name = option[0].removeprefix("--").replace("-", "_")
        assert f"leave out {name}" in wholebody("run", student, "a.png", *option).refusal


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-o", "text/below"), "cannot write into text/below"),
        (("-o", "clip.mp4"), "cannot hold a picture"),
        (("-o", "a.png"), "is the source itself"),
        (("--json", "text/x.jsonl"), "cannot write text/x.jsonl"),
        (("--json", "."), "cannot write ."),
        (("--json", "student.json"), "this run needs that file"),
        (("--backend", "tensorflow"), "allowed are auto, onnxruntime, onnxruntime:PROVIDER, tensorrt,"),
        (("--backend", "tensorrt"), "student.engine: no such engine; build it with `wholebody build "),
        (("--backend", "onnxruntime:FooProvider"), "has no FooProvider"),
    ],
)
def test_options_that_cannot_be_served(
    wholebody: Wholebody, student: Path, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    a_file(tmp_path / "text")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert expected in wholebody("run", student, "a.png", *options).refusal
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody may write into")
def test_a_folder_that_nobody_may_write_into(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    assert "cannot write into /proc/x" in wholebody("run", student, "a.png", "-o", "/proc/x").refusal
    assert "cannot write /proc/x/y" in wholebody("run", student, "a.png", "--json", "/proc/x/y").refusal


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_show_without_a_screen(
    wholebody: Wholebody, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    write_image(tmp_path / "a.png", PICTURE)
    assert "no window can be opened here" in wholebody("run", student, "a.png", "--show").refusal


# --- export and verify --------------------------------------------------------------------------------------


class Hidden:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it-ran",)


def test_checkpoints_that_are_none(wholebody: Wholebody, tmp_path: Path) -> None:
    import torch

    torch.save({"half": False, "dope_kwargs": {}, "state_dict": {"x": torch.zeros(3)}}, "other.pth")
    torch.save([1, 2], "list.pth")
    torch.save({"state_dict": Hidden()}, "hidden.pth")
    expected = {
        "nowhere.pth": "no such checkpoint file",
        a_file(tmp_path / "text.pth"): "not a whole PyTorch checkpoint",
        a_file(tmp_path / "empty.pth", b""): "not a whole PyTorch checkpoint",
        a_file(tmp_path / "cut.pth", Path("other.pth").read_bytes()[:-50]): "not a whole PyTorch checkpoint",
        "other.pth": "not a DOPE checkpoint: no backbone.conv1.weight",
        "list.pth": "a list, not a dictionary",
        "hidden.pth": "refused: its pickle asks for posix.mkdir",
        a_file(tmp_path / "hidden.pkl", pickle.dumps(Hidden())): "not a PyTorch checkpoint",
        a_file(tmp_path / "text.safetensors", struct.pack("<Q", 4) + b"{}  "): "not a student of wholebody",
    }
    for name, reason in expected.items():
        assert reason in wholebody("export", "dope", name, "-o", "student.onnx").refusal
    assert not Path("it-ran").exists()
    assert not Path("student.onnx").exists()


def test_a_checkpoint_with_another_shape(
    wholebody: Wholebody, tiny_dope: Callable[..., Any], published_layout: Callable[..., dict[str, Any]]
) -> None:
    import torch

    checkpoint = published_layout(tiny_dope())
    name = "rpn.head.cls_logits.weight"
    checkpoint["state_dict"][name] = checkpoint["state_dict"][name][:, :3].clone()
    torch.save(checkpoint, "shape.pth")
    refusal = wholebody("export", "dope", "shape.pth").refusal
    assert "rpn.cls_logits.weight has shape (15, 3, 1, 1), expected (15, 8, 1, 1)" in refusal


@pytest.mark.parametrize(
    "size", ["nonsense", "384", "384x", "x640", "384x640x3", "-32x32", "9" * 5000 + "x32", ""]
)
def test_an_input_that_is_no_size(wholebody: Wholebody, size: str) -> None:
    assert "must be HEIGHTxWIDTH in pixels" in wholebody("export", "dope-mini", f"--input={size}").refusal


def test_dope_needs_its_checkpoint(wholebody: Wholebody) -> None:
    assert "wholebody export dope CHECKPOINT" in wholebody("export", "dope").refusal


@pytest.fixture(scope="module")
def checkpoint(tiny_dope: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network as a student of our own."""
    from wholebody.export.student_file import save_student

    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_student(tiny_dope(), path, {}, name="tiny", licence="none")
    return path


def test_export_then_verify_then_run(wholebody: Wholebody, checkpoint: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    options = ("-o", "tiny.onnx", "--input", "96x128", "--proposals", "5")
    ended = wholebody("export", "dope", checkpoint, *options)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"wrote tiny\.onnx and its sidecar \([0-9.]+ MB\)\n", ended.out)

    ended = wholebody("verify", "tiny.onnx", "--reference", checkpoint, "--images", "a.png")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "within budget"

    refusal = wholebody("verify", "tiny.onnx", "--images", "a.png").refusal
    assert "tiny.safetensors" in refusal
    assert "give that file as --reference" in refusal

    options = ("--reference", str(checkpoint), "--budget-px", "0")
    ended = wholebody("verify", "tiny.onnx", "--images", "a.png", *options)
    assert ended.code == 1
    assert "over budget: " in ended.out

    assert wholebody("run", "tiny.onnx", "a.png").code == 0

    for options, expected in {
        ("--detector-kind", "yolox"): "describe a --detector: name its file",
        ("--boxes", "people.jsonl"): "finds people by itself",
    }.items():
        assert expected in wholebody("verify", "tiny.onnx", "--images", "a.png", *options).refusal


@pytest.mark.parametrize("arguments", [("export", "dope-mini"), ("verify", "x.onnx", "--images", ".")])
@pytest.mark.parametrize("budget", ["-1", "nan", "inf"])
def test_budgets_that_are_none(wholebody: Wholebody, arguments: tuple[str, ...], budget: str) -> None:
    ended = wholebody(*arguments, "--budget-px", budget)
    assert ended.code == 2
    assert "Invalid value for '--budget-px'" in ended.err.splitlines()[-1]


def test_verify_leaves_the_budgets_of_a_certificate(
    wholebody: Wholebody, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wholebody.export import verify

    asked: list[dict[str, Any]] = []

    def stand_in(student: Path, **options: Any) -> None:
        asked.append({name: limit for name, limit in options.items() if name.startswith("budget")})
        raise SourceError("enough")

    monkeypatch.setattr(verify, "verify", stand_in)
    for options in ((), ("--budget-px", "2", "--budget-oks", "0.9")):
        assert "enough" in wholebody("verify", student, "--images", ".", *options).refusal
    assert asked == [
        {"budget_px": None, "budget_mm": None, "budget_oks": None},
        {"budget_px": 2, "budget_mm": None, "budget_oks": 0.9},
    ]


# --- bench --------------------------------------------------------------------------------------------------


def test_the_peer_is_installed_by_hand(
    wholebody: Wholebody, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    refusal = wholebody("bench", "peer", student, "--detector", "d.onnx", "--images", ".").refusal
    assert refusal.endswith("pip install --no-deps rtmlib")


def test_bench_latency_of_a_student_alone(wholebody: Wholebody, student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    ended = wholebody("bench", "latency", student, "--images", "a.png", "--seconds", "0.1")
    assert ended.code == 0
    assert ended.out.startswith("Latency of constant (fp32)")
    assert "PyTorch" not in ended.out


# --- a process of its own -----------------------------------------------------------------------------------


def command(*arguments: object, before: str = "") -> list[str]:
    """The command line of a `wholebody` process that runs `before` first."""
    code = f"import sys; sys.argv[0] = 'wholebody'\n{before}\nfrom wholebody.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def blocked(*modules: str) -> str:
    """Python code after which these modules cannot be imported."""
    return f"sys.modules.update(dict.fromkeys({modules}))"


def ended(*arguments: object, before: str = "") -> Ended:
    done = subprocess.run(command(*arguments, before=before), capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_help_and_run_do_without_the_export_extra(student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    before = blocked("torch", "onnx", "onnxscript", "onnxslim", "safetensors")
    assert ended("--help", before=before).code == 0
    assert ended("run", student, tmp_path / "a.png", "-o", tmp_path, before=before).code == 0
    latency = ("bench", "latency", student, "--images", tmp_path / "a.png", "--seconds", "0.1")
    before += (
        "\nimport wholebody.export.zoo as zoo; zoo.bundled_source = lambda sha256: 'bundled.safetensors'"
    )
    assert ended(*latency, before=before).code == 0


def test_a_terminal_of_few_letters(student: Path) -> None:
    before = "sys.stdout.reconfigure(encoding='ascii')"
    table = ended("bench", "accuracy", student, "--pictures", "1", before=before)
    assert (table.code, table.err) == (0, "")
    assert r"\u2013" in table.out


def test_build_without_tensorrt_names_the_cure(
    wholebody: Wholebody, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert wholebody("build", student).refusal.endswith("pip install 'wholebody[gpu]'")
    dry = wholebody("build", student, "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert "student.engine" in dry.out


def test_verify_without_torch_names_the_cure(student: Path) -> None:
    refusal = ended("verify", student, "--images", ".", before=blocked("torch")).refusal
    assert refusal.endswith("pip install 'wholebody[export]'")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import atexit; heavy = {'torch', 'onnx', 'onnxruntime', 'cv2', 'numpy'};"
        "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules))))"
    )
    assert ended("--help", before=code).out.endswith("heavy: []\n")


def test_onnxruntime_that_is_missing(student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    refusal = ended("run", student, tmp_path / "a.png", before=blocked("onnxruntime")).refusal
    assert refusal.endswith("pip install onnxruntime")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_keeps_the_finished_frames(student: Path, tmp_path: Path, number: str, code: int) -> None:
    source, records = video(tmp_path / "clip.avi", 4000), tmp_path / "people.jsonl"
    process = subprocess.Popen(
        command(
            "run", student, source, "-o", tmp_path / "drawn.mp4", "--json", records,
            before="import signal; signal.signal(signal.SIGINT, signal.default_int_handler)",
        ),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (records.exists() and records.read_text().count("\n") >= 3):
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    process.send_signal(getattr(signal, number))  # an impatient one
    err = process.communicate()[1]
    assert process.returncode == code, err
    match = re.fullmatch(r"stopped: (\d+) people in (\d+) frames: .*drawn\.mp4, .*people\.jsonl\n", err)
    assert match, err
    assert 2 <= int(match[2]) < 4000
    capture = cv2.VideoCapture(str(tmp_path / "drawn.mp4"))
    drawn = 0
    while capture.read()[0]:
        drawn += 1
    assert drawn in (int(match[2]), int(match[2]) + 1)  # it may come between a frame and its count
    assert len(list(read_records(records))) - drawn in (0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip.avi", "drawn.mp4", "people.jsonl", "student.json", "student.onnx",
    ]  # fmt: skip


@pytest.mark.usefixtures("signals")
def test_a_second_ctrl_c_does_not_cut_short_what_is_being_finished() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli._stop_on_signals()
    with pytest.raises(cli.Stopped) as stopped:
        signal.raise_signal(signal.SIGINT)
    assert stopped.value.number == signal.SIGINT
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("signals")
def test_a_signal_that_was_to_be_ignored_is() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cli._stop_on_signals()
    signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_a_reader_that_goes_away(student: Path, tmp_path: Path) -> None:
    source = video(tmp_path / "clip.avi", 500)
    process = subprocess.Popen(
        command("run", student, source, "--json", "-", "-o", tmp_path / "drawn.mp4"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert re.fullmatch(r"\d+ (person|people) in \d+ frames?: .*drawn\.mp4\n", err), err
    assert (tmp_path / "drawn.mp4").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("doctor"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: [Errno 28] No space left on device\n"


# --- the terminal -------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_progress_in_a_terminal_leaves_standard_output_alone(student: Path, tmp_path: Path) -> None:
    import pty

    source, records = video(tmp_path / "clip.avi", 60), tmp_path / "people.jsonl"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    terminal, end = pty.openpty()
    with records.open("w") as file:
        process = subprocess.Popen(
            command("run", student, source, "--json", "-"), stdout=file, stderr=end, env=environment
        )
    os.close(end)
    shown = "".join(read_terminal(terminal))
    assert process.wait() == 0
    assert [record.frame for record in read_records(records)] == list(range(60))
    assert re.search(r"frames .*60/60.* people: 1", shown)
    assert shown.endswith("60 people in 60 frames\r\n")
    assert '"keypoints"' not in shown


def read_terminal(terminal: int) -> Iterator[str]:
    with open(terminal, encoding="utf-8", newline="") as file:
        while True:
            try:
                text = file.readline()
            except OSError:  # how a terminal ends on Linux
                return
            if not text:
                return
            yield text
