"""What data sets of faces have in common: 68 landmarks of iBUG in the picture, judged by normalised error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    annotated_images,
    boxes,
    find_pictures,
    keypoints,
    text,
)
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.found_parts import extents, found_faces, labelled, pair
from wholebody.benchmarks.datasets.joint_orders import FACE_PARTS
from wholebody.benchmarks.metrics.curves import area_under_curve
from wholebody.benchmarks.metrics.faces import box_size, normalised_errors
from wholebody.benchmarks.metrics.joint_tallies import found_alone, where_labelled
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["LANDMARKS", "FaceDataset", "face_truth", "read_coco_faces"]

Doubles = NDArray[np.float64]
LANDMARKS = 68
MATLAB_ORIGIN = 1.0  # where MATLAB counts the centre of the top left pixel
FOUND = Metric("found", "faces found", "share", "higher")
NOTES = (
    "All 68 landmarks of iBUG are judged: DOPE's 84 hold them, every second point of its contour being taken "
    "for one of iBUG's 17. A true face is judged by the nearest one found, at most half its longer side "
    "away on average; one that lacks a landmark counts as missed. NME is of the faces found; AUC, the area "
    "under the share of faces up to an NME, counts those that were missed. The annotations count the first "
    "pixel as 1, as MATLAB does, and are moved by one; mmpose and 3DDFA compare them as they stand. A "
    "top-down student without a detector is given the true face's box, which is no person's: one for whole "
    "bodies was not trained on such pictures."
)


@dataclass(frozen=True, eq=False)
class FaceDataset:
    """Pictures of faces, judged by the mean error over √(w·h) of the box around the true landmarks.

    Subclasses may measure faces otherwise, and tell groups of pictures apart.
    """

    name: str
    sha256: str
    pictures: tuple[Picture, ...]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups of pictures that also have an NME of their own."""
        return ()

    @property
    def balanced(self) -> bool:
        """Whether the NME of all is the mean over the groups, instead of over the faces."""
        return False

    @property
    def auc_limit(self) -> float:
        """The NME at which the area under the curve ends."""
        return 0.07

    @property
    def size_notes(self) -> str:
        """What errors are divided by."""
        return "Errors are divided by √(w·h) of the box around the true landmarks."

    def sizes(self, truth: Doubles) -> Doubles:
        """(G,) pixels that the errors of (G, 68, 2) landmarks are divided by."""
        return box_size(truth)

    @property
    def metrics(self) -> Sequence[Metric]:
        """AUC first: a missed face, which has no NME, is among the worst pictures."""
        overall = "NME, mean of groups, found" if self.balanced else "NME, found"
        apart = (Metric(f"nme {group}", f"NME, {group}, found", "share", "lower") for group in self.groups)
        area = Metric("auc", f"AUC to NME {100 * self.auc_limit:.0f} %", "share", "higher")
        return (area, Metric("nme", overall, "share", "lower"), *apart, FOUND)

    @property
    def notes(self) -> str:
        return f"{self.size_notes} {NOTES}"

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError for a skeleton without a face."""
        if skeleton.name not in FACE_PARTS:
            raise ArtefactError(
                f"{self.name} judges faces, which {skeleton.name} does not have: "
                f"take a student of {', '.join(FACE_PARTS)}"
            )

    def tally(self, people: People, picture: Picture) -> Tally:
        """Each true face beside the one found of it."""
        pairs = pair(found_faces(people), picture.truth)
        errors = normalised_errors(pairs.pixels, self.sizes(picture.truth.keypoints))
        nme = found_alone(errors)
        group = self.groups.index(picture.group) if picture.group in self.groups else None
        own = {} if group is None else {f"nme {picture.group}": tallied(nme)}
        cells = (group, len(self.groups)) if self.balanced and group is not None else (0, 1)
        return {
            "nme": tallied(nme, *cells),
            **own,
            "auc": tallied(where_labelled(area_under_curve(errors, self.auc_limit), errors)),
            "found": tallied(where_labelled(np.isfinite(errors), errors)),
        }


def face_truth(landmarks: Doubles, corners: Doubles | None = None) -> Truth:
    """(G, 68, 2) landmarks as MATLAB counts pixels, and boxes: None for those around the landmarks."""
    pixels = landmarks - MATLAB_ORIGIN
    around = extents(pixels) if corners is None else corners - MATLAB_ORIGIN
    return Truth(pixels, None, labelled(pixels), around, ("",) * len(pixels))


def read_coco_faces(folder: Path, dataset: str, path: Path) -> list[tuple[str, Path, Truth]]:
    """Name, file and truth of each picture of an annotation file, as mmpose has them. Raises SourceError."""
    entries = list(annotated_images(path))
    names = [text(image, "file_name", path) for image, _ in entries]
    files = find_pictures(folder, dataset, names, ("images", ""))
    rows = []
    for name, file, (_, faces) in zip(names, files, entries, strict=True):
        landmarks = np.zeros((len(faces), LANDMARKS, 2))
        for i, face in enumerate(faces):
            landmarks[i] = keypoints(face, LANDMARKS, path)
        rows.append((name, file, face_truth(landmarks, boxes(faces, path))))
    return rows
