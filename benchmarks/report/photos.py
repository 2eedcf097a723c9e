"""The worst pictures of a run, small enough for a page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from wholebody.benchmarks.recorded import Accuracy, Worst
from wholebody.benchmarks.report.document import Photo
from wholebody.benchmarks.report.wording import in_unit, number

__all__ = ["photos"]

WIDTH, QUALITY = 900, 82
MOST_BYTES = 64 * 1024 * 1024  # of a file beside the runs; nothing that was drawn for them is larger


def photos(run: Accuracy, most: int) -> list[Photo]:
    """At most so many, the worst first, of those whose drawings still lie beside the runs."""
    drawn = [(place, worst.file, worst) for place, worst in enumerate(run.worst) if worst.file][:most]
    found = ((place, worst, _jpeg(run.folder / file)) for place, file, worst in drawn)
    return [Photo(f"{run.id}-{place}", jpeg, _caption(run, worst)) for place, worst, jpeg in found if jpeg]


def _caption(run: Accuracy, worst: Worst) -> str:
    ranked = run.figures.get(run.ranked_by or "")
    scale, places, unit = in_unit(ranked.unit if ranked else "")
    told = [worst.picture]
    if worst.figure is not None:
        what = f"{ranked.title} " if ranked else ""
        told.append(f"{what}{number(worst.figure * scale, places)}{unit}")
    if worst.reference is not None:
        told.append(f"reference {number(worst.reference * scale, places)}{unit}")
    return " · ".join(told)


def _jpeg(path: Path) -> bytes | None:
    """None for what is not there or no picture."""
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    height, width = image.shape[:2]
    if width > WIDTH:
        size = WIDTH, max(1, round(height * WIDTH / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes() if done else None
