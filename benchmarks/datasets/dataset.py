"""Annotated pictures, and the protocol that judges what a student finds in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Dataset", "Metric", "Picture", "Tally", "Truth"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """The G people, hands or faces annotated in one picture, by the K joints of their data set.

    keypoints    (G, K, 2) pixels of the picture, (0, 0) the centre of its top-left pixel; NaN: not labelled
    keypoints3d  (G, K, 3) metres, x right, y down, z away from the camera; NaN: not labelled. None: none
    visible      (G, K) bool: labelled and to be seen
    boxes        (G, 4) x0 y0 x1 y1, pixels of the picture
    sides        of each hand "left" or "right", else ""
    """

    keypoints: Doubles
    keypoints3d: Doubles | None
    visible: NDArray[np.bool_]
    boxes: Doubles
    sides: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture's file, its name in the data set, what is true of it, and its sequence, scene or subset."""

    name: str
    path: Path
    truth: Truth
    group: str = ""


@dataclass(frozen=True)
class Metric:
    """A figure of a protocol. unit: "share", "mm", "px" or "" for a plain number."""

    name: str
    title: str
    unit: Literal["share", "mm", "px", ""]
    better: Literal["higher", "lower"]


# What one picture adds to each metric: sums (C,) and counts (C,) by cell. The metric is the mean, over the
# cells that count anything, of sum / count: a single cell pools, one a joint or one a sequence are averaged.
Tally = Mapping[str, tuple[Doubles, Doubles]]


class Dataset(Protocol):
    """What a reader answers with: pictures, and the protocol their publishers judge by.

    name      as `wholebody bench accuracy --dataset` takes it
    sha256    of the annotations that were read
    metrics   in the order of the table; the first one ranks pictures from worst to best
    notes     what the figures mean, for below the table
    """

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def pictures(self) -> Sequence[Picture]: ...

    @property
    def metrics(self) -> Sequence[Metric]: ...

    @property
    def notes(self) -> str: ...

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError where a student of this skeleton cannot be judged here, saying why."""
        ...

    def tally(self, people: People, picture: Picture) -> Tally:
        """What the people that were found in a picture add to each metric; nobody is an answer too."""
        ...
