"""The memory benchmark: a run stands still, and one that leaks is found out."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from wholebody.benchmarks.memory import WARM, measure
from wholebody.runtime import run
from wholebody.runtime.media import Image

FRAMES, SIZE = 150, (240, 320)
FRAME_MB = 240 * 320 * 3 / 1e6
# A third of what keeping every frame would cost, and several times the ups and downs of the allocator.
ALLOWED_MB = (FRAMES - WARM) * FRAME_MB / 3

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")


def test_memory_stands_still(constant_student: Path) -> None:
    report = measure(constant_student, frames=FRAMES, size=SIZE, threads=1)
    assert (report.frames, report.people) == (FRAMES, FRAMES)
    assert report.peak >= report.last
    assert report.last - report.warm < ALLOWED_MB, report
    assert f"MB after {FRAMES} (" in str(report)


def test_a_run_that_keeps_its_frames_is_found_out(
    constant_student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[mmap.mmap] = []  # pages of its own: kept arrays would fit into what earlier tests freed
    annotate = run.annotate

    def hoard(*arguments: object, **options: object) -> Image:
        image = annotate(*arguments, **options)  # type: ignore[arg-type]
        kept.append(mmap.mmap(-1, image.nbytes))
        kept[-1].write(image.tobytes())
        return image

    monkeypatch.setattr(run, "annotate", hoard)
    report = measure(constant_student, frames=FRAMES, size=SIZE, threads=1)
    assert report.last - report.warm > ALLOWED_MB, report


def test_a_video_too_short_to_tell(constant_student: Path) -> None:
    with pytest.raises(ValueError, match="50 frames; more than 50 are needed"):
        measure(constant_student, frames=WARM)
