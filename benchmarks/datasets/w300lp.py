"""300W-LP (CVPR 2016): the faces of 300-W turned to large poses by rendering; a training set.

annotations/face_landmarks_300wlp_test.json and the pictures it names       as mmpose has it
AFW/AFW_134212_1_0.jpg …, landmarks/AFW/AFW_134212_1_0_pts.mat …            as published
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wholebody.benchmarks.datasets.annotation_json import digest, find_annotations, find_pictures
from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.datasets.faces import LANDMARKS, FaceDataset, face_truth, read_coco_faces
from wholebody.benchmarks.datasets.matlab_numbers import read_numbers

__all__ = ["W300Lp", "read_w300lp"]

PATTERNS = (
    "annotations/face_landmarks_300wlp_test.json",
    "*300w*.json",
    "landmarks/*/*_pts.mat",
)


@dataclass(frozen=True, eq=False)
class W300Lp(FaceDataset):
    """Mean error over √(w·h) of the box around the landmarks, as AFLW2000-3D, which it trains for."""

    @property
    def size_notes(self) -> str:
        return f"{super().size_notes} 300W-LP has no protocol of its own: it is made to train with."


def read_w300lp(folder: Path, *, annotations: Path | None = None) -> W300Lp:
    """Read a folder laid out as mmpose has it, or as published. Raises SourceError.

    WholebodyError where there are MATLAB files and no scipy.
    """
    path = find_annotations(folder, "300w-lp", PATTERNS, annotations)
    if path.suffix == ".mat":
        files = sorted(folder.glob(PATTERNS[-1]))
        return W300Lp("300w-lp", digest(*files), tuple(_published(folder, file) for file in files))
    pictures = (Picture(*row) for row in read_coco_faces(folder, "300w-lp", path))
    return W300Lp("300w-lp", digest(path), tuple(pictures))


def _published(folder: Path, file: Path) -> Picture:
    name = f"{file.parent.name}/{file.name.removesuffix('_pts.mat')}.jpg"
    (picture,) = find_pictures(folder, "300w-lp", [name])
    landmarks = read_numbers(file, pts_2d=(LANDMARKS, 2))["pts_2d"]
    return Picture(name, picture, face_truth(landmarks[None]))
