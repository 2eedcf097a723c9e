"""`wholebody bench report`: recorded runs as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholebody.console import console

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS...", help="Files that `wholebody bench … --runs` wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")] = Path(
        "report"
    ),
) -> None:
    """Recorded runs as one HTML page and as Markdown.

    Tables, distributions, stages, latency against people, accuracy against latency, worst pictures, the
    machine and how to repeat it. The page needs no network and no other file.
    """
    from wholebody.benchmarks.report.write import write_report

    written = write_report(runs, output)
    console.print(f"{written.html} and {written.markdown.name}: {written.runs} runs")
