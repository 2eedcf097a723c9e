"""Annotated pictures and videos on their way to disk."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Frame, Image, Output, open_output, open_source, read_image, write_image

WIDTH, HEIGHT, FPS = 64, 48, 10.0


def flat(level: int, width: int = WIDTH) -> Image:
    return np.full((HEIGHT, width, 3), level, np.uint8)


def picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, flat(level))
    return path


def video(path: Path, frames: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for k in range(frames):
        writer.write(flat(10 * k))
    writer.release()
    return path


def levels(path: Path) -> list[int]:
    return [int(frame.image.mean()) for frame in open_source(path).frames()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def annotate(target: Path, *specs: Path) -> Output:
    """Write every frame of the sources, twenty levels brighter."""
    with open_source(specs) as source, open_output(target, source) as output:
        for frame in source.frames():
            output.write(frame, frame.image + np.uint8(20))
    return output


def test_pictures_into_a_folder_that_is_made(tmp_path: Path) -> None:
    sources = [picture(tmp_path / name) for name in ("a.jpg", "b.JPEG", "c.png", "d.webp", "e.bmp")]
    target = tmp_path / "deep" / "out"
    output = annotate(target, *sources)
    assert names(target) == [
        "a.wholebody.jpg", "b.wholebody.jpg", "c.wholebody.png", "d.wholebody.png", "e.wholebody.png",
    ]  # fmt: skip
    assert [path.name for path in output.written] == names(target)
    assert levels(target / "c.wholebody.png") == [20]


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with open_source(video(tmp_path / "v.avi")) as source, open_output(tmp_path / "out", source) as output:
        pass
    assert not names(tmp_path / "out")
    assert not output.written


def test_same_names_from_different_folders_are_kept_apart(tmp_path: Path) -> None:
    sources = [picture(tmp_path / folder / "x.png", k) for k, folder in enumerate("abc")]
    output = annotate(tmp_path / "out", *sources)
    assert names(tmp_path / "out") == ["x-2.wholebody.png", "x-3.wholebody.png", "x.wholebody.png"]
    assert [levels(output.paths[str(path)]) for path in sources] == [[20], [21], [22]]


def test_same_stems_with_different_endings_are_kept_apart(tmp_path: Path) -> None:
    sources = [picture(tmp_path / name) for name in ("x.webp", "x.png", "X.bmp")]
    assert len({path.name.lower() for path in annotate(tmp_path / "out", *sources).written}) == 3


def test_no_source_is_ever_overwritten(tmp_path: Path) -> None:
    sources = [picture(tmp_path / name, 5) for name in ("x.png", "x.wholebody.png", "x-2.wholebody.png")]
    annotate(tmp_path, *sources)
    assert [levels(path) for path in sources] == [[5], [5], [5]]
    assert levels(tmp_path / "x-3.wholebody.png") == [25]
    with pytest.raises(SourceError, match="is the source itself"):
        open_output(sources[0], open_source(sources[0]))


def test_a_result_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    source = picture(tmp_path / "x.png", 1)
    annotate(tmp_path, source)
    picture(source, 2)
    annotate(tmp_path, source)
    assert names(tmp_path) == ["x.png", "x.wholebody.png"]
    assert levels(tmp_path / "x.wholebody.png") == [22]


def test_one_picture_into_one_file(tmp_path: Path) -> None:
    annotate(tmp_path / "new" / "result.jpg", picture(tmp_path / "x.png"))
    assert levels(tmp_path / "new" / "result.jpg") == [20]


@pytest.mark.parametrize("name", ["out", "result.mp4", "result.avi"])
def test_a_video(tmp_path: Path, name: str) -> None:
    output = annotate(tmp_path / name, video(tmp_path / "v.avi"))
    (path,) = output.written
    assert path == (tmp_path / "out" / "v.wholebody.mp4" if name == "out" else tmp_path / name)
    assert levels(path) == pytest.approx([10 * k + 20 for k in range(12)], abs=4)
    assert open_source(path).length == 12
    assert next(open_source(path).frames()).fps == FPS
    assert path.parent.joinpath(path.name) in path.parent.iterdir()
    assert not list(path.parent.glob(".*"))


def test_videos_and_pictures_together(tmp_path: Path) -> None:
    specs = [video(tmp_path / "v.avi", 4), picture(tmp_path / "a.png"), video(tmp_path / "w.avi", 3)]
    output = annotate(tmp_path / "out", *specs)
    assert names(tmp_path / "out") == ["a.wholebody.png", "v.wholebody.mp4", "w.wholebody.mp4"]
    assert [len(levels(path)) for path in output.written] == [4, 1, 3]


def test_the_output_is_hidden_until_it_is_whole(tmp_path: Path) -> None:
    source = open_source(video(tmp_path / "v.avi"))
    with open_output(tmp_path / "out", source) as output:
        for frame in source.frames():
            output.write(frame, frame.image)
            assert all(name.startswith(".") for name in names(tmp_path / "out"))
    assert names(tmp_path / "out") == ["v.wholebody.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_keeps_the_finished_frames(tmp_path: Path, error: type[BaseException]) -> None:
    source = open_source(video(tmp_path / "v.avi"))
    with pytest.raises(error), open_output(tmp_path / "out", source) as output:  # noqa: PT012
        for frame in source.frames():
            if frame.index == 5:
                raise error
            output.write(frame, frame.image)
    assert levels(tmp_path / "out" / "v.wholebody.mp4") == pytest.approx([0, 10, 20, 30, 40], abs=4)


def test_wide_panels_are_one_size_all_along(tmp_path: Path) -> None:
    source = open_source(video(tmp_path / "v.avi"))
    frames = list(source.frames())
    with open_output(tmp_path / "out", source) as output:
        output.write(frames[0], flat(0, 2 * WIDTH))
        with pytest.raises(ValueError, match=r"one size: got \(64, 48\) after \(128, 48\)"):
            output.write(frames[1], flat(0))
    assert next(open_source(output.written).frames()).image.shape == (HEIGHT, 2 * WIDTH, 3)


def test_odd_and_tiny_videos_are_written(tmp_path: Path) -> None:
    for name, size in (("odd.mp4", (35, 51)), ("dot.mp4", (1, 1))):
        output = Output({"x": tmp_path / name})
        with output:
            output.write(
                Frame(np.zeros((*size, 3), np.uint8), "x", kind="video", fps=FPS),
                np.zeros((*size, 3), np.uint8),
            )
        (path,) = output.written
        assert open_source(path).length == 1


def test_a_webcam_video_keeps_the_pace_of_the_clock(tmp_path: Path) -> None:
    times = [0.0, 0.02, 0.31, 0.32, 0.7]
    with Output({"webcam0": tmp_path / "cam.avi"}) as output:
        for k, time in enumerate(times):
            output.write(Frame(flat(0), "webcam0", k, time, "webcam", FPS), flat(30 * k))
    # At 10 frames a second: 0.0 shows level 0; 0.1 to 0.3 the frame of 0.31; 0.4 to 0.7 that of 0.7.
    assert levels(tmp_path / "cam.avi") == pytest.approx([0, 60, 60, 60, 120, 120, 120, 120], abs=3)


def test_a_target_that_does_not_fit_its_source(tmp_path: Path) -> None:
    still, clip = picture(tmp_path / "a.png"), video(tmp_path / "v.avi")
    for target, specs, reason in (
        ("x.png", [still, clip], "is one file for 2 sources: name a folder"),
        ("x.mp4", [still], "cannot hold a picture"),
        ("x.png", [clip], "cannot hold a video"),
        ("x.webp", [still], "cannot hold a picture: name a folder or a file in .png, .jpg, .jpeg"),
        ("x.mov", [clip], "cannot hold a video: name a folder or a file in .mp4, .avi"),
    ):
        with pytest.raises(SourceError, match=reason):
            open_output(tmp_path / target, open_source(specs))


def test_a_folder_may_be_called_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "clips.mp4").mkdir()
    annotate(tmp_path / "clips.mp4", picture(tmp_path / "a.png"))
    assert names(tmp_path / "clips.mp4") == ["a.wholebody.png"]


def test_an_output_folder_that_cannot_be_made(tmp_path: Path) -> None:
    source = open_source(picture(tmp_path / "a.png"))
    for target in (tmp_path / "a.png" / "out", tmp_path / "a.png" / "out.png"):
        with pytest.raises(SourceError, match="cannot write into") as caught:
            open_output(target, source)
        assert "\n" not in str(caught.value)


def test_an_output_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = open_source(picture(tmp_path / "a.png")), tmp_path / "out"
    target.mkdir()
    target.chmod(0o500)
    if os.access(target, os.W_OK):  # the superuser may write anywhere
        refused = PermissionError(13, "Permission denied")

        def refuse(**_: object) -> None:
            raise refused

        monkeypatch.setattr("wholebody.runtime.media.writers.TemporaryFile", refuse)
    with pytest.raises(SourceError, match=r"cannot write into .*: Permission denied; choose another"):
        open_output(target, source)


def test_a_video_that_lost_frames_is_told_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(video(tmp_path / "v.avi"))
    frames = list(source.frames())
    output = open_output(tmp_path / "out", source)
    for frame in frames:
        output.write(frame, frame.image)
    part = next((tmp_path / "out").iterdir())
    release = output.close

    def emptied(*_: object) -> None:
        part.write_bytes(b"")  # as a full disk would

    assert output._video is not None
    monkeypatch.setattr(output._video, "_writer", type("Writer", (), {"release": emptied})())
    with pytest.raises(SourceError, match="only 0 of 12 frames kept; is the disk full"):
        release()
    assert not names(tmp_path / "out")


def test_written_pictures_equal_what_was_drawn(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    source = open_source(picture(tmp_path / "a.png"))
    with open_output(tmp_path / "out", source) as output:
        output.write(next(source.frames()), drawn)
    assert np.array_equal(read_image(output.written[0]), drawn)
