"""One frame, and what every kind of source item answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from wholebody.runtime.media.pictures import Image, read_image

__all__ = ["Frame", "Item", "Kind", "PictureFile"]

Kind = Literal["picture", "video", "webcam"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    image   (H, W, 3) uint8 BGR
    name    the file it comes from, or "webcam0"
    index   its number in that file, from 0
    time_s  seconds since that file began; 0 for a picture
    kind    what it comes from
    fps     frames per second of a video or webcam; 0 for a picture
    """

    image: Image
    name: str
    index: int = 0
    time_s: float = 0.0
    kind: Kind = "picture"
    fps: float = 0.0


class Item(Protocol):
    """A picture, a video or a webcam: something with frames."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def length(self) -> int | None:
        """Frames as the file announces them, or None."""

    def frames(self, warn: Callable[[str], None]) -> Iterator[Frame]:
        """The frames in order; what goes wrong on the way is raised as SourceError, or told to `warn`."""
        ...


@dataclass(frozen=True)
class PictureFile:
    """A picture, read when its turn comes."""

    path: Path
    kind: Kind = "picture"
    length: int | None = 1

    @property
    def name(self) -> str:
        return str(self.path)

    def frames(self, warn: Callable[[str], None]) -> Iterator[Frame]:
        yield Frame(read_image(self.path), self.name)
