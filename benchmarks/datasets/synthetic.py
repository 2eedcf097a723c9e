"""Rendered people with exact truth, from seeds that no training uses; any number of them, of any size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.synthetic import Scene, render_scene
from wholebody.runtime.errors import SourceError

__all__ = ["FIRST_SEED", "LEAST_SIDE", "Rendered", "Scenes"]

FIRST_SEED = 30_000_000
LEAST_SIDE = 64  # pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class Rendered(Picture):
    """A rendered picture; what data sets make of its truth is theirs."""

    scene: Scene

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.scene.image.shape[:2]
        return height, width


@dataclass(frozen=True, eq=False)
class Scenes:
    """The scenes of `count` seeds, rendered when they are asked for.

    size   (height, width) in pixels
    Raises SourceError for no picture, and for sizes below 64 pixels, in which nobody is to be seen.
    """

    count: int
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SourceError(f"{self.count} rendered pictures were asked for; it must be 1 or more")
        if min(self.size) < LEAST_SIDE:
            raise SourceError(
                f"rendered pictures of {self.size[0]}x{self.size[1]} were asked for; each side must be "
                f"{LEAST_SIDE} pixels or more"
            )

    @property
    def sha256(self) -> str:
        """Of the first picture's pixels, the seeds and the size: another renderer makes other pictures."""
        told = f"{FIRST_SEED} {self.count} {self.size}".encode()
        return hashlib.sha256(told + self.scene(0).image.tobytes()).hexdigest()

    def scene(self, index: int) -> Scene:
        return _render(FIRST_SEED + index, self.size)

    @property
    def seeds(self) -> str:
        return f"seeds {FIRST_SEED} to {FIRST_SEED + self.count - 1}"

    @property
    def nowhere(self) -> Path:
        """Their pictures are no files."""
        return Path()


@lru_cache(maxsize=2)
def _render(seed: int, size: tuple[int, int]) -> Scene:
    return render_scene(seed, size)
