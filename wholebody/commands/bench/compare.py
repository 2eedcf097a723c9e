"""`wholebody bench compare`: did it get better or worse?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wholebody.console import console, errors

__all__ = ["compare"]


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Runs from before.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Runs of now.")],
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs of different pictures, sizes or machines, too.")
    ] = False,
) -> None:
    """Better, worse or no evidence, figure by figure.

    The answer is a Markdown table. Exit code 0 where nothing is worse, 1 where something is, 2 for an error.
    """
    from wholebody.benchmarks.compare import compare as compare_files
    from wholebody.benchmarks.pairs import IncomparableError
    from wholebody.benchmarks.report.comparison import markdown

    try:
        comparison = compare_files(old, new, force=force)
    except IncomparableError as error:
        for line in error.lines:
            errors.print(line)
        raise
    console.print(markdown(comparison))
    if comparison.count("worse"):
        raise typer.Exit(1)
