"""Pictures, folders, videos and webcams as one run of frames."""

from __future__ import annotations

import struct
import weakref
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Frame, open_source, write_image

WIDTH, HEIGHT, FPS = 64, 48, 10


def picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    return path


def video(path: Path, frames: int = 20, codec: str = "MJPG") -> Path:
    """Frame k is grey of level 10 k, with a white top-left corner."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for k in range(frames):
        image = np.full((HEIGHT, WIDTH, 3), 10 * k, np.uint8)
        image[: HEIGHT // 2, : WIDTH // 2] = 255
        writer.write(image)
    writer.release()
    return path


def noisy_video(path: Path, frames: int = 20) -> Path:
    """A video whose data are large, so that a cut falls among its frames."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for _ in range(frames):
        writer.write(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    writer.release()
    return path


def turned_by_metadata(path: Path) -> None:
    """Put a quarter turn into the track header of an mp4."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def level(frame: Frame) -> int:
    return int(frame.image[-1, -1].mean())


class FakeCamera:
    """What cv2.VideoCapture answers for a camera with four frames; a fifth never comes."""

    def __init__(self, target: object) -> None:
        self.target, self.left, self.released = target, 4, False
        cameras.append(self)

    def isOpened(self) -> bool:
        return self.target in (0, 2)

    def set(self, key: int, value: float) -> bool:
        return True

    def get(self, key: int) -> float:
        return 25.0 if key == cv2.CAP_PROP_FPS else -1.0

    def read(self) -> tuple[bool, object]:
        self.left -= 1
        return (True, np.zeros((2, 3, 3), np.uint8)) if self.left >= 0 and self.target == 0 else (False, None)

    def release(self) -> None:
        self.released = True


cameras: list[FakeCamera] = []


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> list[FakeCamera]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    cameras.clear()
    return cameras


def test_nothing() -> None:
    with pytest.raises(SourceError, match="no source given"):
        open_source([])


def test_one_picture(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 7)
    with open_source(str(path)) as source:
        (frame,) = source.frames()
    assert (source.length, source.is_stream) == (1, False)
    assert (frame.name, frame.index, frame.time_s, frame.kind, level(frame)) == (
        str(path),
        0,
        0.0,
        "picture",
        7,
    )


def test_pictures_keep_their_order_and_come_once(tmp_path: Path) -> None:
    names = ["c.png", "a.png", "b.png", "a.png"]
    paths = [picture(tmp_path / name, k) for k, name in enumerate(names)]
    source = open_source(paths)
    assert [Path(frame.name).name for frame in source.frames()] == ["c.png", "a.png", "b.png"]
    assert source.length == 3


def test_a_folder_stands_for_its_pictures_sorted(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.webp.png", "a.wholebody.png", ".hidden.png", "deeper/d.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    video(tmp_path / "clip.avi", 2)
    source = open_source([tmp_path])
    assert [Path(frame.name).name for frame in source.frames()] == ["a.png", "b.JPG", "c.webp.png"]


def test_a_folder_and_one_of_its_pictures(tmp_path: Path) -> None:
    paths = [picture(tmp_path / name) for name in ("a.png", "b.png")]
    assert open_source([paths[1], tmp_path]).length == 2


def test_an_annotated_picture_is_read_where_it_is_named(tmp_path: Path) -> None:
    assert open_source(picture(tmp_path / "a.wholebody.png")).length == 1


def test_a_picture_without_an_ending(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 3).rename(tmp_path / "a")
    assert [(frame.kind, level(frame)) for frame in open_source(path).frames()] == [("picture", 3)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "does not exist"),
        ("empty", "holds no picture: expected files that end in .jpg"),
        ("text.txt", "cannot be opened: expected a whole video or picture"),
        ("text.mp4", "cannot be opened"),
        ("nothing.mp4", "cannot be opened"),
    ],
)
def test_what_is_wrong_from_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "nothing.mp4").touch()
    with pytest.raises(SourceError, match=reason) as caught:
        open_source([picture(tmp_path / "good.png"), tmp_path / name])
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_bad_pictures_do_not_lose_the_others(tmp_path: Path) -> None:
    for k, name in enumerate(["a.png", "b.png", "c.png", "d.png"]):
        picture(tmp_path / name, k)
    (tmp_path / "b.png").write_text("text")
    (tmp_path / "d.png").write_bytes((tmp_path / "d.png").read_bytes()[:50])
    source, frames = open_source(tmp_path), list[Frame]()
    with pytest.raises(SourceError, match=r"b\.png is not a picture.*and 1 more of the 4 sources") as caught:
        frames.extend(source.frames())
    assert [level(frame) for frame in frames] == [0, 2]
    assert [str(problem).split(" is ")[0][-5:] for problem in source.problems] == ["b.png", "d.png"]
    assert "\n" not in str(caught.value)


def test_an_only_picture_that_is_bad_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    source = open_source(tmp_path / "a.jpg")
    with pytest.raises(SourceError) as caught:
        next(source.frames())
    assert caught.value is source.problems[0]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_a_video(tmp_path: Path, name: str, codec: str) -> None:
    source = open_source(video(tmp_path / name, 20, codec))
    frames = list(source.frames())
    assert source.length == len(frames) == 20
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.time_s for frame in frames] == pytest.approx([k / FPS for k in range(20)], abs=1e-3)
    assert [level(frame) for frame in frames] == pytest.approx([10 * k for k in range(20)], abs=6)
    assert {(frame.kind, frame.fps) for frame in frames} == {("video", FPS)}
    assert not source.warnings


def test_pictures_and_videos_in_order(tmp_path: Path) -> None:
    names = [picture(tmp_path / "z.png"), video(tmp_path / "v.avi", 3), picture(tmp_path / "a.png")]
    source = open_source(names)
    assert [(Path(f.name).name, f.index) for f in source.frames()] == [
        ("z.png", 0), ("v.avi", 0), ("v.avi", 1), ("v.avi", 2), ("a.png", 0),
    ]  # fmt: skip
    assert source.length == 5


def test_frames_can_be_read_again(tmp_path: Path) -> None:
    source = open_source(video(tmp_path / "v.avi", 3))
    assert next(source.frames()).index == 0
    assert [frame.index for frame in source.frames()] == [0, 1, 2]


def test_a_rotated_video_comes_upright(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", 3, "mp4v")
    turned_by_metadata(path)
    frame = next(open_source(path).frames())
    assert frame.image.shape == (WIDTH, HEIGHT, 3)
    assert frame.image[5, -5].min() > 200  # the white corner, a quarter turn clockwise
    assert frame.image[5, 5].max() < 60


def test_a_video_that_is_cut_off_gives_what_there_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = noisy_video(tmp_path / "v.avi", 20)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = open_source([path, picture(tmp_path / "a.png")])
    frames = list(source.frames())
    count = sum(frame.kind == "video" for frame in frames)
    assert 5 <= count < 15
    assert frames[-1].kind == "picture"
    assert source.warnings == [f"{path} is cut off or damaged: {count} of its 20 frames could be decoded"]
    assert capfd.readouterr() == ("", "")


def test_a_video_without_one_good_frame_is_a_problem(tmp_path: Path) -> None:
    path = noisy_video(tmp_path / "v.avi", 20)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 40])
    source = open_source([path, picture(tmp_path / "a.png")])
    frames: list[Frame] = []
    with pytest.raises(SourceError, match="no frame that can be decoded"):
        frames.extend(source.frames())
    assert [frame.kind for frame in frames] == ["picture"]


def test_one_frame_is_in_memory_at_a_time(tmp_path: Path) -> None:
    images = []
    for frame in open_source(video(tmp_path / "v.avi", 20)).frames():
        images.append(weakref.ref(frame.image))
        assert sum(image() is not None for image in images) <= 2


def test_leaving_the_block_lets_go_of_the_video(camera: list[FakeCamera]) -> None:
    with open_source("0") as source:
        next(source.frames())
        assert not camera[0].released
    assert camera[0].released


@pytest.mark.parametrize("name", ["0", "/dev/video0"])
def test_a_webcam(camera: list[FakeCamera], name: str) -> None:
    source = open_source(name)
    assert (source.length, source.is_stream) == (None, True)
    frames = list(islice(source.frames(), 3))
    assert [(frame.name, frame.kind, frame.index, frame.fps) for frame in frames] == [
        ("webcam0", "webcam", k, 25.0) for k in range(3)
    ]
    times = [frame.time_s for frame in frames]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert not source.warnings


def test_a_webcam_that_is_pulled_out(camera: list[FakeCamera]) -> None:
    source = open_source("0")
    assert len(list(source.frames())) == 4
    assert source.warnings == ["webcam 0 stopped after 4 frames"]


def test_a_webcam_that_is_not_there_or_busy(camera: list[FakeCamera]) -> None:
    with pytest.raises(
        SourceError, match="webcam 1 cannot be opened: expected the number of a connected camera"
    ):
        next(open_source("1").frames())
    with pytest.raises(SourceError, match="webcam 2 gives no picture"):
        next(open_source("2").frames())


def test_a_webcam_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="name it alone"):
        open_source(["0", picture(tmp_path / "a.png")])


def test_no_webcam_on_this_machine_is_one_quiet_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match="webcam 987 cannot be opened"):
        next(open_source("987").frames())
    assert capfd.readouterr() == ("", "")


def test_a_real_folder(shared: Path) -> None:
    source = open_source(shared / "data" / "images" / "coco_people")
    assert source.length == 28
    assert next(source.frames()).image.ndim == 3
