"""H3WB (Zhu et al., ICCV 2023): COCO-WholeBody's 133 keypoints in space, on pictures of Human3.6M.

The folder holds `RGBto3D_test_3d.json` (subject S8; its publishers released it in 2025), an object of

    "0": {"image_path": "S8/…/frame_0000.jpg", "bbox": {"x_min": …, "y_min": …, "x_max": …, "y_max": …},
          "keypoints_3d": {"0": {"x": …, "y": …, "z": …}, … "132": {…}},      mm
          "keypoints_2d": {"0": {"x": …, "y": …}, … "132": {…}}}              px; may be missing

and `images/` the pictures. The `.npz` that its publishers have as well is pickled, which is never
unpickled here: write what is in it as this JSON, in mm.

The protocol is the publishers' `test_leaderboard.py`: MPJPE of the whole body and of its parts with the
pelvis at the origin, of the face with the nose there, and of each hand with its wrist there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import digest, find_pictures
from wholebody.benchmarks.datasets.bodies import FOUND, MPJPE, PA_MPJPE, require_3d
from wholebody.benchmarks.datasets.body_joints import LIMBS12, arranged, names_of, require_joints
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.registry import require_files
from wholebody.benchmarks.metrics.joint_errors import joint_errors, known
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.benchmarks.metrics.procrustes import procrustes
from wholebody.benchmarks.metrics.same_person import true_order
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.errors import SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import WHOLEBODY133, Skeleton

__all__ = ["H3wb", "read_h3wb"]

Doubles = NDArray[np.float64]
JOINTS = WHOLEBODY133.joints
HIPS = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]
NOSE, TIP_OF_NOSE = JOINTS.index("nose"), JOINTS.index("face_nose_bridge_3")
BODY, FACE = slice(0, 23), WHOLEBODY133.parts["face"]
LEFT, RIGHT = WHOLEBODY133.parts["left_hand"], WHOLEBODY133.parts["right_hand"]
EDGES = ("x_min", "y_min", "x_max", "y_max")
OVERLAP = 0.3  # IoU of the boxes of one and the same person

METRICS = (
    MPJPE,
    Metric("mpjpe_body", "MPJPE, body and feet", "mm", "lower"),
    Metric("mpjpe_face", "MPJPE, face", "mm", "lower"),
    Metric("mpjpe_face_aligned", "MPJPE, face by the nose", "mm", "lower"),
    Metric("mpjpe_hands", "MPJPE, hands", "mm", "lower"),
    Metric("mpjpe_hands_aligned", "MPJPE, hands by the wrists", "mm", "lower"),
    PA_MPJPE,
    Metric("pa_mpjpe_body", "PA-MPJPE, body and feet", "mm", "lower"),
    Metric("pa_mpjpe_face", "PA-MPJPE, face", "mm", "lower"),
    Metric("pa_mpjpe_hands", "PA-MPJPE, hands", "mm", "lower"),
    FOUND,
    Metric("faces_found", "faces found", "share", "higher"),
    Metric("hands_found", "hands found", "share", "higher"),
)

NOTES = (
    "H3WB by its publishers' protocol: the pelvis, between the hips, is at the origin, or the nose, or "
    "each wrist where a figure says so; each figure is the mean over joints of all people. Judged are the "
    "joints that a student has: DOPE lacks nose, eyes, ears and feet, has its face aligned by the tip of "
    "the nose, and is not to be compared by the whole body with a student of 133. A joint that was not "
    "seen does not count in MPJPE: read it with the shares of people, faces and hands found. People found "
    "where nobody is annotated do not count. PA-MPJPE is not of the publishers."
)


@dataclass(frozen=True, eq=False)
class H3wb:
    """Pictures of one person each (a `Dataset`)."""

    sha256: str
    pictures: Sequence[Picture]
    name: str = "h3wb"
    metrics: tuple[Metric, ...] = METRICS
    notes: str = NOTES

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        require_3d(self.name, with_3d=with_3d)
        require_joints(skeleton, LIMBS12, self.name)

    def tally(self, people: People, picture: Picture) -> Tally:
        predicted, found = _predicted(people, picture.truth)
        assert picture.truth.keypoints3d is not None
        nose = NOSE if "nose" in people.skeleton.joints else TIP_OF_NOSE
        values = _errors(predicted, picture.truth.keypoints3d, nose)
        values |= {
            "found": found.astype(np.float64),
            "faces_found": _seen(predicted[:, FACE]),
            "hands_found": np.concatenate([_seen(predicted[:, hand]) for hand in (LEFT, RIGHT)]),
        }
        return {metric.name: tallied(values[metric.name]) for metric in self.metrics}


def read_h3wb(folder: Path, *, annotations: Path | None = None) -> H3wb:
    """The test pictures, or those of other annotations; a group is a subject. Raises SourceError."""
    path = annotations or next(iter(require_files(folder, "h3wb").values()))[0]
    samples = _samples(path)
    images = find_pictures(folder, "h3wb", [sample.image for sample in samples], ("images", ""))
    pictures = tuple(
        Picture(sample.image, image, sample.truth, Path(sample.image).parts[0])
        for sample, image in zip(samples, images, strict=True)
    )
    return H3wb(digest(path), pictures)


# --- judging: the 133 joints of the true people, (G, 133, 3) metres -----------------------------------------


def _predicted(people: People, truth: Truth) -> tuple[Doubles, NDArray[np.bool_]]:
    """The prediction of each truth, NaN where there is none, and (G,) whether there is one."""
    if people.keypoints3d is None:
        raise ValueError("these people have no joints in space")
    matched = match(box_iou(people.boxes, truth.boxes), people.score, OVERLAP)
    taken = true_order(matched, len(truth.boxes))
    points = arranged(people.keypoints3d, names_of(people.skeleton), JOINTS)
    nobody = np.full((1, *points.shape[1:]), np.nan)
    return np.concatenate([points, nobody])[taken], taken != UNMATCHED


def _errors(predicted: Doubles, truth: Doubles, nose: int) -> dict[str, Doubles]:
    """By metric the errors in mm, NaN where a joint is not known in both."""

    def moved(origin: Sequence[int], part: slice) -> Doubles:
        ours, theirs = (points[:, part] - _middle(points, origin) for points in (predicted, truth))
        return joint_errors(ours, theirs)

    def turned(part: slice) -> Doubles:
        return joint_errors(procrustes(predicted[:, part], truth[:, part]), truth[:, part])

    return {
        "mpjpe": moved(HIPS, slice(None)),
        "mpjpe_body": moved(HIPS, BODY),
        "mpjpe_face": moved(HIPS, FACE),
        "mpjpe_face_aligned": moved([nose], FACE),
        "mpjpe_hands": moved(HIPS, slice(LEFT.start, RIGHT.stop)),
        "mpjpe_hands_aligned": np.concatenate([moved([hand.start], hand) for hand in (LEFT, RIGHT)]),
        "pa_mpjpe": turned(slice(None)),
        "pa_mpjpe_body": turned(BODY),
        "pa_mpjpe_face": turned(FACE),
        "pa_mpjpe_hands": np.concatenate([turned(hand) for hand in (LEFT, RIGHT)]),
    }


def _middle(points: Doubles, joints: Sequence[int]) -> Doubles:
    middle: Doubles = points[:, list(joints)].mean(axis=1, keepdims=True)
    return middle


def _seen(part: Doubles) -> Doubles:
    """(G,) 1 where any joint of a part was predicted, else 0."""
    seen: Doubles = np.any(known(part), axis=1).astype(np.float64)
    return seen


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sample:
    image: str
    truth: Truth


def _samples(path: Path) -> list[_Sample]:
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_compact)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its name") from None
    except (ValueError, RecursionError):
        raise SourceError(f"{path} is no JSON file, or is cut short; download it again") from None
    if not isinstance(data, dict):
        raise SourceError(f"{path} is no object of samples, as H3WB lays them out")
    return [_sample(entry, f"{path}: sample {number}") for number, entry in data.items()]


def _compact(pairs: list[tuple[str, Any]]) -> Any:
    """A point as a tuple and 133 points as an array: as dictionaries 20,000 people take gigabytes."""
    values = dict(pairs)
    if "x" in values and "y" in values:
        return tuple(values[axis] for axis in "xyz" if axis in values)
    if len(values) != len(JOINTS):
        return values
    try:
        return np.array([values[str(joint)] for joint in range(len(JOINTS))], np.float64)
    except (KeyError, TypeError, ValueError):
        return values


def _sample(entry: Any, where: str) -> _Sample:
    try:
        image, box = entry["image_path"], [float(entry["bbox"][edge]) for edge in EDGES]
        solid, flat = entry["keypoints_3d"], entry.get("keypoints_2d")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SourceError(
            f"{where} has no image_path, bbox of {', '.join(EDGES)}, or keypoints_3d: it is not of "
            "RGBto3D_test_3d.json"
        ) from None
    flat = np.full((len(JOINTS), 2), np.nan) if flat is None else flat
    if (
        not isinstance(image, str)
        or np.shape(solid) != (len(JOINTS), 3)
        or np.shape(flat) != (len(JOINTS), 2)
    ):
        raise SourceError(f"{where} is no picture with 133 points: download the annotations again")
    return _Sample(
        image,
        Truth(
            keypoints=flat[None],
            keypoints3d=solid[None] / 1000,
            visible=np.isfinite(solid).all(axis=1)[None],
            boxes=np.array([box]),
        ),
    )
