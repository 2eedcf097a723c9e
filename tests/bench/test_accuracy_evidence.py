"""Figures, their intervals and paired differences, of a data set made up for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.accuracy.bootstrap import RESAMPLES, interval, resamples
from wholebody.benchmarks.accuracy.estimates import Estimates, estimate
from wholebody.benchmarks.accuracy.evidence import Evidence
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, Skeleton

NOBODY = Truth(np.zeros((0, 17, 2)), None, np.zeros((0, 17), np.bool_), np.zeros((0, 4)))
SHARE = Metric("share", "share", "share", "higher")
ERROR = Metric("error", "error", "mm", "lower")


@dataclass(frozen=True)
class Made:
    """A `Dataset` whose tally of picture number i is `told(i)`."""

    told: Callable[[int], Tally]
    count: int
    metrics: Sequence[Metric] = (SHARE, ERROR)
    name: str = "made"
    sha256: str = "0" * 64
    notes: str = ""

    @property
    def pictures(self) -> Sequence[Picture]:
        return [Picture(str(i), Path(), NOBODY) for i in range(self.count)]

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None: ...

    def tally(self, people: People, picture: Picture) -> Tally:
        return self.told(int(picture.name))


@dataclass(frozen=True)
class Again:
    """The tally of picture number i is that of another, `which[i]`."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    which: NDArray[np.intp]

    def __call__(self, i: int) -> Tally:
        return {"share": (self.sums[self.which[i]], self.counts[self.which[i]])}


def evidence(told: Callable[[int], Tally], count: int) -> Evidence:
    made = Made(told, count)
    gathered = Evidence(made)
    for picture in made.pictures:
        gathered.add(People.empty(COCO17), picture)
    return gathered


def cell(total: float, count: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([total]), np.array([count])


def estimates(student: Evidence, reference: Evidence | None = None) -> dict[str, Estimates]:
    return {each.metric.name: each for each in estimate((SHARE, ERROR), student, reference)}


def test_resamples_are_pictures_drawn_with_replacement() -> None:
    drawn = np.concatenate(list(resamples(7)))
    assert drawn.shape == (RESAMPLES, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean() == pytest.approx(1)
    assert drawn.var() == pytest.approx(6 / 7, rel=0.1)  # of a multinomial
    np.testing.assert_array_equal(drawn, np.concatenate(list(resamples(7))))
    assert interval(np.full(3, np.nan)) is None
    assert interval(np.array([np.nan, 2.0])) == (2, 2)


def test_a_cell_pools_and_cells_are_averaged() -> None:
    """1 of 2 and 3 of 6 pooled; the mean of 100 % and 25 % by cell, leaving out what counts nothing."""

    def told(i: int) -> Tally:
        return {
            "share": cell([1, 3][i], [2, 6][i]),
            "error": (np.array([[1.0, 0, 0], [1, 1, 0]][i]), np.array([[1.0, 0, 0], [1, 4, 0]][i])),
        }

    values = evidence(told, 2).values()
    assert values == pytest.approx({"share": 0.5, "error": (1 + 0.25) / 2})


def test_a_weight_is_a_picture_added_again() -> None:
    rng = np.random.default_rng(0)
    sums, counts = rng.integers(0, 9, (6, 3)).astype(float), rng.integers(0, 3, (6, 3)).astype(float)
    sums[counts == 0] = 0
    gathered = evidence(Again(sums, counts, np.arange(6)), 6)
    for weights in np.concatenate(list(resamples(6)))[:20]:
        again = np.repeat(np.arange(6), weights)
        repeated = Again(sums, counts, again)
        expected = evidence(repeated, len(again)).values()["share"]
        assert gathered.figures(weights[None])["share"][0] == pytest.approx(expected, nan_ok=True)


def test_the_interval_is_that_of_a_mean() -> None:
    """Of 400 pictures, half of them right: 1.96 · √(0.25 / 400) is 4.9 %."""
    gathered = estimates(evidence(lambda i: {"share": cell(i % 2, 1)}, 400))["share"]
    assert gathered.value is not None
    assert gathered.value.value == 0.5
    assert gathered.value.low == pytest.approx(0.451, abs=0.006)
    assert gathered.value.high == pytest.approx(0.549, abs=0.006)
    assert (gathered.reference, gathered.difference, gathered.count) == (None, None, 400)


def test_differences_are_paired() -> None:
    """Pictures differ far more from each other than the student does from its reference on each."""
    rng = np.random.default_rng(1)
    hard = rng.uniform(0, 100, 200)
    student = evidence(lambda i: {"error": cell(hard[i] + 1 + 0.1 * (i % 3), 1)}, 200)
    reference = evidence(lambda i: {"error": cell(hard[i], 1)}, 200)
    both = estimates(student, reference)["error"]
    assert both.value is not None
    assert both.difference is not None
    assert both.value.high - both.value.low > 5
    assert both.difference.value == pytest.approx(1.1, abs=0.01)
    assert 1.08 < both.difference.low < both.difference.value < both.difference.high < 1.12
    assert both.reference == pytest.approx(hard.mean())


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 data sets of 50 pictures, about 95 % of the intervals hold 0.3; binomially 87 to 99 %."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        right = rng.random(50) < 0.3
        figures = np.concatenate([rows @ right / 50 for rows in resamples(50)])
        low, high = interval(figures) or (1, 0)
        held += low <= 0.3 <= high
    assert 174 <= held <= 198


def test_nothing_to_measure() -> None:
    nothing = estimates(evidence(lambda i: {"share": cell(0, 0)}, 3), evidence(lambda i: {}, 3))
    for each in nothing.values():
        assert (each.value, each.reference, each.difference, each.count) == (None, None, None, 0)


def test_only_the_student_has_it() -> None:
    """The reference found nobody to measure an error of."""
    some = estimates(
        evidence(lambda i: {"error": cell(i, 1)}, 3), evidence(lambda i: {"error": cell(0, 0)}, 3)
    )
    assert some["error"].value is not None
    assert (some["error"].reference, some["error"].difference) == (None, None)


def test_sums_that_are_no_number_are_told() -> None:
    with pytest.raises(ValueError, match="made says no number of error in 0"):
        evidence(lambda i: {"error": cell(math.nan, 1)}, 1)


def test_of_single_pictures() -> None:
    gathered = evidence(lambda i: {"error": cell(i, i)}, 3)
    assert gathered.ranks_pictures == "error"
    np.testing.assert_array_equal(gathered.of_pictures("error"), [np.nan, 1, 1])
