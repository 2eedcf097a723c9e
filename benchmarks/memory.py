"""Memory of `wholebody run` on a long video: `python -m wholebody.benchmarks.memory STUDENT`.

A video of rendered people is run as the command line does it, with annotated frames and JSON lines written to
a temporary folder, and the resident memory of this process is read after every frame. It must not grow once
the first frames have filled every buffer. Linux only, which tells the memory of a process in /proc.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from wholebody.benchmarks.synthetic import render_scene
from wholebody.runtime.media import Frame
from wholebody.runtime.people import People
from wholebody.runtime.run import run

__all__ = ["MemoryReport", "measure"]

WARM = 50  # frames after which memory should stand still
FIRST_SEED, SCENES, SCENE_FRAMES = 40_000_000, 8, 5  # all of them are seen before WARM
FPS = 25.0


@dataclass(frozen=True)
class MemoryReport:
    """Resident memory in MB: after WARM frames, after the last one, and the most seen after any frame."""

    frames: int
    people: int
    warm: float
    last: float
    peak: float

    def __str__(self) -> str:
        return (
            f"{self.warm:.1f} MB after {WARM} frames, {self.last:.1f} MB after {self.frames} "
            f"({self.last - self.warm:+.1f}), at most {self.peak:.1f} MB; {self.people} people"
        )


def measure(
    student: str | Path,
    *,
    frames: int = 1000,
    size: tuple[int, int] = (480, 640),
    threads: int | None = None,
) -> MemoryReport:
    """Run a student on a video of so many frames, (height, width) each, and watch the memory.

    Raises ValueError for a video of WARM frames or fewer, and WholebodyError as `run` does.
    """
    if frames <= WARM:
        raise ValueError(
            f"{frames} frames; more than {WARM} are needed, for memory is compared from there on"
        )
    megabytes: list[float] = []

    def on_frame(frame: Frame, people: People) -> None:
        megabytes.append(_resident_megabytes())

    with TemporaryDirectory() as folder:
        video = _write_video(Path(folder) / "people.mp4", frames, size)
        summary = run(
            student, video, output=Path(folder) / "out", json=Path(folder) / "people.jsonl", threads=threads,
            on_frame=on_frame,
        )  # fmt: skip
    return MemoryReport(summary.frames, summary.people, megabytes[WARM - 1], megabytes[-1], max(megabytes))


def _write_video(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """Some rendered scenes in turn, each passing by."""
    scenes = [render_scene(FIRST_SEED + i, size).image for i in range(SCENES)]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, size[::-1])
    for k in range(frames):
        writer.write(np.roll(scenes[k // SCENE_FRAMES % SCENES], 4 * k, axis=1))
    writer.release()
    return path


def _resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m wholebody.benchmarks.memory", description=__doc__)
    parser.add_argument("student", type=Path, help="an exported student")
    parser.add_argument("--frames", type=int, default=1000, help="length of the video (default: 1000)")
    arguments = parser.parse_args()
    print(measure(arguments.student, frames=arguments.frames))


if __name__ == "__main__":
    main()
