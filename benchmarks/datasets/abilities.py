"""What a data set may do beyond `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.metrics.ranking import Ranking
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import Skeleton

__all__ = ["Evaluates", "Named", "Ranks", "Renders"]


@runtime_checkable
class Renders(Protocol):
    """Its pictures are no files."""

    def image(self, picture: Picture) -> Image:
        """(H, W, 3) uint8 BGR."""
        ...


@runtime_checkable
class Ranks(Protocol):
    """Some metrics are average precision or recall: "body/ap" is that of the ranking named "body".

    means    rankings whose figures are the mean of others': {"hands": ("left_hand", "right_hand")}
    """

    @property
    def means(self) -> Mapping[str, Sequence[str]]: ...

    def rank(self, people: People, picture: Picture) -> Mapping[str, Ranking]:
        """By name, what each prediction in a picture is; the same names for every picture."""
        ...


@runtime_checkable
class Evaluates(Protocol):
    """Some metrics have an evaluation of their own, that others trust, for all pictures together."""

    def evaluate(self, people: Sequence[People]) -> Mapping[str, float]:
        """By metric, of the people found in each picture; NaN where there is nothing to measure."""
        ...


@runtime_checkable
class Named(Protocol):
    """Its truth has the keypoints of a skeleton."""

    @property
    def skeleton(self) -> Skeleton: ...
