"""OneHand10K (TCSVT 2019), as mmpose has its annotations: one hand a picture, whose side is not told.

annotations/onehand10k_test.json, Test/source/0.jpg …
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wholebody.benchmarks.datasets.annotation_json import digest, find_annotations
from wholebody.benchmarks.datasets.coco_hands import read_coco_hands
from wholebody.benchmarks.datasets.hands import HandDataset

__all__ = ["OneHand10K", "read_onehand10k"]

PATTERNS = ("annotations/onehand10k_test.json", "*onehand10k*.json")


@dataclass(frozen=True, eq=False)
class OneHand10K(HandDataset):
    """PCK@0.2, AUC and mean error in pixels."""


def read_onehand10k(folder: Path, *, annotations: Path | None = None) -> OneHand10K:
    """Read the test set. Raises SourceError."""
    path = find_annotations(folder, "onehand10k", PATTERNS, annotations)
    pictures = read_coco_hands(folder, "onehand10k", path, side=lambda image, annotation: "")
    return OneHand10K("onehand10k", digest(path), pictures)
