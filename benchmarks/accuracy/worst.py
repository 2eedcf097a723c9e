"""The pictures that came out worst: the truth, the reference and the student, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.accuracy.asking import Pose, ask, boxes_of
from wholebody.benchmarks.accuracy.measuring import Ranked, image_of
from wholebody.benchmarks.datasets.abilities import Named
from wholebody.benchmarks.datasets.dataset import Dataset, Metric, Picture, Truth
from wholebody.runtime.draw import draw_people
from wholebody.runtime.media import Image, write_image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["draw_worst", "side_by_side"]

PANEL = 480  # pixels, the longer side of each
LARGEST = 4.0  # times the picture's own size
BAR, GAP = 30, 4  # pixels
PAPER, INK, SOFT = (250, 250, 250), (30, 30, 30), (110, 110, 110)
DOT = (60, 200, 60)  # a true keypoint of a skeleton that cannot be drawn
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture with something drawn into it, and what that is."""

    title: str
    image: Image


def draw_worst(
    folder: Path,
    dataset: Dataset,
    metric: Metric,
    ranked: Sequence[Ranked],
    student: Pose,
    reference: Pose | None,
    name: str,
) -> list[Path]:
    """Write a PNG for each into a folder that is there, `name` before its number, the worst one first."""
    paths = []
    for place, each in enumerate(ranked, 1):
        picture = dataset.pictures[each.index]
        paths.append(folder / f"{name}-{place:02d}.png")
        caption = f"{place}. {picture.name}   {_told(metric, each)}"
        write_image(paths[-1], side_by_side(_panels(dataset, picture, student, reference), caption))
    return paths


def _panels(dataset: Dataset, picture: Picture, student: Pose, reference: Pose | None) -> list[Panel]:
    image = image_of(dataset, picture)
    boxes = boxes_of(student, image, picture)
    panels = [Panel("truth", _with_truth(image, picture.truth, dataset))]
    if reference is not None:
        panels.append(Panel("reference", draw_people(image, ask(reference, image, boxes))))
    return [*panels, Panel("student", draw_people(image, ask(student, image, boxes)))]


def side_by_side(panels: Sequence[Panel], caption: str) -> Image:
    """The panels in a row, each under its title, below the caption."""
    shown = [_scaled(panel.image) for panel in panels]
    height = max(image.shape[0] for image in shown)
    width = sum(image.shape[1] for image in shown) + GAP * (len(shown) - 1)
    sheet = np.full((2 * BAR + height, max(width, _width(caption) + 16), 3), PAPER, np.uint8)
    _write(sheet, caption, 8, 21, INK)
    left = 0
    for panel, image in zip(panels, shown, strict=True):
        _write(sheet, panel.title, left + 8, BAR + 20, SOFT)
        sheet[2 * BAR : 2 * BAR + image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + GAP
    return sheet


def _scaled(image: Image) -> Image:
    scale = min(PANEL / max(image.shape[:2]), LARGEST)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def _write(sheet: Image, text: str, x: int, y: int, color: tuple[int, int, int]) -> None:
    """The font has no letters beyond ASCII."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(sheet, plain, (x, y), FONT, 0.5, color, 1, cv2.LINE_AA)


def _width(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, 0.5, 1)
    return int(width)


def _told(metric: Metric, each: Ranked) -> str:
    reference = "" if each.reference is None else f" (reference {_number(metric, each.reference)})"
    return f"{metric.title} = {_number(metric, each.figure)}{reference}"


def _number(metric: Metric, value: float) -> str:
    return f"{100 * value:.1f} %" if metric.unit == "share" else f"{value:.1f} {metric.unit}".strip()


def _with_truth(image: Image, truth: Truth, dataset: Dataset) -> Image:
    """Limbs where the truth has a skeleton's keypoints, else its points."""
    if isinstance(dataset, Named) and truth.keypoints.shape[1] == len(dataset.skeleton):
        return draw_people(image, _people(truth, dataset.skeleton))
    canvas = image.copy()
    radius = max(2, round(0.006 * max(image.shape[:2])))
    for x, y in truth.keypoints[_known(truth)]:
        if np.abs([x, y]).max() < 1e4:
            cv2.circle(canvas, (round(float(x)), round(float(y))), radius, DOT, -1, cv2.LINE_AA)
    return canvas


def _people(truth: Truth, skeleton: Skeleton) -> People:
    known = _known(truth)
    keypoints = np.where(known[..., None], truth.keypoints, np.nan)
    return People(
        keypoints.astype(np.float32),
        known.astype(np.float32),
        None,
        truth.boxes.astype(np.float32),
        np.ones(len(known), np.float32),
        skeleton,
    )


def _known(truth: Truth) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(truth.keypoints).all(axis=2))
