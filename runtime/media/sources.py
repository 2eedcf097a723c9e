"""Pictures, folders, videos and webcams as one run of frames."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media.frames import Frame, Item, PictureFile
from wholebody.runtime.media.pictures import is_picture
from wholebody.runtime.media.videos import VideoFile, Webcam

__all__ = ["PICTURE_SUFFIXES", "Frame", "Source", "open_source"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_OWN_RESULT = ".wholebody"  # x.wholebody.png is an annotated picture, not a source
_WEBCAM = re.compile(r"(?:/dev/video)?([0-9]{1,3})")


class Source:
    """Pictures, videos or one webcam, in the order they were named; only one frame is in memory at a time.

    items      what there is to read; each has a `name` and a `kind`: "picture", "video" or "webcam"
    length     frames in all, as the files announce them, or None where nobody knows
    is_stream  whether it is live and without an end
    problems   what could not be read so far, in order: the others are not lost
    warnings   what was read only in part so far: a video that is cut off
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = tuple(items)
        self.is_stream = any(item.kind == "webcam" for item in items)
        lengths = [item.length for item in items]
        self.length = None if None in lengths else sum(length or 0 for length in lengths)
        self.problems: list[SourceError] = []
        self.warnings: list[str] = []
        self._reading: Generator[Frame, None, None] | None = None

    def frames(self) -> Iterator[Frame]:
        """Every frame, from the first item on.

        An item that cannot be read goes to `problems` and the next one follows; after the last frame of the
        last item the problems are raised as one SourceError.
        """
        self.close()
        self.problems, self.warnings = [], []
        self._reading = self._read()
        return self._reading

    def close(self) -> None:
        """Let go of the video or webcam that is being read."""
        if self._reading is not None:
            self._reading.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> Generator[Frame, None, None]:
        for item in self.items:
            try:
                yield from item.frames(self.warnings.append)
            except SourceError as error:
                self.problems.append(error)
        if self.problems:
            raise self._summary()

    def _summary(self) -> SourceError:
        first, others = self.problems[0], len(self.problems) - 1
        if not others:
            return first
        return SourceError(f"{first} (and {others} more of the {len(self.items)} sources could not be read)")


def open_source(specs: str | Path | Sequence[str | Path]) -> Source:
    """Open pictures, folders of pictures, videos, or one webcam ("0", "1" or "/dev/video0").

    A folder stands for its pictures, sorted by name; its folders, hidden files and `x.wholebody.png`,
    results of earlier runs, are passed over. A file named twice is read once. Pictures and videos are told
    apart by their ending or, without a known one, by their content.
    Raises SourceError at once where something does not exist, a folder holds no picture, a video cannot be
    opened, or a webcam is named together with others.
    """
    names = [specs] if isinstance(specs, (str, Path)) else specs
    if not names:
        raise SourceError("no source given: name pictures, folders, videos or a webcam such as 0")
    items = [item for name in names for item in _items(str(name))]
    source = Source(list({_identity(item): item for item in items}.values()))
    if source.is_stream and len(source.items) > 1:
        raise SourceError(f"a webcam never ends: got it among {len(source.items)} sources; name it alone")
    return source


def _items(name: str) -> list[Item]:
    if not name:
        raise SourceError("a source without a name: name pictures, folders, videos or a webcam such as 0")
    if webcam := _WEBCAM.fullmatch(name):
        return [Webcam(int(webcam[1]))]
    path = Path(name)
    try:
        if path.is_dir():
            return [PictureFile(picture) for picture in _pictures_in(path)]
        if not path.exists():
            raise SourceError(
                f"{path} does not exist: expected a picture, video, folder or the number of a webcam"
            )
        if path.suffix.lower() in PICTURE_SUFFIXES or is_picture(path):
            return [PictureFile(path)]
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    return [VideoFile.probe(path)]


def _pictures_in(folder: Path) -> list[Path]:
    pictures = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not path.name.startswith(".")
        and Path(path.stem).suffix != _OWN_RESULT
        and path.is_file()
    )
    if not pictures:
        raise SourceError(
            f"{folder} holds no picture: expected files that end in {', '.join(PICTURE_SUFFIXES)}"
        )
    return pictures


def _identity(item: Item) -> str:
    return item.name if item.kind == "webcam" else os.path.realpath(item.name)
