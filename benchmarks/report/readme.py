"""The README's table of measured figures, written from the file that they were recorded in.

python -m wholebody.benchmarks.report.readme README.md benchmarks/results/cpu.jsonl
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.recorded import Accuracy, Latency
from wholebody.benchmarks.report.markdown import markdown_table
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.overview import overview
from wholebody.benchmarks.report.summary import lead
from wholebody.runtime.errors import SourceError, WholebodyError
from wholebody.runtime.whole import whole

__all__ = ["BEGIN", "END", "measured", "with_measured"]

BEGIN = "<!-- measured: written by `python -m wholebody.benchmarks.report.readme`, not by hand -->"
END = "<!-- measured: end -->"


def measured(runs: Sequence[Latency | Accuracy]) -> str:
    """The Markdown between the two comments."""
    latency = [run for run in runs if isinstance(run, Latency)]
    accuracy = [run for run in runs if isinstance(run, Accuracy)]
    table = overview(latency, accuracy, Names(runs))
    return "\n".join([lead(runs), "", *markdown_table(table.columns, table.rows), "", table.caption])


def with_measured(text: str, runs: Sequence[Latency | Accuracy]) -> str:
    """A README with its table written anew. Raises SourceError where the comments are not there once each."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SourceError(f"the README must hold these lines once each, in this order: {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{measured(runs)}\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    """Write the README whose path comes first from the files of runs that follow."""
    readme, *files = map(Path, arguments)
    written = with_measured(readme.read_text("utf-8"), load_runs(files))
    with whole(readme) as partial:
        partial.write_text(written, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m wholebody.benchmarks.report.readme README.md RUNS.jsonl…")
    try:
        main(sys.argv[1:])
    except (WholebodyError, OSError) as error:
        sys.exit(f"error: {error}")
