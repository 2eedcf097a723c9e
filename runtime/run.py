"""Every frame of a source through a student: annotated pictures and videos, JSON lines, a window."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from wholebody.runtime.artefact import sidecar_path
from wholebody.runtime.draw import draw_people
from wholebody.runtime.draw3d import draw_view3d, side_by_side
from wholebody.runtime.errors import SourceError, WholebodyError
from wholebody.runtime.loading import Pose, load
from wholebody.runtime.media import Frame, Output, Source, open_output, open_source
from wholebody.runtime.media.pictures import Image
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.records import RecordWriter
from wholebody.runtime.skeletons import DOPE
from wholebody.runtime.spec import AnySpec, verified
from wholebody.runtime.video.follow import Follow

__all__ = ["RunSummary", "annotate", "run"]

# Keypoints below it are noise to look at; the JSON has them all. A DOPE score is a share of many proposals.
DRAWN_SCORE, DRAWN_SCORE_DOPE = 0.3, 0.1
PANEL_SIDE = 1080  # pixels; a larger picture has the panel scaled up
WINDOW = "wholebody (q closes)"
OnFrame = Callable[[Frame, People], None]


@dataclass
class RunSummary:
    """What a run did: frames and people in all, files that are whole; what was read only in part, or is
    not verified.

    length is the number of frames announced, or None; closed says whether the user closed the window.
    """

    frames: int = 0
    people: int = 0
    length: int | None = None
    written: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    closed: bool = False


def run(
    student: str | Path,
    source: str | Path | Sequence[str | Path],
    *,
    output: str | Path | None = None,
    json: str | Path | None = None,
    view3d: bool = False,
    show: bool = False,
    ids: bool = False,
    smooth: bool = False,
    detect_every: int = 1,
    summary: RunSummary | None = None,
    on_frame: OnFrame | None = None,
    **loading: Any,
) -> RunSummary:
    """Run an exported student on pictures, folders, videos or a webcam.

    output    a folder, or a file for a single source; None writes no pictures
    json      a file of JSON lines, "-" for standard output; None writes none
    view3d    a panel with the 3D poses beside each frame
    show      a window; closing it or pressing q ends the run
    ids, smooth, detect_every   see `Follow`: each video is followed on its own
    summary   filled while the run goes on, so that it tells what was done when the run is interrupted
    on_frame  called after each frame, for progress
    loading   detector, backend, threads and the other parameters of `load`

    Finished frames are on disk whatever ends the run. Raises WholebodyError; sources that could not be read
    are raised together after the others are done.
    """
    summary = summary if summary is not None else RunSummary()
    if show:
        _require_display()
    pose = load(student, **loading)
    if isinstance(pose, TopDownPose) and pose.detector is None and not pose.full_frame:
        raise WholebodyError(
            f"{student} finds the keypoints of one person in a box: name a person detector with --detector, "
            "or take every picture for one person with --full-frame"
        )
    summary.warnings = _unverified(student, pose)
    follow = Follow(pose, detect_every=detect_every, ids=ids, smooth=smooth)
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(source))
        summary.length = frames.length
        pictures = stack.enter_context(open_output(output, frames)) if output is not None else None
        if json is not None:
            _spare(json, [student, loading.get("detector") or student], frames, pictures)
        writer = stack.enter_context(RecordWriter(json)) if json is not None else None
        try:
            for frame in frames.frames():
                if frame.index == 0:
                    follow.reset()
                people = follow(frame.image, frame.time_s)
                if writer is not None:
                    writer.write(frame, people)
                summary.closed = _picture(frame, people, pictures, view3d, show)
                summary.frames += 1
                summary.people += len(people)
                if on_frame is not None:
                    on_frame(frame, people)
                if summary.closed:
                    break
        finally:
            _tell(summary, frames, pictures)
            if show:
                cv2.destroyAllWindows()
    return summary


def annotate(image: Image, people: People, *, view3d: bool = False) -> Image:
    """The picture with its people drawn on it, and their 3D poses beside it where asked."""
    least = DRAWN_SCORE_DOPE if people.skeleton is DOPE else DRAWN_SCORE
    drawn = draw_people(image, people, min_score=least)
    if not view3d:
        return drawn
    side = min(max(drawn.shape[0], 240), PANEL_SIDE)
    return side_by_side(drawn, draw_view3d(people, (side, side), min_score=least))


def _picture(frame: Frame, people: People, pictures: Output | None, view3d: bool, show: bool) -> bool:
    """Draw where somebody looks at it; whether the user closed the window."""
    if pictures is None and not show:
        return False
    drawn = annotate(frame.image, people, view3d=view3d)
    if pictures is not None:
        pictures.write(frame, drawn)
    if not show:
        return False
    cv2.imshow(WINDOW, drawn)
    pressed = cv2.waitKey(1 if frame.kind != "picture" else 0) & 0xFF
    return pressed in (ord("q"), 27) or cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1


def _tell(summary: RunSummary, source: Source, pictures: Output | None) -> None:
    summary.warnings += source.warnings
    if pictures is not None:
        pictures.close()
        summary.written = list(pictures.written)


def _unverified(student: str | Path, pose: Pose) -> list[str]:
    """What to know of a student that no certificate answers for, and of a detector of reduced precision."""
    found = [] if verified(pose.spec) else [f"{student} {_doubt(pose.spec)}"]
    detector = pose.detector.spec if isinstance(pose, TopDownPose) and pose.detector else None
    if detector is not None and detector.precision != "fp32" and not verified(detector):
        found.append(f"the detector {detector.name} {_doubt(detector)}")
    return found


def _doubt(spec: AnySpec) -> str:
    if spec.certificate is None:
        return "has no certificate: how far it is from the network it was made of was never measured"
    return "is over its budget: it differs from the network it was made of by more, as its certificate tells"


def _spare(json: str | Path, networks: Sequence[str | Path], source: Source, pictures: Output | None) -> None:
    """Refuse to write JSON lines over what is read, or over what is drawn."""
    kept = [*networks, *map(sidecar_path, networks), *(item.name for item in source.items)]
    kept += pictures.paths.values() if pictures is not None else []
    if str(json) != "-" and os.path.realpath(json) in {os.path.realpath(path) for path in kept}:
        raise SourceError(
            f"cannot write JSON lines into {json}: this run needs that file; choose another name"
        )


def _require_display() -> None:
    """Try a window in a process of its own, for OpenCV's window library ends it where there is no screen."""
    attempt = [sys.executable, "-c", "import cv2; cv2.namedWindow('wholebody'); cv2.destroyAllWindows()"]
    if subprocess.run(attempt, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise SourceError(
            "no window can be opened here (no screen, or an OpenCV without windows): write to a file with "
            "--output instead of --show"
        )
