"""What a student is calibrated on: pictures as the runtime itself prepares them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wholebody.export.person_boxes import Boxes, boxes_from, whole_frame
from wholebody.runtime.backends.backend import Array
from wholebody.runtime.errors import SourceError
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.kernels.crop import crop_affines, crops
from wholebody.runtime.kernels.letterbox import Letterboxer, letterbox_in
from wholebody.runtime.media import Frame, open_source
from wholebody.runtime.media.frames import Item
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.spec import AnySpec, DetectorSpec, StudentSpec, TopDownSpec

__all__ = ["ADVISED", "BUNDLED", "HELD_OUT", "Inputs", "Part", "Samples", "boxes_of_manifest", "samples"]

Inputs = Mapping[str, Array]  # a network's inputs by the names in its description
ADVISED = 64  # pictures; with fewer, ranges depend on which ones they are
BUNDLED = Path(str(resources.files("wholebody"))) / "calibration_data"
HELD_OUT = BUNDLED / "held_out"  # to measure on what was calibrated on BUNDLED
Part = Literal["all", "to calibrate", "held out"]
THIRD = 3  # of every so many pictures one is held out
MOST_PEOPLE = 4  # of one picture, so that no crowd decides alone
NOBODY = np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Samples:
    """Network inputs of batch one; each iteration reads the pictures anew, so that many take no memory.

    sha256          of all inputs
    names           the picture that each came from; a frame of a video is "file#index"
    boxes           (S, 4) float32 x0 y0 x1 y1, pixels of the picture, for a top-down student; else (0, 4)
    sizes           (height, width) of the picture that each came from
    pictures        how many different ones
    without_people  how many pictures have nobody in them, as far as that was looked for
    warnings        what is wrong with them, in words
    """

    spec: AnySpec
    sha256: str
    names: tuple[str, ...]
    boxes: Floats
    sizes: tuple[tuple[int, int], ...]
    pictures: int
    without_people: int
    warnings: tuple[str, ...]
    _chosen: _Chosen = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Inputs]:
        left = list(zip(self.names, self.boxes if len(self.boxes) else [NOBODY] * len(self), strict=True))
        for frame in self._chosen.frames(set(self.names)):
            name = _name(frame)
            count = next((i for i, (other, _) in enumerate(left) if other != name), len(left))
            boxes = np.array([box for _, box in left[:count]], np.float32).reshape(-1, 4)
            del left[:count]
            yield from _prepare(self.spec, frame, boxes)


def samples(
    spec: AnySpec,
    source: str | Path | Sequence[str | Path] = BUNDLED,
    *,
    count: int = ADVISED,
    boxes: str | Path | Boxes | None = None,
    detector: PersonDetector | None = None,
    part: Part = "all",
    least: int = 2,
) -> Samples:
    """Inputs of the network that `spec` describes, made of a source's pictures: a folder, files or a video.

    count     pictures at most, spread evenly over the source
    part      of the source: every third picture is "held out", the others are "to calibrate"
    boxes     where the people are: a file of `wholebody run --json`, or a function
    detector  finds them instead
    least     different pictures needed; to measure on, one will do

    DOPE and detectors get whole frames, a top-down student gets crops: of up to four people in a picture.
    Without boxes and detector these are the ones that the source's own manifest.json tells, as that of the
    bundled pictures does; without that, a top-down student gets every picture as one person. Pictures that
    cannot be read, are there twice or have nobody in them are counted and warned about.

    Raises SourceError where the source is empty, endless or unreadable, has one picture over and over, or
    leaves nobody for a top-down student; ValueError for a count below `least`.
    """
    if count < least:
        raise ValueError(f"count is {count}; ranges need {least} pictures or more, {ADVISED} are advised")
    chosen = _Chosen(source, count, part)
    find = _finder(source, boxes, detector)
    seen, repeated, without = set[bytes](), 0, 0
    names, found, sizes, digest = list[str](), list[Floats](), list[tuple[int, int]](), hashlib.sha256()
    for frame in chosen.frames():
        pixels = hashlib.sha256(frame.image.tobytes()).digest()
        if pixels in seen:
            repeated += 1
            continue
        seen.add(pixels)
        people = NOBODY if find is None else find(frame)[:MOST_PEOPLE]
        without += find is not None and not len(people)
        if isinstance(spec, TopDownSpec):
            people = whole_frame(frame) if find is None else people
            found.append(people)
        for inputs in _prepare(spec, frame, people):
            for array in inputs.values():
                digest.update(array.tobytes())
            names.append(_name(frame))
            sizes.append((frame.image.shape[0], frame.image.shape[1]))
    _require(source, len(seen), repeated, len(names), least)
    return Samples(
        spec=spec,
        sha256=digest.hexdigest(),
        names=tuple(names),
        boxes=np.concatenate(found) if found else NOBODY,
        sizes=tuple(sizes),
        pictures=len(seen),
        without_people=without,
        warnings=tuple(_warnings(source, len(seen), repeated, without, chosen.problems, least)),
        _chosen=chosen,
    )


class _Chosen:
    """Frames spread evenly over a source, to be read as often as one likes."""

    def __init__(self, source: str | Path | Sequence[str | Path], count: int, part: Part) -> None:
        self.problems: list[SourceError] = []
        opened = open_source(source)
        if opened.is_stream:
            raise SourceError("a webcam never ends: record a video, and calibrate on that")
        lengths = [_length(item) for item in opened.items]
        wanted = _spread(sum(lengths), count, part)
        self._parts: list[tuple[Item, set[int]]] = []
        first = 0
        for item, length in zip(opened.items, lengths, strict=True):
            inside = {int(i) - first for i in wanted if first <= i < first + length}
            self._parts += [(item, inside)] if inside else []
            first += length

    def frames(self, names: set[str] | None = None) -> Iterator[Frame]:
        """All of them or, once known, those with these names; what cannot be read goes to `problems`.

        Raises SourceError where none can be.
        """
        self.problems, read = [], False
        for item, wanted in self._parts:
            try:
                for frame in _until(item, max(wanted)):
                    if frame.index in wanted and (names is None or _name(frame) in names):
                        read = True
                        yield frame
            except SourceError as error:
                self.problems.append(error)
        if not read and self.problems:
            raise self.problems[0]


def _spread(total: int, count: int, part: Part) -> NDArray[np.intp]:
    """At most `count` of the numbers below `total`, those of a part of them."""
    numbers = np.arange(total)
    if part != "all":
        numbers = numbers[(numbers % THIRD == 1) == (part == "held out")]
    return np.unique(numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).round().astype(int)])


def _until(item: Item, last: int) -> Iterator[Frame]:
    for frame in item.frames(lambda text: None):  # a video that is cut off has its other frames
        yield frame
        if frame.index >= last:
            return


def _length(item: Item) -> int:
    """Frames of an item; a video that does not say is read for it."""
    return item.length or sum(1 for _ in item.frames(lambda text: None))


def _name(frame: Frame) -> str:
    return frame.name if frame.kind == "picture" else f"{frame.name}#{frame.index}"


def _finder(
    source: str | Path | Sequence[str | Path],
    boxes: str | Path | Boxes | None,
    detector: PersonDetector | None,
) -> Boxes | None:
    if callable(boxes):
        return boxes
    if boxes is not None or detector is not None:
        return boxes_from(boxes or detector)
    return boxes_of_manifest(source) if isinstance(source, (str, Path)) else None


def boxes_of_manifest(folder: str | Path) -> Boxes | None:
    """The people in a calibration set's own manifest.json; None where it does not tell them."""
    try:
        entries = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))["pictures"]
        known = {e["file"]: np.array(e["boxes"], np.float32).reshape(-1, 4) for e in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return lambda frame: known.get(Path(frame.name).name, NOBODY)


def _prepare(spec: AnySpec, frame: Frame, boxes: Floats) -> Iterator[Inputs]:
    """What the runtime would give to the network: one mapping for a frame, or one for each of its boxes."""
    image = frame.image
    size = image.shape[0], image.shape[1]
    if isinstance(spec, StudentSpec):
        within = letterbox(size, spec.input)
        yield {"image": preprocess(image, within, spec.input), "size": np.array(within.size, np.float32)}
    elif isinstance(spec, DetectorSpec):
        yield {"image": Letterboxer(spec.input)(image, letterbox_in(size, spec.input))}
    else:
        crop = spec.input.width, spec.input.height
        for affine in crop_affines(boxes, crop, spec.padding, udp=spec.udp):
            yield {"image": crops(image, affine[None], spec.input)}


def _require(source: object, different: int, repeated: int, made: int, least: int) -> None:
    if different < least:
        got = f"one picture, {repeated + 1} times over" if repeated else "one picture"
        raise SourceError(f"{source} is {got}: ranges need different ones, {ADVISED} or more are advised")
    if not made:
        raise SourceError(
            f"nobody was found in the {different} pictures of {source}: give pictures of people, or tell "
            "where they are (--boxes, --detector)"
        )


def _warnings(
    source: object, different: int, repeated: int, without: int, problems: Sequence[SourceError], least: int
) -> Iterator[str]:
    if problems:
        yield f"{len(problems)} of the pictures cannot be read, such as: {problems[0]}"
    if repeated:
        yield f"{repeated} pictures are there more than once and count once"
    if without:
        yield f"{without} of {different} pictures have nobody in them"
    if least > 1 and different < ADVISED:  # not where they are to measure on
        yield f"{source} has {different} different pictures; {ADVISED} or more are advised"
