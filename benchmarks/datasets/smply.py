"""SMPLy (Leroy et al., 3DV 2020): frozen people of the Mannequin Challenge with SMPL bodies fitted to them.

Its publishers name 24,428 frames of 567 scenes and tell no format: this one is our own. The folder holds

    smply.npz                            the fits, R rows: a person in a frame
    cameras/**/<scene>.txt               as MannequinChallenge publishes them (`mannequin_cameras`)
    images/<scene>/<timestamp>.jpg       the frames by their microseconds, as far as there are videos

and smply.npz plain arrays:

    joints             (J,) names: of `body_joints.BODY13` the 12 of the limbs, and "head_top" where there is
                       one; other joints of SMPL or regressed from its vertices may be among them
    scene, timestamp   (R,) names of camera files, whole numbers of microseconds
    size               (R, 2) width and height of the frame in pixels
    joints3d           (R, J, 3) where the joints are in the scene, in the frame of reference of its cameras
    metres             (R,) metres in one unit of the scene, which structure from motion does not tell
    truncated          (R,) bool: the frame cuts the person off
    occluded           (R,) bool: something hides a part of the person

Where a joint is seen in the picture follows from the camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.annotation_json import digest
from wholebody.benchmarks.datasets.arrays import Column, read_npz
from wholebody.benchmarks.datasets.bodies import FOUND, MPJPE, PA_MPJPE, body_errors, boxes_around, require_3d
from wholebody.benchmarks.datasets.body_joints import BODY13, LIMBS12, require_joints
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.benchmarks.datasets.mannequin_cameras import Cameras, read_cameras
from wholebody.benchmarks.datasets.registry import require_files
from wholebody.benchmarks.metrics.joint_errors import known, within
from wholebody.benchmarks.metrics.tallies import tallied
from wholebody.runtime.errors import SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Smply", "read_smply"]

Bools = NDArray[np.bool_]
PUBLISHED = "its publishers name 24,428 frames of 567 scenes"
SUBSETS = ("clear", "truncated", "occluded")

METRICS = (
    Metric("pck3d_limbs", "PCK3D 150 mm, limbs", "share", "higher"),
    MPJPE,
    PA_MPJPE,
    Metric("head_error", "error of the head's top", "mm", "lower"),
    FOUND,
    *(Metric(f"mpjpe_{subset}", f"MPJPE, {subset} people", "mm", "lower") for subset in SUBSETS),
    *(
        Metric(f"pck3d_limbs_{subset}", f"PCK3D 150 mm, limbs, {subset} people", "share", "higher")
        for subset in SUBSETS
    ),
    *(Metric(f"found_{subset}", f"{subset} people found", "share", "higher") for subset in SUBSETS),
)

NOTES = (
    "Own protocol, not the publishers': joints of the SMPL fits as they were regressed by whoever wrote "
    "the file. MPJPE and PA-MPJPE are over 13 joints (12 for a student without the head's top), both "
    "poses centred between the hips, of the people found; PCK3D is over the 12 joints of the limbs and "
    "counts those of people that were not found as wrong. People found where no fit is do not count. The "
    "head's top has its own figure, since what it means differs. Clear people are neither truncated nor "
    "occluded; a person can be both. A student of keypoints cannot be scored on SMPL's vertices (PVE), "
    "shape or joint angles, nor on hands and faces, which the fits do not have."
)


@dataclass(frozen=True, eq=False)
class Smply:
    """The frames that could be had (a `Dataset`).

    joints   the names of the fits' joints
    hard     by picture (G, 2) bool: truncated, occluded
    """

    sha256: str
    pictures: Sequence[Picture]
    notes: str
    joints: tuple[str, ...]
    hard: Mapping[str, Bools]
    name: str = "smply"
    metrics: tuple[Metric, ...] = METRICS

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        require_3d(self.name, with_3d=with_3d)
        require_joints(skeleton, LIMBS12, self.name)

    def tally(self, people: People, picture: Picture) -> Tally:
        judged = body_errors(people, picture.truth, self.joints, BODY13, root="mid_hip")
        limbs = [joint for joint, name in enumerate(judged.joints) if name in LIMBS12]
        head = [joint for joint, name in enumerate(judged.joints) if name not in LIMBS12]
        right = within(judged.errors, judged.labelled)[:, limbs]
        found = judged.found.astype(np.float64)
        values = {
            "mpjpe": judged.errors,
            "pa_mpjpe": judged.pa_errors,
            "pck3d_limbs": right,
            "head_error": judged.errors[:, head],
            "found": found,
        }
        hard = self.hard[picture.name]
        for subset, rows in zip(SUBSETS, (~hard.any(axis=1), hard[:, 0], hard[:, 1]), strict=True):
            values[f"mpjpe_{subset}"] = judged.errors[rows]
            values[f"pck3d_limbs_{subset}"] = right[rows]
            values[f"found_{subset}"] = found[rows]
        return {metric.name: tallied(values[metric.name]) for metric in self.metrics}


def read_smply(folder: Path) -> Smply:
    """The frames that lie in the folder, each with the people fitted to it. Raises SourceError."""
    found = require_files(folder, "smply")
    path, camera_files = folder / "smply.npz", {file.stem: file for file in found["cameras/**/*.txt"]}
    fits = _Fits.read(path)
    scenes = sorted(set(fits.scene))
    if missing := [scene for scene in scenes if scene not in camera_files]:
        raise SourceError(
            f"{folder / 'cameras'} lacks {missing[0]}.txt and {len(missing) - 1} others: unpack all"
        )
    frames = fits.frames()
    there = {name: rows for name, rows in frames.items() if (folder / "images" / name).is_file()}
    if not there:
        raise SourceError(
            f"none of the {len(frames)} frames is under {folder / 'images'}, as {next(iter(frames), '')}"
        )
    truth = _truth(fits, {scene: read_cameras(camera_files[scene]) for scene in scenes}, path)
    hard = np.stack([fits.truncated, fits.occluded], axis=1)
    pictures = tuple(
        Picture(name, folder / "images" / name, _rows(truth, rows), name.split("/")[0])
        for name, rows in there.items()
    )
    return Smply(
        sha256=digest(path, *(camera_files[scene] for scene in scenes)),
        pictures=pictures,
        notes=f"{_coverage(frames, there)} {NOTES}",
        joints=fits.joints,
        hard={name: hard[rows] for name, rows in there.items()},
    )


@dataclass(frozen=True, eq=False)
class _Fits:
    """The arrays of smply.npz."""

    joints: tuple[str, ...]
    scene: tuple[str, ...]
    timestamp: NDArray[np.int64]
    size: NDArray[np.int64]
    joints3d: NDArray[np.float64]
    metres: NDArray[np.float64]
    truncated: Bools
    occluded: Bools

    @classmethod
    def read(cls, path: Path) -> _Fits:
        joints = tuple(map(str, read_npz(path, {"joints": Column("text")})["joints"]))
        if missing := [name for name in LIMBS12 if name not in joints]:
            raise SourceError(f"{path}: joints lacks {', '.join(missing)}; it has {', '.join(joints)}")
        columns = {
            "scene": Column("text"),
            "timestamp": Column("whole number"),
            "size": Column("whole number", (2,)),
            "joints3d": Column("number", (len(joints), 3)),
            "metres": Column("number"),
            "truncated": Column("yes or no"),
            "occluded": Column("yes or no"),
        }
        arrays = read_npz(path, columns)
        scene = tuple(map(str, arrays.pop("scene")))
        if odd := [name for name in scene if not name or "/" in name or name in (".", "..")]:
            raise SourceError(f"{path}: {odd[0]!r:.80} is no name of a scene")
        return cls(joints, scene, **arrays)

    def frames(self) -> dict[str, list[int]]:
        """By the name of its picture, the rows of each frame."""
        rows: dict[str, list[int]] = {}
        for row, (scene, timestamp) in enumerate(zip(self.scene, self.timestamp, strict=True)):
            rows.setdefault(f"{scene}/{timestamp}.jpg", []).append(row)
        return rows


def _truth(fits: _Fits, cameras: Mapping[str, Cameras], path: Path) -> Truth:
    """All people of all frames, as if they were in one."""
    flat = np.full((*fits.joints3d.shape[:2], 2), np.nan)
    solid = np.full(fits.joints3d.shape, np.nan)
    scene = np.array(fits.scene)
    for name, clip in cameras.items():
        rows = np.flatnonzero(scene == name)
        at = np.searchsorted(clip.timestamps, fits.timestamp[rows]).clip(max=len(clip.timestamps) - 1)
        if not len(clip.timestamps) or (clip.timestamps[at] != fits.timestamp[rows]).any():
            raise SourceError(
                f"{path} has frames of {name} that are not in its camera file: take the same release"
            )
        camera = clip[at]
        solid[rows] = camera.in_axes(fits.joints3d[rows].astype(np.float64))
        flat[rows] = camera.in_picture(solid[rows], fits.size[rows])
    inside = known(np.where((flat >= -0.5) & (flat <= fits.size[:, None] - 0.5), flat, np.nan))
    return Truth(flat, solid * fits.metres[:, None, None], inside, boxes_around(flat))


def _rows(truth: Truth, rows: list[int]) -> Truth:
    assert truth.keypoints3d is not None
    return Truth(truth.keypoints[rows], truth.keypoints3d[rows], truth.visible[rows], truth.boxes[rows])


def _coverage(frames: Mapping[str, list[int]], there: Mapping[str, list[int]]) -> str:
    def scenes(names: Mapping[str, list[int]]) -> int:
        return len({name.split("/")[0] for name in names})

    return (
        f"Coverage: {len(there)} of {len(frames)} frames ({len(there) / len(frames):.1%}), {scenes(there)} "
        f"of {scenes(frames)} scenes ({PUBLISHED}). Frames that are not here are not judged."
    )
