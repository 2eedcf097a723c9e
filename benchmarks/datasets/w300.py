"""300-W (Sagonas et al., 2016): faces in photographs, 68 landmarks.

    annotations/face_landmarks_300w_valid.json and images/…      as mmpose has it: 554 common, 135 challenging
    01_Indoor/indoor_001.png, indoor_001.pts …, 02_Outdoor/…     as published: the 600 of the challenge

Of another annotation file (…_test.json) the pictures are read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Malformed,
    digest,
    find_annotations,
    find_pictures,
    numbers,
)
from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.datasets.faces import LANDMARKS, FaceDataset, face_truth, read_coco_faces
from wholebody.benchmarks.metrics.faces import outer_eye_distance

__all__ = ["W300", "read_w300"]

Doubles = NDArray[np.float64]
PATTERNS = ("annotations/face_landmarks_300w_valid.json", "*300w*.json", "0*door/*.pts")
COMMON, CHALLENGE, INDOOR, OUTDOOR = "common", "challenge", "indoor", "outdoor"


@dataclass(frozen=True, eq=False)
class W300(FaceDataset):
    """Mean error over the distance of the eyes' outer corners, of all faces and of each subset."""

    @cached_property
    def groups(self) -> tuple[str, ...]:
        there = {picture.group for picture in self.pictures}
        return tuple(group for group in (COMMON, CHALLENGE, INDOOR, OUTDOOR) if group in there)

    @property
    def auc_limit(self) -> float:
        return 0.08

    @property
    def size_notes(self) -> str:
        return "Errors are divided by the distance between the outer corners of the true eyes."

    def sizes(self, truth: Doubles) -> Doubles:
        return outer_eye_distance(truth)


def read_w300(folder: Path, *, annotations: Path | None = None) -> W300:
    """Read a folder laid out as mmpose has it, or as published. Raises SourceError."""
    path = find_annotations(folder, "300w", PATTERNS, annotations)
    if path.suffix == ".pts":
        points = sorted(folder.glob(PATTERNS[-1]))
        return W300("300w", digest(*points), tuple(_published(folder, point) for point in points))
    pictures = (Picture(*row, group=_group(row[0])) for row in read_coco_faces(folder, "300w", path))
    return W300("300w", digest(path), tuple(pictures))


def _published(folder: Path, points: Path) -> Picture:
    name = points.relative_to(folder).with_suffix(".png").as_posix()
    (file,) = find_pictures(folder, "300w", [name])
    return Picture(name, file, face_truth(_pts(points)[None]), _group(name))


def _pts(path: Path) -> Doubles:
    """(68, 2) of iBUG's text: a header, and the points between braces. Raises Malformed."""
    try:
        points = path.read_text("ascii").split("{")[1].split("}")[0].split()
        values = [float(value) for value in points]
    except (IndexError, ValueError):
        raise Malformed(f"{path} holds no points as iBUG writes them") from None
    return numbers(values, (LANDMARKS, 2), "points", path)


def _group(name: str) -> str:
    """The subset of a picture: by mmpose's folders, and of the challenge's own by its name."""
    stem = PurePosixPath(name).stem
    for group in (INDOOR, OUTDOOR):
        if stem.startswith(group):
            return group
    return CHALLENGE if "ibug" in PurePosixPath(name).parts else COMMON
