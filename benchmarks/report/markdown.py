"""A report as Markdown, with its charts and photographs as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from wholebody.benchmarks.report.document import (
    Block,
    Cell,
    Chart,
    Code,
    Document,
    Fold,
    Gallery,
    Listing,
    Photo,
    Table,
    Text,
)

__all__ = ["chart_file", "markdown_table", "photo_file", "render_markdown"]


def render_markdown(document: Document) -> str:
    """The whole text, which points at `chart_file` and `photo_file` of what it shows."""
    lines = [f"# {_plain(document.title)}", "", _plain(document.lead), ""]
    for section in document.sections:
        lines += [f"## {_plain(section.title)}", "", *_blocks(section.blocks)]
    return "\n".join(lines).rstrip() + "\n"


def chart_file(chart: Chart) -> str:
    return f"figures/{chart.name}.svg"


def photo_file(photo: Photo) -> str:
    return f"worst/{photo.name}.jpg"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, words: int = 1) -> list[str]:
    """The lines of a table; notes follow their figure in brackets."""
    alignment = ["---" if column < words else "---:" for column in range(len(columns))]
    return [_row(map(_plain, columns)), _row(alignment), *(_row(map(_cell, row)) for row in rows)]


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        yield from _block(block)
        yield ""


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield _plain(block.text)
    elif isinstance(block, Listing):
        yield from (f"- {_plain(point)}" for point in block.points)
    elif isinstance(block, Code):
        yield from ("```", *block.lines, "```")
    elif isinstance(block, Table):
        yield from (f"*{_plain(block.caption)}*", "") if block.caption else ()
        yield from markdown_table(block.columns, block.rows, words=block.words)
    elif isinstance(block, Chart):
        yield from (f"![{_plain(block.alt)}]({chart_file(block)})", "", f"*{_plain(block.caption)}*")
    elif isinstance(block, Gallery):
        for photo in block.photos:
            yield from (f"![{_plain(photo.caption)}]({photo_file(photo)})", "", _plain(photo.caption), "")
    elif isinstance(block, Fold):
        yield from (f"### {_plain(block.title)}", "", *_blocks(block.blocks))


def _cell(cell: Cell) -> str:
    return _plain(cell.text) + (f" ({_plain(cell.note)})" if cell.note else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """On one line, with what would be a table's or HTML's own escaped."""
    return re.sub(r"([|<>])", r"\\\1", " ".join(text.split()))
