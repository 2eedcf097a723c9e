"""Whose crops a top-down student is measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wholebody.runtime.errors import SourceError
from wholebody.runtime.kernels.crop import check_boxes
from wholebody.runtime.media import Frame
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.records import Record, read_records

__all__ = ["Boxes", "boxes_from", "whole_frame"]

Boxes = Callable[[Frame], Floats]  # a picture's people, (N, 4) x0 y0 x1 y1 in its pixels


def boxes_from(given: str | Path | PersonDetector | None) -> Boxes:
    """The boxes in a file that `wholebody run --json` wrote, or a detector's; None means `whole_frame`."""
    if given is None:
        return whole_frame
    if isinstance(given, PersonDetector):
        return lambda frame: given(frame.image)[0]
    return _recorded(Path(given))


def whole_frame(frame: Frame) -> Floats:
    """One box, (1, 4), around the whole picture."""
    height, width = frame.image.shape[:2]
    return np.array([[0, 0, width, height]], np.float32)


def _recorded(path: Path) -> Boxes:
    """Pictures are recognised by the name of their file, their number in it and their size."""
    known = _by_name(path)

    def boxes(frame: Frame) -> Floats:
        name, (height, width) = Path(frame.name).name, frame.image.shape[:2]
        if (name, frame.index) not in known:
            raise SourceError(f"{path} has no boxes for {name}, frame {frame.index}; give its own pictures")
        record = known[name, frame.index]
        if (record.width, record.height) != (width, height):
            raise SourceError(
                f"{path} has boxes for a {name} of {record.width} x {record.height} pixels, not of "
                f"{width} x {height}; give its own pictures"
            )
        found = record.people.boxes
        try:
            check_boxes(found, (height, width))
        except ValueError as error:
            raise SourceError(f"{path}, {name}, frame {frame.index}: {error}") from error
        return found

    return boxes


def _by_name(path: Path) -> dict[tuple[str, int], Record]:
    known: dict[tuple[str, int], Record] = {}
    for record in read_records(path):
        name = Path(record.source).name
        first = known.setdefault((name, record.frame), record)
        if first.source != record.source:
            raise SourceError(
                f"{path} has boxes for two pictures named {name}, {first.source} and {record.source}; write "
                "one file for each folder"
            )
    return known
