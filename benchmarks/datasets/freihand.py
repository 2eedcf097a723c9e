"""FreiHAND (ICCV 2019): single right hands, 224 x 224, the 3,960 of its evaluation.

    evaluation_xyz.json, evaluation_K.json, evaluation/rgb/00000000.jpg …   as published
    annotations/freihand_test.json and the pictures it names                as mmpose has it

The first is judged in space and in the picture, the second, which has no depth, in the picture alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Malformed,
    digest,
    find_annotations,
    find_pictures,
    numbers,
    read_json,
)
from wholebody.benchmarks.datasets.coco_hands import read_coco_hands
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Truth
from wholebody.benchmarks.datasets.found_parts import Pairs, distances, extents
from wholebody.benchmarks.datasets.hands import HandDataset
from wholebody.benchmarks.datasets.joint_orders import in_coco_order
from wholebody.benchmarks.metrics.curves import area_under_pck
from wholebody.benchmarks.metrics.hand_pose import from_joint, superposed
from wholebody.benchmarks.metrics.joint_tallies import Cells, by_joint, found_alone, where_labelled

__all__ = ["FreiHand", "read_freihand"]

Doubles = NDArray[np.float64]
PUBLISHED = "evaluation_xyz.json"
PATTERNS = (PUBLISHED, "annotations/freihand_test.json", "*freihand*.json")
THRESHOLDS = np.linspace(0, 50, 100)  # millimetres


@dataclass(frozen=True, eq=False)
class FreiHand(HandDataset):
    """Area under the PCK from 0 to 50 mm, mean over joints: aligned, and with the wrists together."""

    @property
    def space_metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("auc_pa", "AUC 0 to 50 mm, aligned", "share", "higher"),
            Metric("auc", "AUC 0 to 50 mm, wrists together", "share", "higher"),
            Metric("mpjpe_pa", "mean error, aligned, found", "mm", "lower"),
            Metric("mpjpe", "mean error, wrists together, found", "mm", "lower"),
        )

    @property
    def space_notes(self) -> str:
        return (
            "Aligned: FreiHAND's Procrustes with scale, which may mirror. Its figure without alignment "
            "compares positions in front of the camera; a student does not tell how far away a hand is, so "
            "that here the wrists are put together first: not to be held against published unaligned "
            "figures. Those of the mesh (F-scores) are left out."
        )

    def in_space(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        truth, ours = pairs.truth.keypoints3d, pairs.keypoints3d
        assert truth is not None
        assert ours is not None
        aligned = 1000 * distances(superposed(ours, truth), truth)
        moved = 1000 * distances(from_joint(ours), from_joint(truth))
        cells: dict[str, Cells] = {}
        for name, errors in (("_pa", aligned), ("", moved)):
            cells[f"auc{name}"] = by_joint(where_labelled(area_under_pck(errors, THRESHOLDS), errors))
            cells[f"mpjpe{name}"] = by_joint(found_alone(errors))
        return cells


def read_freihand(folder: Path, *, annotations: Path | None = None) -> FreiHand:
    """Read a folder laid out as published, or as mmpose has it. Raises SourceError."""
    path = find_annotations(folder, "freihand", PATTERNS, annotations)
    if not path.name.endswith("_xyz.json"):
        pictures = read_coco_hands(folder, "freihand", path, side=lambda image, annotation: "right")
        return FreiHand("freihand", digest(path), pictures)
    cameras = path.with_name(path.name.replace("_xyz", "_K"))
    return FreiHand("freihand", digest(path, cameras), _published(folder, path, cameras))


def _published(folder: Path, path: Path, cameras: Path) -> tuple[Picture, ...]:
    hands, intrinsics = read_json(path), read_json(cameras)
    if not isinstance(hands, list) or not isinstance(intrinsics, list) or len(hands) != len(intrinsics):
        raise Malformed(f"{path} and {cameras.name} are no lists of the same length")
    points = numbers(hands, (len(hands), 21, 3), "hands", path)
    projected = points @ numbers(intrinsics, (len(hands), 3, 3), "cameras", cameras).transpose(0, 2, 1)
    pixels = projected[..., :2] / projected[..., 2:]
    names = [f"evaluation/rgb/{i:08d}.jpg" for i in range(len(hands))]
    files = find_pictures(folder, "freihand", names)
    return tuple(
        Picture(name, file, _truth(pixels[i : i + 1], points[i : i + 1]))
        for i, (name, file) in enumerate(zip(names, files, strict=True))
    )


def _truth(pixels: Doubles, points: Doubles) -> Truth:
    keypoints = in_coco_order(pixels, "freihand")
    return Truth(
        keypoints=keypoints,
        keypoints3d=in_coco_order(points, "freihand"),
        visible=np.ones(keypoints.shape[:2], np.bool_),
        boxes=extents(keypoints),
        sides=("right",),
    )
