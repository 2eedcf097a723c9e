"""What every picture adds to the figures of a student, from which those of any resample follow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.abilities import Evaluates, Ranks
from wholebody.benchmarks.datasets.dataset import Dataset, Picture, Tally
from wholebody.benchmarks.metrics.ranking import RANKED, Ranking, ranked_figures
from wholebody.runtime.people import People

__all__ = ["Evidence"]

Doubles = NDArray[np.float64]
NOTHING = np.zeros(1)


class Evidence:
    """Of one student: add the people it found, picture by picture, in the order of the data set."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._tallies: list[Tally] = []
        self._rankings: list[Mapping[str, Ranking]] = []
        self._people: list[People] = []
        self._names = [metric.name for metric in dataset.metrics]

    def __len__(self) -> int:
        return len(self._tallies)

    def add(self, people: People, picture: Picture) -> None:
        """Raises ValueError where a metric's sums are no numbers, which would hide all other pictures."""
        tally = self._dataset.tally(people, picture)
        for name, cells in tally.items():
            if not all(np.isfinite(cell).all() for cell in cells):
                raise ValueError(f"{self._dataset.name} says no number of {name} in {picture.name}: {cells}")
        self._tallies.append(tally)
        if isinstance(self._dataset, Ranks):
            self._rankings.append(self._dataset.rank(people, picture))
        if isinstance(self._dataset, Evaluates):
            self._people.append(people)

    @property
    def ranks_pictures(self) -> str | None:
        """The first metric that single pictures have."""
        return next((name for name in self._names if name in self._cells), None)

    def of_pictures(self, name: str) -> Doubles:
        """(N,) a metric of each picture alone, NaN where it adds nothing."""
        return _mean_of_cells(*self._cells[name]) if name in self._cells else np.full(len(self), np.nan)

    def counts(self) -> dict[str, int]:
        """By metric, how many joints, people or pictures it is of."""
        counted = {name: round(float(counts.sum())) for name, (_, counts) in self._cells.items()}
        for name, rankings in self._ranked.items():
            truths = sum(ranking.truths for ranking in rankings)
            counted |= {f"{name}/{figure}": truths for figure in RANKED}
        if isinstance(self._dataset, Ranks):
            for name, parts in self._dataset.means.items():
                counted |= {f"{name}/{each}": sum(counted[f"{p}/{each}"] for p in parts) for each in RANKED}
        return counted

    def values(self) -> dict[str, float]:
        """By metric, of all pictures; NaN where there is nothing to measure."""
        figures = {name: float(v[0]) for name, v in self.figures(np.ones((1, len(self)), np.int64)).items()}
        if isinstance(self._dataset, Evaluates):
            figures |= self._dataset.evaluate(self._people)
        return figures

    def figures(self, weights: NDArray[Any]) -> dict[str, Doubles]:
        """By metric, (R,) of resamples that hold each picture as often as `weights` (R, N) says."""
        figures: dict[str, Doubles] = {}
        for name, (sums, counts) in self._cells.items():
            figures[name] = _mean_of_cells(weights @ sums, weights @ counts)
        for name, rankings in self._ranked.items():
            figures |= {f"{name}/{each}": v for each, v in ranked_figures(rankings, weights).items()}
        if isinstance(self._dataset, Ranks):
            for name, parts in self._dataset.means.items():
                for each in RANKED:
                    figures[f"{name}/{each}"] = np.mean([figures[f"{part}/{each}"] for part in parts], axis=0)
        return {name: figures[name] for name in self._names if name in figures}

    @cached_property
    def _ranked(self) -> dict[str, list[Ranking]]:
        names = self._rankings[0] if self._rankings else ()
        return {name: [rankings[name] for rankings in self._rankings] for name in names}

    @cached_property
    def _cells(self) -> dict[str, tuple[Doubles, Doubles]]:
        """By metric, sums and counts (N, C); a picture may add nothing."""
        return {
            name: (_stacked(self._tallies, name, 0), _stacked(self._tallies, name, 1))
            for name in self._names
            if any(name in tally for tally in self._tallies)
        }


def _stacked(tallies: list[Tally], name: str, column: int) -> Doubles:
    cells = max(len(tally[name][column]) for tally in tallies if name in tally)
    stacked = np.zeros((len(tallies), cells))
    for row, tally in zip(stacked, tallies, strict=True):
        if name in tally:
            row[:] = tally[name][column]
    return stacked


def _mean_of_cells(sums: Doubles, counts: Doubles) -> Doubles:
    """(R,) of (R, C): the mean of sum / count over the cells that count anything."""
    share = np.divide(sums, counts, out=np.zeros(sums.shape), where=counts > 0)
    cells = (counts > 0).sum(axis=1)
    mean: Doubles = np.divide(share.sum(axis=1), cells, out=np.full(len(cells), np.nan), where=cells > 0)
    return mean
