"""Make the bundled student of a training: averaged weights, scores about 0, licence, one file.

    python -m wholebody.distill.dwpose.finish --work .training/dwpose

writes export/weights/dwpose-mini.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wholebody.distill.dwpose.losses import centred
from wholebody.distill.dwpose.train import MINI
from wholebody.distill.state import averaged_weights
from wholebody.export.student_file import save_student
from wholebody.export.students.rtmpose import RtmPose

__all__ = ["finish"]

LICENCE = "Apache-2.0"


def finish(work: Path, output: Path) -> Path:
    """Write the student of the training kept in `work`; returns `output`."""
    weights, step = averaged_weights(work / "last.pt")
    network = RtmPose(MINI)
    network.load_state_dict(centred(weights))
    output.parent.mkdir(parents=True, exist_ok=True)
    save_student(
        network.eval(), output, name="dwpose-mini", licence=LICENCE, data="rendered people", steps=step
    )
    return output


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description="Make the bundled student of a training.")
    parser.add_argument("--work", type=Path, default=Path(".training/dwpose"))
    parser.add_argument("--output", type=Path, default=Path("export/weights/dwpose-mini.safetensors"))
    args = parser.parse_args()
    print(finish(args.work, args.output))


if __name__ == "__main__":
    main()
