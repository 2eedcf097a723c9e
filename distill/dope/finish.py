"""Make the bundled student of a training: averaged weights, options of the integration, licence, one file.

python -m wholebody.distill.dope.finish --work .training/dope --output export/weights/dope-mini.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wholebody.distill.dope.anchor_poses import GROUPS
from wholebody.distill.dope.train import MINI
from wholebody.distill.state import averaged_weights
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import Dope

__all__ = ["PPI", "finish"]

# Chosen on scenes that are neither trained on nor reported on (seeds from 25,000,000).
PPI: dict[str, dict[str, Any]] = {
    "body": {"score_th": 0.03, "th_pose3D": 0.3, "th_iou": 0.35, "th_persondetect": 0.8},
    "hand": {"score_th": 0.03, "th_pose3D": 0.05, "th_iou": 0.2, "th_persondetect": 0.8},
    "face": {"th_pose3D": 0.05, "th_iou": 0.2, "th_persondetect": 0.8},
}
LICENCE = "Apache-2.0"


def finish(work: Path, output: Path) -> Path:
    """Write the student of the training kept in `work`; returns `output`."""
    weights, step = averaged_weights(work / "last.pt")
    network = Dope(MINI)
    network.load_state_dict(weights)
    ppi = {part: {"K": MINI.classes[part] // GROUPS[part], **options} for part, options in PPI.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    save_student(
        network.eval(), output, ppi, name="dope-mini", licence=LICENCE, data="rendered people", steps=step
    )
    return output


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description="Make the bundled student of a training.")
    parser.add_argument("--work", type=Path, default=Path(".training/dope"))
    parser.add_argument("--output", type=Path, default=Path("export/weights/dope-mini.safetensors"))
    args = parser.parse_args()
    print(finish(args.work, args.output))


if __name__ == "__main__":
    main()
