"""What a report consists of, whatever it is written as.

Texts may hold `code` between backticks and [links](https://…); nothing else in them is markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Block", "Cell", "Chart", "Code", "Document", "Fold", "Gallery", "Listing", "Photo", "Section", "Table",
    "Text",
]  # fmt: skip

Tone = Literal["", "better", "worse", "muted"]


@dataclass(frozen=True)
class Text:
    """A paragraph; an aside is set smaller."""

    text: str
    aside: bool = False


@dataclass(frozen=True)
class Listing:
    """Points, one a line."""

    points: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Commands to copy, one a line."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """A figure, with its interval or whatever else stands below it in small."""

    text: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A heading a column, the first of which names the row. `words`: columns of text, set to the left."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1


@dataclass(frozen=True)
class Chart:
    """A figure drawn twice, for a wide and a narrow screen, both as SVG; `alt` says what it shows."""

    name: str
    wide: str
    narrow: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Photo:
    """A picture as JPEG."""

    name: str
    jpeg: bytes
    caption: str


@dataclass(frozen=True)
class Gallery:
    photos: Sequence[Photo]


@dataclass(frozen=True)
class Fold:
    """Blocks below a heading that can be clicked away; all of them are there in Markdown."""

    title: str
    blocks: Sequence[Block]
    open: bool = False


Block = Text | Listing | Code | Table | Chart | Gallery | Fold


@dataclass(frozen=True)
class Section:
    """`foreign`: not measured here, and shown so."""

    title: str
    blocks: Sequence[Block]
    foreign: bool = False

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Document:
    title: str
    lead: str
    sections: Sequence[Section] = field(default_factory=tuple)
