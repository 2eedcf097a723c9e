"""AFLW2000-3D (CVPR 2016): 2,000 faces in photographs, 68 landmarks of a fitted 3D face, at any yaw.

    image00002.jpg, image00002.mat …     (or in a folder AFLW2000/)

Of each .mat, `pt3d_68` (3 x 68, pixels) and `Pose_Para` (pitch, yaw, roll in radians, and more) are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wholebody.benchmarks.datasets.annotation_json import digest, find_pictures
from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.datasets.faces import LANDMARKS, FaceDataset, face_truth
from wholebody.benchmarks.datasets.matlab_numbers import read_numbers
from wholebody.benchmarks.datasets.registry import require_files

__all__ = ["Aflw2000", "read_aflw2000"]

YAWS = ("yaw 0 to 30", "yaw 30 to 60", "yaw 60 to 90")  # degrees; 30 and 60 are of the lower one


@dataclass(frozen=True, eq=False)
class Aflw2000(FaceDataset):
    """Mean error over √(w·h) of the box around the landmarks, as mean of three bins of yaw (3DDFA)."""

    @cached_property
    def groups(self) -> tuple[str, ...]:
        return YAWS

    @property
    def balanced(self) -> bool:
        return True


def read_aflw2000(folder: Path) -> Aflw2000:
    """Read all .mat files. Raises SourceError; WholebodyError where scipy is missing."""
    inner = folder / "AFLW2000"
    root = inner if inner.is_dir() else folder
    files = require_files(root, "aflw2000", ["*.mat"])["*.mat"]
    pictures = find_pictures(root, "aflw2000", [f"{file.stem}.jpg" for file in files])
    rows = (_picture(*pair) for pair in zip(files, pictures, strict=True))
    return Aflw2000("aflw2000", digest(*files), tuple(rows))


def _picture(file: Path, picture: Path) -> Picture:
    values = read_numbers(file, pt3d_68=(3, LANDMARKS), Pose_Para=(1, 7))
    yaw = abs(math.degrees(values["Pose_Para"][0, 1]))
    group = YAWS[0 if yaw <= 30 else 1 if yaw <= 60 else 2]
    return Picture(picture.name, picture, face_truth(values["pt3d_68"][:2].T[None]), group)
