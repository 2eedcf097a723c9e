"""Annotated pictures and videos on their way to disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

import cv2

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media.frames import Frame, Item, Kind
from wholebody.runtime.media.pictures import Image, write_image
from wholebody.runtime.media.quiet import quiet_opencv
from wholebody.runtime.media.sources import PICTURE_SUFFIXES, Source

__all__ = ["Output", "open_output"]

_VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# What ends like a picture or video is meant as a file, also where we do not write that kind.
_FILE_SUFFIXES = (*PICTURE_SUFFIXES, *_VIDEO_CODECS, ".gif", ".mkv", ".mov", ".webm")


def open_output(target: str | Path, source: Source) -> Output:
    """Where the annotated frames of `source` go: a folder, or the one file for a source of one item.

    A target that ends like a picture (.png, .jpg) or video (.mp4, .avi) is a file; anything else a folder,
    made if need be. In a folder `x.jpg` becomes `x.wholebody.jpg`, other pictures end in `.wholebody.png`
    and videos in `.wholebody.mp4`; a number is put in where two would share a name or a source would be
    overwritten.
    Raises SourceError at once where nothing can be written there or the target does not fit the source.
    """
    target = Path(target)
    if target.suffix.lower() in _FILE_SUFFIXES and not target.is_dir():
        paths = _one_file(target, source.items)
    else:
        paths = _files_in(target, source.items)
    _prove_writable(next(iter(paths.values())).parent if paths else target)
    return Output(paths)


class Output:
    """Writes annotated frames; each file appears under its own name when it is whole.

    paths    the file of each item of the source, by the item's name
    written  the files that are whole so far
    Leaving the `with` block, also by Ctrl-C or an error, finishes the video being written.
    """

    def __init__(self, paths: dict[str, Path]) -> None:
        self.paths = dict(paths)
        self.written: list[Path] = []
        self._video: _Video | None = None
        self._video_name = ""

    def write(self, frame: Frame, image: Image) -> None:
        """Write (H, W, 3) uint8 BGR, drawn from `frame`. Raises SourceError where that fails.

        All pictures of one video have one size. A webcam's are repeated or left out, so that the video runs
        at the pace of the clock however long a frame took.
        """
        if self._video is not None and self._video_name != frame.name:
            self.close()
        if frame.kind == "picture":
            write_image(self.paths[frame.name], image)
            self.written.append(self.paths[frame.name])
            return
        if self._video is None:
            self._video, self._video_name = _Video(self.paths[frame.name], frame.fps, image), frame.name
        due = round(frame.time_s * frame.fps) + 1 if frame.kind == "webcam" else self._video.frames + 1
        self._video.write(image, times=due - self._video.frames)

    def close(self) -> None:
        """Finish the video being written. Raises SourceError where it is not whole on the disk."""
        video, self._video = self._video, None
        if video is not None:
            self.written.append(video.finish())

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Video:
    """One video under a temporary name; MJPG in .avi where OpenCV cannot write the format asked for."""

    def __init__(self, path: Path, fps: float, first: Image) -> None:
        self.frames = 0
        self._size = first.shape[1::-1]
        for suffix in dict.fromkeys((path.suffix.lower(), ".avi")):
            self._path = path.with_suffix(suffix)
            self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{suffix}")
            codec = cv2.VideoWriter.fourcc(*_VIDEO_CODECS[suffix])
            with quiet_opencv():
                self._writer = cv2.VideoWriter(str(self._temporary), codec, fps, self._size)
            if self._writer.isOpened():
                return
            self._temporary.unlink(missing_ok=True)
        raise SourceError(
            f"cannot write {path}: this OpenCV writes neither mp4 nor avi; use opencv-python from PyPI"
        )

    def write(self, image: Image, times: int = 1) -> None:
        if image.shape[1::-1] != self._size:
            raise ValueError(
                f"all frames of a video have one size: got {image.shape[1::-1]} after {self._size}"
            )
        for _ in range(times):
            with quiet_opencv():
                self._writer.write(image)
            self.frames += 1

    def finish(self) -> Path:
        with quiet_opencv():
            self._writer.release()
            kept = cv2.VideoCapture(str(self._temporary))
            frames = int(kept.get(cv2.CAP_PROP_FRAME_COUNT)) if kept.isOpened() else 0
            kept.release()
        if frames < self.frames:  # OpenCV tells nobody when a write fails
            self._temporary.unlink(missing_ok=True)
            raise SourceError(
                f"cannot write {self._path}: only {frames} of {self.frames} frames kept; is the disk full?"
            )
        os.replace(self._temporary, self._path)
        return self._path


def _one_file(target: Path, items: Iterable[Item]) -> dict[str, Path]:
    items = list(items)
    if len(items) != 1:
        raise SourceError(f"{target} is one file for {len(items)} sources: name a folder")
    (item,) = items
    allowed = _PICTURE_SUFFIXES if item.kind == "picture" else tuple(_VIDEO_CODECS)
    if target.suffix.lower() not in allowed:
        raise SourceError(
            f"{target} cannot hold a {item.kind}: name a folder or a file in {', '.join(allowed)}"
        )
    if os.path.realpath(target) == os.path.realpath(item.name):
        raise SourceError(f"{target} is the source itself, which is never overwritten: choose another name")
    return {item.name: target}


def _files_in(folder: Path, items: Iterable[Item]) -> dict[str, Path]:
    items = list(items)
    taken = {os.path.realpath(item.name).lower() for item in items}
    paths: dict[str, Path] = {}
    for item in items:
        stem, suffix = Path(item.name).stem, _suffix(Path(item.name), item.kind)
        path, number = folder / f"{stem}.wholebody{suffix}", 2
        while os.path.realpath(path).lower() in taken:
            path, number = folder / f"{stem}-{number}.wholebody{suffix}", number + 1
        taken.add(os.path.realpath(path).lower())
        paths[item.name] = path
    return paths


def _suffix(source: Path, kind: Kind) -> str:
    if kind != "picture":
        return ".mp4"
    return ".jpg" if source.suffix.lower() in (".jpg", ".jpeg") else ".png"


def _prove_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SourceError(
            f"cannot write into {folder}: {error.strerror}; choose another output folder"
        ) from error
