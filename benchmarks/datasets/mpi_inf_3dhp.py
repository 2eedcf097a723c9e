"""MPI-INF-3DHP's test set (Mehta et al., 3DV 2017): one person, in a studio and outdoors, without markers.

The folder is the one MMPose's `preprocess_mpi_inf_3dhp.py` makes: `annotations/mpi_inf_3dhp_test_valid.npz`
and `images/TS1_000001.jpg`. Its joints in space are `annot3`, in metres, not the `univ_annot3` of the
publishers' evaluation, whose people are all of one height.
"""

from __future__ import annotations

from pathlib import Path

from wholebody.benchmarks.datasets.annotation_json import digest
from wholebody.benchmarks.datasets.bodies import AUC, FOUND, MPJPE, PA_MPJPE, PCK3D, Bodies
from wholebody.benchmarks.datasets.body_joints import MPI14, MPI17
from wholebody.benchmarks.datasets.posed_arrays import posed_pictures
from wholebody.benchmarks.datasets.registry import require_files

__all__ = ["read_mpi_inf_3dhp"]

NOTES = (
    "Judged by the 14 joints of the publishers' PCK3D and AUC (head's top, neck, shoulders, elbows, "
    "wrists, hips, knees, ankles), 13 for a student without the head's top; MPJPE and PA-MPJPE are over "
    "the same, not over 17. A student's neck is between its shoulders, its pelvis, at which both poses "
    "are centred, between its hips. Truth is annot3, not univ_annot3; nothing is rescaled. MPJPE and "
    "PA-MPJPE are of the people found; PCK3D and AUC count the joints of people not found as wrong. "
    "People found where nobody is annotated do not count."
)


def read_mpi_inf_3dhp(folder: Path, *, annotations: Path | None = None) -> Bodies:
    """The test pictures, or those of other annotations; a group is a sequence. Raises SourceError."""
    path = annotations or next(iter(require_files(folder, "mpi-inf-3dhp").values()))[0]
    return Bodies(
        name="mpi-inf-3dhp",
        sha256=digest(path),
        pictures=posed_pictures(folder, "mpi-inf-3dhp", path, len(MPI17), lambda name: name.split("_")[0]),
        metrics=(PCK3D, AUC, MPJPE, PA_MPJPE, FOUND),
        notes=NOTES,
        joints=MPI17,
        judged=MPI14,
    )
