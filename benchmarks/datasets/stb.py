"""Stereo Hand Pose (ICIP 2017): the two test sequences, both cameras of the stereo pair, 6,000 pictures.

    labels/B1Counting_BB.mat, labels/B1Random_BB.mat
    images/B1Counting/BB_left_0.png, BB_right_0.png … (or B1Counting/… without images/)

`handPara` holds 3 x 21 x 1500 millimetres in the left camera's axes. Every hand is a left one, and its first
joint is the palm's centre. These are the pictures, cameras and palm of hand3d's evaluation; later papers also
use the pictures of the other camera (SK), whose figures are of other pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import digest, find_pictures
from wholebody.benchmarks.datasets.dataset import Picture, Truth
from wholebody.benchmarks.datasets.found_parts import Found, extents
from wholebody.benchmarks.datasets.hand3d import Hand3d
from wholebody.benchmarks.datasets.joint_orders import in_coco_order
from wholebody.benchmarks.datasets.matlab_numbers import read_numbers
from wholebody.benchmarks.datasets.registry import require_files
from wholebody.benchmarks.metrics.hand_pose import with_palm

__all__ = ["Stb", "read_stb"]

Doubles = NDArray[np.float64]
SEQUENCES = ("B1Counting", "B1Random")
FOCAL, CENTRE = 822.79041, np.array([318.47345, 250.31296])  # pixels
BASELINE = np.array([0.120054, 0, 0])  # metres from the left camera to the right one


@dataclass(frozen=True, eq=False)
class Stb(Hand3d):
    """hand3d's protocol; the palm's centre takes the wrist's place in the picture as well."""

    @property
    def notes(self) -> str:
        return f"{super().notes} STB labels the palm's centre, no wrist."

    def found(self, hands: Found) -> Found:
        points = hands.keypoints3d
        return Found(with_palm(hands.keypoints), None if points is None else with_palm(points), hands.sides)

    def in_palm(self, hands: Doubles) -> Doubles:
        return hands


def read_stb(folder: Path) -> Stb:
    """Read the test sequences. Raises SourceError; WholebodyError where scipy is missing."""
    labels = [f"labels/{sequence}_BB.mat" for sequence in SEQUENCES]
    paths = [path for found in require_files(folder, "stb", labels).values() for path in found]
    pictures = [
        picture
        for sequence, path in zip(SEQUENCES, paths, strict=True)
        for picture in _pictures(folder, sequence, path)
    ]
    return Stb("stb", digest(*paths), tuple(pictures))


def _pictures(folder: Path, sequence: str, path: Path) -> Iterator[Picture]:
    hands = read_numbers(path, handPara=(3, 21, None))["handPara"].transpose(2, 1, 0) / 1000
    for camera, origin in (("left", np.zeros(3)), ("right", BASELINE)):
        names = [f"{sequence}/BB_{camera}_{frame}.png" for frame in range(len(hands))]
        files = find_pictures(folder, "stb", names, ("images", ""))
        for name, file, hand in zip(names, files, hands - origin, strict=True):
            yield Picture(name, file, _truth(hand), sequence)


def _truth(hand: Doubles) -> Truth:
    points = in_coco_order(hand[None], "stb")
    pixels = FOCAL * points[..., :2] / points[..., 2:] + CENTRE
    return Truth(pixels, points, np.ones((1, 21), np.bool_), extents(pixels), ("left",))
