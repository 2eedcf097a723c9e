"""Write the calibration set: `python -m wholebody.benchmarks.synthetic OUT_FOLDER --count 64`."""

from __future__ import annotations

import argparse
from pathlib import Path

from wholebody.benchmarks.synthetic.calibration import FIRST_SEED, write_calibration_set


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m wholebody.benchmarks.synthetic", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures and manifest.json go")
    parser.add_argument("--count", type=int, default=64, help="how many pictures (default: 64)")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first picture")
    arguments = parser.parse_args()
    print(write_calibration_set(arguments.folder, arguments.count, arguments.first))


if __name__ == "__main__":
    main()
