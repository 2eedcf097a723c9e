"""The .npz annotations of one person a picture that OpenMMLab's converters write for 3D bodies.

MMPose's `tools/dataset_converters/preprocess_h36m.py` and `preprocess_mpi_inf_3dhp.py` write

    imgname  (N,) the picture's name in the folder of pictures
    part     (N, J, 3) x, y in pixels, and 1 where the joint lies in the picture, else 0
    S        (N, J, 4) x right, y down, z away from the camera in metres, and the same

and `center` and `scale` of a crop, which are not read: boxes are around the joints.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wholebody.benchmarks.datasets.annotation_json import find_pictures
from wholebody.benchmarks.datasets.arrays import Column, read_npz
from wholebody.benchmarks.datasets.bodies import boxes_around
from wholebody.benchmarks.datasets.dataset import Picture, Truth

__all__ = ["posed_pictures"]


def posed_pictures(
    folder: Path, dataset: str, annotations: Path, joints: int, group: Callable[[str], str]
) -> tuple[Picture, ...]:
    """One picture with its person a row; pictures lie in `images`, or in the folder itself.

    group: what a picture's name tells of its group. Raises SourceError.
    """
    columns = {
        "imgname": Column("text"),
        "part": Column("number", (joints, 3)),
        "S": Column("number", (joints, 4)),
    }
    arrays = read_npz(annotations, columns)
    names = [str(name) for name in arrays["imgname"]]
    flat, solid = arrays["part"].astype(np.float64), arrays["S"].astype(np.float64)
    boxes = boxes_around(flat[..., :2])
    paths = find_pictures(folder, dataset, names, ("images", ""))
    return tuple(
        Picture(
            name,
            path,
            Truth(
                keypoints=flat[i : i + 1, :, :2],
                keypoints3d=solid[i : i + 1, :, :3],
                visible=flat[i : i + 1, :, 2] > 0,
                boxes=boxes[i : i + 1],
            ),
            group(name),
        )
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    )
