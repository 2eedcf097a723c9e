"""`wholebody bench report`: recorded runs as a page that needs nothing else, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wholebody.benchmarks.published import PUBLISHED, PublishedTable
from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.recorded import Accuracy, Latency
from wholebody.benchmarks.report.accuracy import accuracy_sections
from wholebody.benchmarks.report.charts.canvas import standalone
from wholebody.benchmarks.report.document import (
    Block,
    Cell,
    Chart,
    Document,
    Fold,
    Gallery,
    Photo,
    Section,
    Table,
    Text,
)
from wholebody.benchmarks.report.html import render_html
from wholebody.benchmarks.report.latency import latency_sections
from wholebody.benchmarks.report.markdown import chart_file, photo_file, render_markdown
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.provenance import provenance_sections
from wholebody.benchmarks.report.summary import lead, summary_section
from wholebody.benchmarks.report.tradeoff import tradeoff_sections
from wholebody.runtime.errors import SourceError
from wholebody.runtime.whole import whole

__all__ = ["Written", "compose", "write_report"]


@dataclass(frozen=True)
class Written:
    """Where the report lies, and of how many runs it is."""

    html: Path
    markdown: Path
    runs: int


def write_report(files: Sequence[Path], output: Path) -> Written:
    """Write index.html and report.md with its pictures into a folder, which is made.

    Raises SourceError for files that are no runs and for a folder that cannot be written.
    """
    runs = load_runs(files)
    document = compose(runs, files)
    try:
        return _write(document, output, len(runs))
    except OSError as error:
        raise SourceError(f"cannot write into {output}: {error.strerror}; choose another folder") from error


def compose(runs: Sequence[Latency | Accuracy], files: Sequence[Path]) -> Document:
    """The report, whatever it is to be written as."""
    latency = [run for run in runs if isinstance(run, Latency)]
    accuracy = [run for run in runs if isinstance(run, Accuracy)]
    names = Names(runs)
    sections = [
        summary_section(latency, accuracy, names),
        *latency_sections(latency, names),
        *tradeoff_sections(latency, accuracy, names),
        *accuracy_sections(accuracy, names),
        *provenance_sections(runs, files),
        _published_section(),
    ]
    return Document("Benchmark of whole-body pose students", lead(runs), sections)


def _published_section() -> Section:
    blocks: list[Block] = [
        Text(
            "As their publishers state them, on their hardware and by their protocol. Nothing in this "
            "section was "
            "measured here, and no figure of it may be set against one above."
        )
    ]
    return Section("Published by others", [*blocks, *map(_published, PUBLISHED)], foreign=True)


def _published(table: PublishedTable) -> Table:
    caption = f"{table.title}. {table.notes} Source: [{table.source}]({table.url})."
    return Table(
        " ".join(caption.split()), table.columns, [[Cell(each) for each in row] for row in table.rows]
    )


def _write(document: Document, output: Path, runs: int) -> Written:
    written = Written(output / "index.html", output / "report.md", runs)
    blocks = list(_all_blocks(block for section in document.sections for block in section.blocks))
    output.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Chart):
            _write_file(output / chart_file(block), standalone(block.wide).encode())
        elif isinstance(block, Photo):
            _write_file(output / photo_file(block), block.jpeg)
    _write_file(written.markdown, render_markdown(document).encode())
    _write_file(written.html, render_html(document).encode())
    return written


def _all_blocks(blocks: Iterable[Block]) -> Iterator[Block | Photo]:
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from _all_blocks(block.blocks)
        elif isinstance(block, Gallery):
            yield from block.photos


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with whole(path) as partial:
        partial.write_bytes(content)
