"""Results as JSON lines: one frame, one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Frame
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import SKELETONS, Skeleton

if sys.platform != "win32":
    import fcntl

__all__ = ["Record", "RecordWriter", "read_records"]


@dataclass(frozen=True, eq=False)
class Record:
    """The people of one frame; `time` in seconds since its source began, `width` and `height` in pixels."""

    source: str
    frame: int
    time: float
    width: int
    height: int
    people: People


class RecordWriter:
    """Writes a line per frame into a file, or to standard output where the path is "-".

    Each line is whole and handed to the system before `write` returns: the file is valid whenever work stops.
    Its folder is made if need be. Raises SourceError, at once where the file cannot be written, and
    BrokenPipeError where nobody reads on.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with self._explained():
            self._file = _standard_output() if str(path) == "-" else _new_file(Path(path))

    def write(self, frame: Frame, people: People) -> None:
        """One line: source, frame, time, width, height, skeleton, people, metadata.

        Raises ValueError where a box or score is not a number.
        """
        height, width = frame.image.shape[:2]
        record = {
            "source": frame.name,
            "frame": frame.index,
            "time": round(frame.time_s, 4),
            "width": width,
            "height": height,
            **people.to_dict(),
            "metadata": dict(people.metadata),
        }
        text = json.dumps(record, separators=(",", ":"), default=_plain, allow_nan=False)
        with self._explained():
            self._file.write(text + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not sys.stdout:
            with suppress(OSError):  # every line is flushed; what failed has been raised by `write`
                self._file.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # the reader has gone, as `head` does: nothing to mend
            raise
        except OSError as error:
            raise SourceError(f"cannot write {self._path}: {error.strerror}; choose another file") from error


def _standard_output() -> TextIO:
    if sys.stdout is None:  # closed by whoever started this process
        raise SourceError("cannot write to standard output: it is closed; name a file")
    return sys.stdout


def _new_file(path: Path) -> TextIO:
    """Empty and for this run alone: the lines of two would mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
    if path.is_file():
        _lock(file, path)
        file.truncate(0)
    return file


def _lock(file: TextIO, path: Path) -> None:
    """Until it is closed; where the system or its disk has no locks, nothing happens."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise SourceError(f"cannot write {path}: another run is writing it; choose another file") from None
    except OSError:
        return


def read_records(path: str | Path) -> Iterator[Record]:
    """The records of a file that RecordWriter wrote, one at a time.

    Coordinates come back as rounded by `People.to_dict`; a frame without people has no `keypoints3d`.
    Raises SourceError, with the line's number, where a line is no record.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _record(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SourceError(
            f"cannot read {path}: {reason}; expected JSON lines as `wholebody run --json` writes"
        ) from error


def _record(line: str, where: str) -> Record:
    try:
        content = json.loads(line)
        return Record(
            source=str(content["source"]),
            frame=int(content["frame"]),
            time=float(content["time"]),
            width=int(content["width"]),
            height=int(content["height"]),
            people=_people(content["people"], SKELETONS[content["skeleton"]], content.get("metadata", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__} {error}".replace("\n", " ")[:200]
        raise SourceError(f"{where} is no record of people ({reason}): write the file again") from error


def _people(people: list[dict[str, Any]], skeleton: Skeleton, metadata: dict[str, Any]) -> People:
    if not people:
        return People.empty(skeleton).with_metadata(**metadata)
    with_3d = any("keypoints3d" in person for person in people)
    with_ids = any("id" in person for person in people)
    return People(
        keypoints=_points([person["keypoints"] for person in people], 2),
        scores=np.array([person["scores"] for person in people], np.float32),
        keypoints3d=_points([person["keypoints3d"] for person in people], 3) if with_3d else None,
        boxes=np.array([person["box"] for person in people], np.float32),
        score=np.array([person["score"] for person in people], np.float32),
        skeleton=skeleton,
        metadata=metadata,
        ids=np.array([person["id"] for person in people], np.int64) if with_ids else None,
    )


def _points(people: list[list[list[float] | None]], axes: int) -> Floats:
    unseen = [np.nan] * axes
    return np.array([[point or unseen for point in points] for points in people], np.float32)


def _plain(value: Any) -> Any:
    """What JSON has no form for: arrays as lists, mappings as objects, anything else as its text."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else str(value)
