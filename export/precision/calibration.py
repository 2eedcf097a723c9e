"""What a student is calibrated on: pictures as the runtime itself prepares them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from wholebody.export.person_boxes import Boxes
from wholebody.runtime.backends.backend import Array
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.spec import AnySpec

__all__ = ["Samples", "samples"]


class Samples:
    """Network inputs of batch one; each iteration makes them anew, so that many large ones take no memory.

    sha256   of all inputs
    names    the picture that each came from
    boxes    (S, 4) float32 x0 y0 x1 y1 in the picture's pixels, for a top-down student; else (0, 4)
    sizes    (height, width) of the picture that each came from
    without_people  pictures in which nobody was found
    """

    sha256: str
    names: tuple[str, ...]
    boxes: Floats
    sizes: tuple[tuple[int, int], ...]
    without_people: int

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        raise NotImplementedError


def samples(
    spec: AnySpec,
    source: str | Path | Sequence[str | Path],
    *,
    count: int = 64,
    boxes: str | Path | Boxes | None = None,
    detector: PersonDetector | None = None,
) -> Samples:
    """Inputs of the network that `spec` describes, made of pictures of `source`: a folder, pictures or a video.

    count     how many at most, spread evenly over the source; fewer than 64 are warned about
    boxes     for a top-down student, its people: a file of `wholebody run --json`, or a function
    detector  finds them instead; without either every picture is taken for one person

    Whole frames for DOPE and detectors, crops of people for a top-down student.
    Raises SourceError where the source is empty, unreadable or one picture over and over.
    """
    raise NotImplementedError
