"""`wholebody bench latency`: how long a student takes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from wholebody.commands.exporting import bundled_reference
from wholebody.commands.options import (
    ExportedArgument,
    ThreadsOption,
    finite,
)
from wholebody.console import console

__all__ = ["latency"]


def latency(
    student: ExportedArgument,
    against: Annotated[Path | None, typer.Option(help="The checkpoint to run in PyTorch beside it.")] = None,
    images: Annotated[Path | None, typer.Option(help="Pictures to run; rendered people unless told.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, callback=finite, help="How long to measure.")] = 20.0,
    threads: ThreadsOption = None,
) -> None:
    """Stage times of a DOPE student beside PyTorch's.

    Both run in turns; the answer is a Markdown table.
    """
    from wholebody.benchmarks.latency import measure

    if against is None and find_spec("torch") is not None:
        against = bundled_reference(student)
    report = measure(student, against=against, images=images, seconds=seconds, threads=threads)
    console.print(report.markdown())
