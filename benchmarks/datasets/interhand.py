"""InterHand2.6M (ECCV 2020), its test set: one or two hands, right, left or interacting.

    annotations/all/InterHand2.6M_test_data.json, …_camera.json, …_joint_3d.json
    images/test/Capture0/…

Joints are told in the world, in millimetres, and cameras by R (x - position).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import (
    Entry,
    annotated_images,
    digest,
    entry,
    find_annotations,
    find_pictures,
    numbers,
    read_json,
    text,
)
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Truth
from wholebody.benchmarks.datasets.found_parts import Pairs, distances, extents, labelled
from wholebody.benchmarks.datasets.hands import HandDataset
from wholebody.benchmarks.datasets.joint_orders import in_coco_order
from wholebody.benchmarks.metrics.curves import area_under_pck
from wholebody.benchmarks.metrics.hand_pose import WRIST, from_joint
from wholebody.benchmarks.metrics.joint_tallies import Cells, by_joint, found_alone, where_labelled

__all__ = ["InterHand", "read_interhand"]

Doubles = NDArray[np.float64]
PATTERNS = ("annotations/all/InterHand2.6M_test_data.json", "*interhand*_data.json")
IMAGES = ("images/test", "")
SIDES = ("right", "left")
THRESHOLDS = np.linspace(0, 50, 100)  # millimetres


@dataclass(frozen=True, eq=False)
class InterHand(HandDataset):
    """MPJPE with each wrist at the origin, mean over the 42 joints; and the area under the PCK."""

    @property
    def space_metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("auc", "AUC 0 to 50 mm", "share", "higher"),
            Metric("mpjpe", "MPJPE, found", "mm", "lower"),
            Metric("mpjpe_single", "MPJPE, single hands, found", "mm", "lower"),
            Metric("mpjpe_interacting", "MPJPE, interacting hands, found", "mm", "lower"),
        )

    @property
    def space_notes(self) -> str:
        return (
            "In space as InterHand2.6M: each hand's wrist at the origin, hands without a labelled wrist left "
            "out, mean over the 42 joints of both hands, wrists too. Its own network is told the depth "
            "of the wrist; a student's metres are taken as they are. The distance between interacting hands "
            "(MRRPE) is left out: hands without a body are not placed in one space."
        )

    def in_space(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        truth, ours = pairs.truth.keypoints3d, pairs.keypoints3d
        assert truth is not None
        assert ours is not None
        errors = np.full((2, 21), np.nan)
        errors[[SIDES.index(side) for side in pairs.truth.sides]] = 1000 * distances(
            from_joint(ours), from_joint(truth)
        )
        flat = errors.reshape(1, 42)
        mpjpe = by_joint(found_alone(flat))
        kind = "interacting" if picture.group == "interacting" else "single"
        area = by_joint(where_labelled(area_under_pck(flat, THRESHOLDS), flat))
        return {"auc": area, "mpjpe": mpjpe, f"mpjpe_{kind}": mpjpe}


def read_interhand(folder: Path, *, annotations: Path | None = None) -> InterHand:
    """Read the test set; cameras and joints lie beside the annotations. Raises SourceError."""
    path = find_annotations(folder, "interhand", PATTERNS, annotations)
    cameras, joints = (path.with_name(path.name.replace("_data.", f"_{k}.")) for k in ("camera", "joint_3d"))
    scene = _Scene(read_json(cameras), cameras, read_json(joints), joints)
    entries = list(annotated_images(path))
    names = [text(image, "file_name", path) for image, _ in entries]
    files = find_pictures(folder, "interhand", names, IMAGES)
    pictures = tuple(
        Picture(name, file, *_truth(image, annotated, scene, path))
        for name, file, (image, annotated) in zip(names, files, entries, strict=True)
    )
    return InterHand("interhand", digest(path, cameras, joints), pictures)


@dataclass(frozen=True, eq=False)
class _Scene:
    """The cameras and the joints of all captures, and their files for messages."""

    cameras: Any
    cameras_path: Path
    joints: Any
    joints_path: Path

    def hands(self, image: Entry) -> tuple[Doubles, Doubles]:
        """(2, 21, 2) pixels and (2, 21, 3) metres in the camera's axes, right hand first."""
        capture, camera = image.get("capture"), image.get("camera")
        of = entry(self.cameras, capture, path=self.cameras_path)

        def parameter(name: str, *shape: int) -> Doubles:
            return numbers(entry(of, name, camera, path=self.cameras_path), shape, name, self.cameras_path)

        where = entry(self.joints, capture, image.get("frame_idx"), "world_coord", path=self.joints_path)
        world = numbers(where, (42, 3), "world_coord", self.joints_path)
        points = (world - parameter("campos", 3)) @ parameter("camrot", 3, 3).T
        with np.errstate(divide="ignore", invalid="ignore"):  # joints that are not valid lie anywhere
            pixels = parameter("focal", 2) * points[:, :2] / points[:, 2:] + parameter("princpt", 2)
        return pixels.reshape(2, 21, 2), points.reshape(2, 21, 3) / 1000


def _truth(image: Entry, annotated: list[Entry], scene: _Scene, path: Path) -> tuple[Truth, str]:
    if not annotated:
        nobody = np.zeros((0, 21, 2)), np.zeros((0, 21, 3)), np.zeros((0, 21), np.bool_)
        return Truth(*nobody, boxes=np.zeros((0, 4))), ""
    of = annotated[0]
    valid = numbers(of.get("joint_valid"), (2, 21, 1), "joint_valid", path) > 0
    pixels, points = (np.where(valid, hand, np.nan) for hand in scene.hands(image))
    pixels, points = in_coco_order(pixels, "interhand"), in_coco_order(points, "interhand")
    points[np.isnan(points[:, WRIST, 0])] = np.nan
    there = np.flatnonzero(labelled(pixels).any(axis=1))
    truth = Truth(
        keypoints=pixels[there],
        keypoints3d=points[there],
        visible=labelled(pixels[there]),
        boxes=extents(pixels[there]),
        sides=tuple(SIDES[hand] for hand in there),
    )
    return truth, text(of, "hand_type", path, ("right", "left", "interacting"))
