"""Rendered Handpose (ICCV 2017), its evaluation of 2,728 pictures, with mmpose's annotations in JSON.

    annotations/rhd_test.json, evaluation/color/00000.png …

The publishers' own `anno_evaluation.pickle` is never opened: a pickle can run code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Entry,
    digest,
    find_annotations,
    numbers,
    text,
)
from wholebody.benchmarks.datasets.coco_hands import read_coco_hands
from wholebody.benchmarks.datasets.hand3d import Hand3d
from wholebody.runtime.errors import SourceError

__all__ = ["Rhd", "read_rhd"]

Doubles = NDArray[np.float64]
PATTERNS = ("annotations/rhd_test.json", "*rhd*.json")
PICKLES = ("evaluation/anno_evaluation.pickle", "*/evaluation/anno_evaluation.pickle")
JSON_URL = "https://download.openmmlab.com/mmpose/datasets/rhd_annotations.zip"


@dataclass(frozen=True, eq=False)
class Rhd(Hand3d):
    """hand3d's protocol over the joints that can be seen."""


def read_rhd(folder: Path, *, annotations: Path | None = None) -> Rhd:
    """Read the evaluation set. Raises SourceError, also where there is only the publishers' pickle."""
    pickles = [path for pattern in PICKLES for path in folder.glob(pattern)]
    if annotations is None and pickles and not any(any(folder.glob(pattern)) for pattern in PATTERNS):
        raise SourceError(
            f"{pickles[0]} is a pickle, which can run code, and is not opened: put annotations/rhd_test.json "
            f"of {JSON_URL} into {folder}, the same annotations in JSON"
        )
    path = find_annotations(folder, "rhd", PATTERNS, annotations)

    def points(hand: Entry) -> Doubles:
        return numbers(hand.get("joint_cam"), (21, 3), "joint_cam", path) / 1000

    def side(image: Entry, hand: Entry) -> str:
        return text(hand, "hand_type", path, ("left", "right"))

    return Rhd("rhd", digest(path), read_coco_hands(folder, "rhd", path, side=side, points=points))
