"""A data set gone through with a student, and with its reference in the same way."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from wholebody.benchmarks.accuracy.asking import Pose, ask, boxes_of
from wholebody.benchmarks.accuracy.estimates import Estimates, estimate
from wholebody.benchmarks.accuracy.evidence import Evidence
from wholebody.benchmarks.datasets.abilities import Renders
from wholebody.benchmarks.datasets.dataset import Dataset, Picture
from wholebody.runtime.media import Image, read_image

__all__ = ["WORST", "Evaluation", "Ranked", "evaluate", "image_of"]

WORST = 10


@dataclass(frozen=True)
class Ranked:
    """A picture, by its place in the data set, and its own figure; the reference's, if it has one."""

    index: int
    figure: float
    reference: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out.

    estimates   in the order of the data set's metrics
    size        (height, width) of the pictures where all have the same
    worst       pictures by `ranked_by`, the worst one first; None where no metric is of single pictures
    """

    estimates: list[Estimates]
    size: tuple[int, int] | None
    ranked_by: str | None
    worst: list[Ranked]


def evaluate(
    dataset: Dataset, student: Pose, reference: Pose | None, *, console: Console | None = None
) -> Evaluation:
    """Ask both for the people of every picture, and compare them with the truth and with each other.

    console shows the progress where it is a terminal. Raises SourceError for a picture that cannot be read,
    ArtefactError and BackendError where a network fails.
    """
    ours = Evidence(dataset)
    theirs = None if reference is None else Evidence(dataset)
    sizes = set()
    for picture in _with_progress(dataset.pictures, console):
        image = image_of(dataset, picture)
        boxes = boxes_of(student, image, picture)
        ours.add(ask(student, image, boxes), picture)
        if reference is not None and theirs is not None:
            theirs.add(ask(reference, image, boxes), picture)
        sizes.add(image.shape[:2])
    name = ours.ranks_pictures
    return Evaluation(
        estimate(dataset.metrics, ours, theirs),
        sizes.pop() if len(sizes) == 1 else None,
        name,
        [] if name is None else _worst(dataset, name, ours, theirs),
    )


def image_of(dataset: Dataset, picture: Picture) -> Image:
    """(H, W, 3) uint8 BGR. Raises SourceError."""
    return dataset.image(picture) if isinstance(dataset, Renders) else read_image(picture.path)


def _with_progress(pictures: Iterable[Picture], console: Console | None) -> Iterable[Picture]:
    if console is None or not console.is_terminal:
        return pictures
    return track(pictures, "pictures", console=console, transient=True)


def _worst(dataset: Dataset, name: str, ours: Evidence, theirs: Evidence | None) -> list[Ranked]:
    """Those with the worst figure; of equal ones, those that the reference does better on."""
    figures = ours.of_pictures(name)
    others = np.full_like(figures, np.nan) if theirs is None else theirs.of_pictures(name)
    metric = next(metric for metric in dataset.metrics if metric.name == name)
    sign = 1 if metric.better == "higher" else -1
    lost = np.nan_to_num(sign * (figures - others))
    known = np.flatnonzero(np.isfinite(figures))
    order = known[np.lexsort((known, lost[known], sign * figures[known]))][:WORST]
    return [Ranked(int(i), float(figures[i]), _or_none(float(others[i]))) for i in order]


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
