"""Hands in one JSON file laid out as COCO's, as mmpose has OneHand10K, Panoptic, FreiHAND and RHD."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Entry,
    annotated_images,
    boxes,
    find_pictures,
    keypoints,
    text,
)
from wholebody.benchmarks.datasets.dataset import Picture, Truth
from wholebody.benchmarks.datasets.found_parts import labelled
from wholebody.benchmarks.datasets.joint_orders import in_coco_order

__all__ = ["read_coco_hands"]

Doubles = NDArray[np.float64]
Side = Callable[[Entry, Entry], str]
Points = Callable[[Entry], Doubles]


def read_coco_hands(
    folder: Path, dataset: str, path: Path, *, side: Side, points: Points | None = None
) -> tuple[Picture, ...]:
    """The pictures of an annotation file, joints in COCO_HAND21's order.

    side and points tell, of an image and one of its annotations, which hand it is, and where its (21, 3)
    joints are in metres, in the data set's order. Pictures lie in the folder or in that of the annotations.
    Raises SourceError.
    """
    entries = list(annotated_images(path))
    names = [text(image, "file_name", path) for image, _ in entries]
    files = find_pictures(folder, dataset, names, ("", "images", path.parent.name))
    return tuple(
        Picture(name, file, _truth(dataset, image, hands, path, side, points))
        for name, file, (image, hands) in zip(names, files, entries, strict=True)
    )


def _truth(
    dataset: str, image: Entry, hands: list[Entry], path: Path, side: Side, points: Points | None
) -> Truth:
    pixels = np.array([keypoints(hand, 21, path) for hand in hands], np.float64).reshape(-1, 21, 2)
    pixels = in_coco_order(pixels, dataset)
    solid = None
    if points is not None:
        solid = np.array([points(hand) for hand in hands], np.float64).reshape(-1, 21, 3)
        solid = in_coco_order(solid, dataset)
    return Truth(
        keypoints=pixels,
        keypoints3d=solid,
        visible=labelled(pixels),
        boxes=boxes(hands, path),
        sides=tuple(side(image, hand) for hand in hands),
    )
