"""Every frame of a source through a student: what is written and told, and what an error leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wholebody.runtime import run as module
from wholebody.runtime.artefact import sidecar_path, write_artefact
from wholebody.runtime.errors import ArtefactError, BackendError, SourceError
from wholebody.runtime.media import Frame, Image, read_image, write_image
from wholebody.runtime.people import People
from wholebody.runtime.records import read_records
from wholebody.runtime.run import RunSummary, annotate, run
from wholebody.runtime.skeletons import DOPE
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, suffix in enumerate((".png", ".jpg")):
        write_image(folder / f"{i}{suffix}", np.full((HEIGHT, WIDTH, 3), 90 + i, np.uint8))
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames of noise, so that a cut falls among them."""
    rng, path = np.random.default_rng(0), tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for _ in range(10):
        writer.write(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    writer.release()
    return path


def frames_of(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


# --- what is written ----------------------------------------------------------------------------------------


def test_pictures(constant_student: Path, pictures: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    summary = run(
        constant_student,
        pictures,
        output=tmp_path / "out",
        json=tmp_path / "people.jsonl",
        on_frame=lambda frame, people: seen.append((Path(frame.name).name, len(people))),
    )
    assert summary == RunSummary(frames=2, people=2, length=2, written=summary.written)
    assert [path.name for path in summary.written] == ["0.wholebody.png", "1.wholebody.jpg"]
    assert all(read_image(path).std() > 1 for path in summary.written)  # somebody is drawn on the grey
    assert seen == [("0.png", 1), ("1.jpg", 1)]
    records = list(read_records(tmp_path / "people.jsonl"))
    assert [(Path(r.source).name, r.width, r.height, len(r.people)) for r in records] == [
        ("0.png", WIDTH, HEIGHT, 1),
        ("1.jpg", WIDTH, HEIGHT, 1),
    ]
    assert records[0].people.metadata["student"] == "constant"


def test_a_video(constant_student: Path, video: Path, tmp_path: Path) -> None:
    summary = run(constant_student, video, output=tmp_path / "drawn.mp4", json=tmp_path / "people.jsonl")
    assert (summary.frames, summary.length, summary.warnings) == (10, 10, [])
    assert summary.written == [tmp_path / "drawn.mp4"]
    assert frames_of(tmp_path / "drawn.mp4") == 10
    assert [record.frame for record in read_records(tmp_path / "people.jsonl")] == list(range(10))


def test_nothing_is_drawn_where_nobody_looks(
    constant_student: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "annotate", None)
    before = sorted(pictures.iterdir())
    assert run(constant_student, pictures).people == 2
    assert sorted(pictures.iterdir()) == before


def test_json_lines_inside_the_output_folder(constant_student: Path, pictures: Path, tmp_path: Path) -> None:
    run(constant_student, pictures, output=tmp_path / "new", json=tmp_path / "new" / "deep" / "people.jsonl")
    assert len(list(read_records(tmp_path / "new" / "deep" / "people.jsonl"))) == 2


def test_nobody_is_an_ordinary_answer(
    constant_onnx: Callable[..., Path],
    one_body: Callable[..., dict[str, Image]],
    pictures: Path,
    tmp_path: Path,
) -> None:
    spec = StudentSpec(
        name="nobody",
        input=InputSpec(HEIGHT, WIDTH, HEIGHT, WIDTH, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        parts={
            name: PartSpec(joints, 1, {"K": 1}) for name, joints in (("body", 13), ("hand", 21), ("face", 84))
        },
        weights=WeightsSpec("made up", "0" * 64, "none"),
    )
    answers = {name: np.zeros_like(array) for name, array in one_body(spec).items()}
    student = write_artefact(constant_onnx(tmp_path / "nobody.onnx", spec, answers), spec).path
    summary = run(student, pictures, output=tmp_path / "out", json=tmp_path / "none.jsonl", view3d=True)
    assert (summary.frames, summary.people, len(summary.written)) == (2, 0, 2)
    assert [len(record.people) for record in read_records(tmp_path / "none.jsonl")] == [0, 0]


def test_a_picture_of_one_pixel(constant_student: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", np.zeros((1, 1, 3), np.uint8))
    summary = run(constant_student, tmp_path / "one.png", output=tmp_path / "out", view3d=True)
    assert summary.written == [tmp_path / "out" / "one.wholebody.png"]


def test_annotate() -> None:
    picture = np.full((300, 200, 3), 7, np.uint8)
    nobody = People.empty(DOPE, with_3d=True)
    assert (annotate(picture, nobody) == picture).all()
    beside = annotate(picture, nobody, view3d=True)
    assert beside.shape == (300, 500, 3)
    assert (beside[:, :200] == picture).all()
    large = annotate(np.zeros((2000, 100, 3), np.uint8), nobody, view3d=True)
    assert large.shape[0] == 2000


# --- what an end before the end leaves behind ---------------------------------------------------------------


def test_one_bad_picture_does_not_lose_the_others(
    constant_student: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "0.png").write_text("not a picture")
    summary = RunSummary()
    with pytest.raises(SourceError, match=r"0\.png is not a picture"):
        run(constant_student, pictures, output=tmp_path / "out", json=tmp_path / "x.jsonl", summary=summary)
    assert (summary.frames, summary.people) == (1, 1)
    assert summary.written == [tmp_path / "out" / "1.wholebody.jpg"]
    assert len(list(read_records(tmp_path / "x.jsonl"))) == 1


def test_a_video_that_is_cut_off(constant_student: Path, video: Path, tmp_path: Path) -> None:
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.6)])
    summary = run(constant_student, video, output=tmp_path / "out", json=tmp_path / "x.jsonl")
    (warning,) = summary.warnings
    assert f"{summary.frames} of its 10 frames could be decoded" in warning
    assert 0 < summary.frames < 10
    assert frames_of(summary.written[0]) == len(list(read_records(tmp_path / "x.jsonl"))) == summary.frames


@pytest.mark.parametrize("error", [KeyboardInterrupt, BackendError])
def test_finished_frames_are_on_disk(
    constant_student: Path, video: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    summary = RunSummary()

    def stop(frame: Frame, people: People) -> None:
        if frame.index == 3:
            raise error

    with pytest.raises(error):
        run(
            constant_student, video, output=tmp_path / "out", json=tmp_path / "x.jsonl", summary=summary,
            on_frame=stop,
        )  # fmt: skip
    assert (summary.frames, summary.people) == (4, 4)
    assert frames_of(summary.written[0]) == len(list(read_records(tmp_path / "x.jsonl"))) == 4
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.wholebody.mp4"]


# --- what is refused before any work ------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["student", "sidecar", "source", "drawing"])
def test_json_lines_spare_the_other_files(
    constant_student: Path, pictures: Path, tmp_path: Path, victim: str
) -> None:
    drawing = tmp_path / "out" / "0.wholebody.png"
    paths = {
        "student": constant_student,
        "sidecar": sidecar_path(constant_student),
        "source": pictures / "0.png",
        "drawing": drawing,
    }
    drawing.parent.mkdir()
    drawing.write_bytes(b"of an earlier run")
    before = paths[victim].read_bytes()
    with pytest.raises(SourceError, match="needs that file"):
        run(constant_student, pictures, output=tmp_path / "out", json=paths[victim])
    assert paths[victim].read_bytes() == before


@pytest.mark.parametrize("what", ["student", "source", "output", "backend"])
def test_an_earlier_answer_outlives_a_run_that_does_not_start(
    constant_student: Path, pictures: Path, tmp_path: Path, what: str
) -> None:
    earlier = tmp_path / "people.jsonl"
    earlier.write_text("of an earlier run")
    bad = {
        "student": tmp_path / "x.onnx",
        "source": tmp_path / "x.png",
        "output": earlier / "below",
        "backend": "x",
    }
    given = {"student": constant_student, "source": pictures, "output": tmp_path / "out", what: bad[what]}
    with pytest.raises((ArtefactError, SourceError, BackendError)):
        run(json=earlier, **given)
    assert earlier.read_text() == "of an earlier run"


# --- the window ---------------------------------------------------------------------------------------------


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The waits of a window whose user presses q at the third frame; -1 once it is gone."""
    pressed: list[int] = []
    shown: list[Image] = []
    monkeypatch.setattr(module, "_require_display", lambda: None)
    monkeypatch.setattr(cv2, "imshow", lambda name, image: shown.append(image))
    monkeypatch.setattr(
        cv2, "waitKey", lambda wait: pressed.append(wait) or (ord("q") if len(shown) == 3 else -1)
    )
    monkeypatch.setattr(cv2, "getWindowProperty", lambda name, key: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: pressed.append(-1))
    return pressed


def test_q_ends_the_run(constant_student: Path, video: Path, tmp_path: Path, window: list[int]) -> None:
    summary = run(constant_student, video, output=tmp_path / "out", show=True)
    assert summary.closed
    assert summary.frames == frames_of(summary.written[0]) == 3
    assert window == [1, 1, 1, -1]


def test_a_picture_waits_for_a_key(constant_student: Path, pictures: Path, window: list[int]) -> None:
    summary = run(constant_student, pictures, show=True)
    assert not summary.closed
    assert window == [0, 0, -1]


def test_closing_the_window_ends_the_run(
    constant_student: Path, video: Path, window: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getWindowProperty", lambda name, key: 0.0)
    assert run(constant_student, video, show=True).frames == 1


def test_a_window_that_cannot_be_opened(
    constant_student: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def died(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        return subprocess.CompletedProcess(command, -6)

    monkeypatch.setattr(subprocess, "run", died)
    with pytest.raises(SourceError, match="no window can be opened here"):
        run(constant_student, pictures, output=tmp_path / "out", show=True)
    assert asked[0][0] == sys.executable
    assert not (tmp_path / "out").exists()
