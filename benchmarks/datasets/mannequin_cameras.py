"""The cameras of MannequinChallenge's clips, whose text files RealEstate10K has too.

The first line of a file is the video's URL; every other line is a frame, of 19 columns:

    1       microseconds since the start of the video
    2-5     focal lengths and principal point, x and y each, in widths and heights of the frame: its top left
            corner is (0, 0), its bottom right corner (1, 1)
    6-7     two coefficients of radial distortion, "always 0.0"
    8-19    the camera's pose [R | t], 3 x 4, row by row: a point p of the scene is at R p + t in the camera's
            axes, x right, y down, z away

(google.github.io/mannequinchallenge/www/download.html)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError

__all__ = ["Cameras", "read_cameras"]

Doubles = NDArray[np.float64]
COLUMNS = 19


@dataclass(frozen=True, eq=False)
class Cameras:
    """One camera a row: focal (N, 2) and middle (N, 2) in widths and heights of the frame; pose (N, 3, 4)."""

    timestamps: NDArray[np.int64]
    focal: Doubles
    middle: Doubles
    pose: Doubles

    def __getitem__(self, rows: NDArray[Any]) -> Cameras:
        return Cameras(self.timestamps[rows], self.focal[rows], self.middle[rows], self.pose[rows])

    def in_axes(self, points: Doubles) -> Doubles:
        """(N, J, 3) points of the scene in the axes of each camera; the unit stays the scene's."""
        moved: Doubles = points @ self.pose[:, :, :3].transpose(0, 2, 1) + self.pose[:, None, :, 3]
        return moved

    def in_picture(self, points: Doubles, size: NDArray[Any]) -> Doubles:
        """(N, J, 2) pixels of points in each camera's axes, of pictures (N, 2) wide and high.

        (0, 0) is the centre of the top left pixel. NaN for what is not in front of the camera.
        """
        depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        pixels: Doubles = (self.focal[:, None] * points[..., :2] / depth + self.middle[:, None]) * size[
            :, None
        ]
        return pixels - 0.5


def read_cameras(path: Path) -> Cameras:
    """The cameras of a clip, by time. Raises SourceError for a file of another layout."""
    try:
        lines = path.read_text("utf-8").splitlines()[1:]
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its name") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is no text file of cameras: take MannequinChallenge's") from None
    try:
        table = np.array([line.split() for line in lines if line.strip()], np.float64).reshape(-1, COLUMNS)
    except ValueError:
        raise SourceError(
            f"{path}: after the URL every line must be the {COLUMNS} numbers of a camera, as in "
            "MannequinChallenge"
        ) from None
    if table[:, 5:7].any():
        raise SourceError(
            f"{path}: a camera is distorted, which MannequinChallenge's are not; undistort its frames"
        )
    table = table[np.argsort(table[:, 0], kind="stable")]
    pose = table[:, 7:].reshape(-1, 3, 4)
    return Cameras(table[:, 0].astype(np.int64), table[:, 1:3], table[:, 3:5], pose)
