"""Human3.6M (Ionescu et al., PAMI 2014): one person in a studio, joints from motion capture.

The folder is the one MMPose's `preprocess_h36m.py` makes: `annotation_body3d/fps10/h36m_test.npz` (or fps50)
of subjects S9 and S11 and `images/S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg`.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from wholebody.benchmarks.datasets.annotation_json import digest
from wholebody.benchmarks.datasets.bodies import AUC, FOUND, MPJPE, PA_MPJPE, PCK3D, Bodies
from wholebody.benchmarks.datasets.body_joints import BODY13, H36M17
from wholebody.benchmarks.datasets.posed_arrays import posed_pictures
from wholebody.benchmarks.datasets.registry import require_files

__all__ = ["read_h36m"]

NOTES = (
    "Judged by joints of its own: the 13 that DOPE has (ankles, knees, hips, wrists, elbows, shoulders, "
    "top of the head), 12 for a student without the head's top; published tables judge 14 or 17, with the "
    "pelvis, whose error is 0 by definition. Human3.6M's uppermost joint lies lower than the top of the "
    "head. Both poses are centred at the pelvis, which a student has between its hips. MPJPE and PA-MPJPE "
    "are of the people found; PCK3D and AUC count the joints of people not found as wrong. People found "
    "where nobody is annotated do not count."
)

SEQUENCE = re.compile(r"S\d+_(?P<action>[A-Za-z]+)(_\d+)?\.\d+_\d+")  # S9_Directions_1.54138969_000001


def read_h36m(folder: Path, *, annotations: Path | None = None) -> Bodies:
    """The test pictures, or those of other annotations. Raises SourceError.

    A group is an action; figures are means over actions.
    """
    path = annotations or next(iter(require_files(folder, "h36m").values()))[0]
    pictures = posed_pictures(folder, "h36m", path, len(H36M17), _action)
    actions = sorted({picture.group for picture in pictures})
    return Bodies(
        name="h36m",
        sha256=digest(path),
        pictures=pictures,
        metrics=(PCK3D, AUC, MPJPE, PA_MPJPE, FOUND),  # by PCK3D who was not found comes out worst
        notes=f"{path.parent.name}/{path.name}, mean over {len(actions)} actions. {NOTES}",
        joints=H36M17,
        judged=BODY13,
        cells={action: cell for cell, action in enumerate(actions)},
    )


def _action(name: str) -> str:
    told = SEQUENCE.match(PurePosixPath(name).stem)
    return told["action"] if told else ""
