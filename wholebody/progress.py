"""Progress of a run in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from wholebody.runtime.media import Frame
from wholebody.runtime.people import People
from wholebody.runtime.run import OnFrame, RunSummary

__all__ = ["frame_progress"]


@contextmanager
def frame_progress(
    summary: RunSummary, console: Console, *, printing: bool = False
) -> Iterator[OnFrame | None]:
    """A bar of frames with the people seen and the pace.

    None where the console is no terminal, or where the run is `printing` its records on the same one.
    """
    if not console.is_terminal or (printing and sys.stdout.isatty()):
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("frames"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    # rich would send standard output, which may be a file, to the terminal of the bar
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None)

        def on_frame(frame: Frame, people: People) -> None:
            pace = bar.tasks[0].speed
            note = f"people: {len(people)}" + (f", {pace:.1f} frames/s" if pace else "")
            bar.update(task, total=summary.length, completed=summary.frames, description=note)

        yield on_frame
