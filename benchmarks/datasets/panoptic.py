"""CMU Panoptic's manually labelled hands (CVPR 2017), the test set of MPII and NZSL, as mmpose has it.

    annotations/panoptic_test.json, hand_labels/manual_test/000648952_02_l.jpg …

One hand a picture is labelled, of several people's; the name of the picture ends in its side, _l or _r.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Entry,
    annotated_images,
    digest,
    find_annotations,
    numbers,
    text,
)
from wholebody.benchmarks.datasets.coco_hands import read_coco_hands
from wholebody.benchmarks.datasets.dataset import Metric, Picture
from wholebody.benchmarks.datasets.found_parts import Pairs
from wholebody.benchmarks.datasets.hands import HandDataset
from wholebody.benchmarks.metrics.joint_tallies import Cells, by_joint, where_labelled

__all__ = ["Panoptic", "read_panoptic"]

Doubles = NDArray[np.float64]
PATTERNS = ("annotations/panoptic_test.json", "*panoptic*.json")
PCKH_FRACTION = 0.7  # of the person's head
SIDES = {"_l": "left", "_r": "right"}


@dataclass(frozen=True, eq=False)
class Panoptic(HandDataset):
    """PCKh@0.7 (of the head's size, pixels by picture), and what every data set of hands has."""

    head_sizes: Mapping[str, Doubles]

    @property
    def picture_metrics(self) -> tuple[Metric, ...]:
        return (Metric("pckh", "PCKh@0.7", "share", "higher"), *super().picture_metrics)

    @property
    def notes(self) -> str:
        return f"PCKh@0.7 of the annotated size of the head, mean over joints. {super().notes}"

    def in_picture(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        errors, head = pairs.pixels, self.head_sizes[picture.name]
        pckh = by_joint(where_labelled(errors <= PCKH_FRACTION * head[:, None], errors))
        return {"pckh": pckh, **super().in_picture(pairs, picture)}


def read_panoptic(folder: Path, *, annotations: Path | None = None) -> Panoptic:
    """Read the test set. Raises SourceError."""
    path = find_annotations(folder, "panoptic", PATTERNS, annotations)
    heads = {text(image, "file_name", path): _heads(hands, path) for image, hands in annotated_images(path)}
    return Panoptic("panoptic", digest(path), read_coco_hands(folder, "panoptic", path, side=_side), heads)


def _heads(hands: list[Entry], path: Path) -> Doubles:
    return numbers([hand.get("head_size", "") for hand in hands], (len(hands),), "head_size", path)


def _side(image: Entry, hand: Entry) -> str:
    return SIDES.get(PurePosixPath(str(image.get("file_name"))).stem[-2:], "")
