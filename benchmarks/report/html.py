"""A report as one HTML page: no script, no network, system fonts, light and dark."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from wholebody.benchmarks.report.charts.canvas import variables
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
    Section,
    Table,
    Text,
)

__all__ = ["render_html"]

# Nothing may be loaded, so that the page says the same in ten years and tells nobody that it was read.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect x='1' y='8' width='3.5' height='7' fill='%23316dca'/%3E"
    "%3Crect x='6.25' y='4' width='3.5' height='11' fill='%23316dca'/%3E"
    "%3Crect x='11.5' y='1' width='3.5' height='14' fill='%23c4622d'/%3E%3C/svg%3E"
)


def render_html(document: Document) -> str:
    """The whole page."""
    style = files("wholebody.benchmarks.report").joinpath("page.css").read_text("utf-8")
    entries = "".join(f'<li><a href="#{s.anchor}">{escape(s.title)}</a></li>' for s in document.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{ICON}">
<title>{escape(document.title)}</title>
<style>
{variables()}
{style}</style>
</head>
<body>
<header>
<h1>{escape(document.title)}</h1>
<p class="lead">{_inline(document.lead)}</p>
<nav aria-label="Sections"><ul>{entries}</ul></nav>
</header>
<main>
{"".join(map(_section, document.sections))}</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    kind = ' class="foreign"' if section.foreign else ""
    heading = f'<h2 id="{section.anchor}-title">{escape(section.title)}</h2>'
    return (
        f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-title"{kind}>\n{heading}\n'
        f"{_blocks(section.blocks)}</section>\n"
    )


def _blocks(blocks: Iterable[Block]) -> str:
    return "".join(_block(block) + "\n" for block in blocks)


def _block(block: Block) -> str:
    if isinstance(block, Text):
        kind = ' class="aside"' if block.aside else ""
        return f"<p{kind}>{_inline(block.text)}</p>"
    if isinstance(block, Listing):
        return f"<ul>{''.join(f'<li>{_inline(point)}</li>' for point in block.points)}</ul>"
    if isinstance(block, Code):
        return f'<pre tabindex="0"><code>{escape(chr(10).join(block.lines))}</code></pre>'
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Chart):
        return _chart(block)
    if isinstance(block, Gallery):
        return f'<div class="gallery">{"".join(map(_photo, block.photos))}</div>'
    return _fold(block)


def _fold(fold: Fold) -> str:
    state = " open" if fold.open else ""
    return f"<details{state}><summary>{_inline(fold.title)}</summary>\n{_blocks(fold.blocks)}</details>"


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_words(table, column)}>{_inline(name)}</th>'
        for column, name in enumerate(table.columns)
    )
    body = "".join(
        f"<tr>{''.join(_cell(table, column, cell) for column, cell in enumerate(row))}</tr>\n"
        for row in table.rows
    )
    caption = f"<figcaption>{_inline(table.caption)}</figcaption>" if table.caption else ""
    label = escape(re.sub(r"[`\[\]]", "", table.caption or "table"), quote=True)
    return (
        f'<figure class="table">{caption}<div class="scroll" role="region" tabindex="0" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div></figure>"
    )


def _words(table: Table, column: int) -> str:
    return ' class="words"' if column < table.words else ""


def _cell(table: Table, column: int, cell: Cell) -> str:
    note = f"<small>{_inline(cell.note)}</small>" if cell.note else ""
    inner = _inline(cell.text) + note
    if column == 0:
        return f'<th scope="row" class="words">{inner}</th>'
    names = " ".join(filter(None, ("words" if column < table.words else "", cell.tone)))
    return f'<td class="{names}">{inner}</td>' if names else f"<td>{inner}</td>"


def _chart(chart: Chart) -> str:
    label = f'role="img" aria-label="{escape(chart.alt, quote=True)}"'
    wide, narrow = (
        svg.replace("<svg ", f'<svg class="{name}" {label} ', 1)
        for name, svg in (("wide", chart.wide), ("narrow", chart.narrow))
    )
    return f'<figure class="chart">{wide}{narrow}<figcaption>{_inline(chart.caption)}</figcaption></figure>'


def _photo(photo: Photo) -> str:
    source = f"data:image/jpeg;base64,{b64encode(photo.jpeg).decode()}"
    alt = escape(re.sub(r"[`\[\]]", "", photo.caption), quote=True)
    return (
        f'<figure><img src="{source}" alt="{alt}" loading="lazy"><figcaption>{_inline(photo.caption)}'
        "</figcaption></figure>"
    )


def _inline(text: str) -> str:
    """`code` and [links](https://…) of a text, everything else as it is."""
    safe = escape(text, quote=True)
    linked = re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>', safe)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", linked)
