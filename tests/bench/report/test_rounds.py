"""`benchmarks.rounds`: intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.recorded import Estimate
from wholebody.benchmarks.rounds import _student, change, in_units_of, ratio

Rounds = tuple[NDArray[np.float64], ...]


def rounds(ms: float, seed: int, count: int = 20, frames: int = 10, mood: float = 0.02) -> Rounds:
    rng = np.random.default_rng(seed)
    moods = ms * np.exp(rng.normal(0, mood, (count, 1)))
    return tuple(moods * np.exp(rng.normal(0, 0.03, (count, frames))))


def test_without_rounds_there_is_no_ratio() -> None:
    assert ratio((), rounds(1, 0)) is None
    assert change(rounds(1, 0), ()) is None


def test_too_few_rounds_have_no_interval() -> None:
    few = rounds(40, 0, count=2)
    found = ratio(few, few)
    assert found is not None
    assert found.value == 1
    assert found.interval is None


def test_it_is_the_ratio_of_the_batches_quantiles() -> None:
    old = rounds(40, 0)
    for share in (0.5, 0.95):
        found = change(old, tuple(times * 1.25 for times in old), share=share)
        assert found is not None
        assert found.value == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("confidence", "freedom", "expected"),
    [(0.95, 9, 2.2622), (0.95, 18, 2.1009), (0.99, 9, 3.2498), (0.999, 9, 4.7809), (0.999, 18, 3.9216)],
)
def test_intervals_are_students(confidence: float, freedom: int, expected: float) -> None:
    """Against tables of the distribution."""
    assert _student((1 + confidence) / 2, freedom) == pytest.approx(expected, rel=0.005)


def test_the_interval_is_welchs() -> None:
    """One round a batch, one frame a round: by hand."""
    logs = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.9, 1.3, 1.7]])
    low, high = interval(change(*(tuple(np.exp(each)[:, None]) for each in logs)))
    # Variances 0.05/3 and 0.8/3, of means 0.0041667 and 0.0666667; 3.3740 degrees of freedom: 2.9905.
    assert np.log([low, high]) == pytest.approx([0.85 - 2.9905 * 0.26615, 0.85 + 2.9905 * 0.26615], rel=0.02)


def test_those_who_took_turns_are_held_against_each_other_round_by_round() -> None:
    fast = rounds(40, 0, mood=0.3)
    found = ratio(tuple(times * 2 for times in fast), fast)
    assert found is not None
    assert found.interval == pytest.approx((2, 2), rel=0.02)  # processes of one program differ, too
    assert ratio(fast[1:], fast) is None


def test_rounds_may_differ_in_length() -> None:
    ragged = tuple(each[: 3 + place % 7] for place, each in enumerate(rounds(40, 0)))
    found = ratio(ragged, ragged)
    assert found is not None
    assert found.interval == pytest.approx((1, 1), rel=0.02)
    apart = change(ragged, tuple(each * 1.5 for each in ragged))
    assert apart is not None
    assert apart.interval is not None
    assert apart.interval[0] < 1.5 < apart.interval[1]


def test_two_of_the_same_agree_and_ten_percent_are_found() -> None:
    same = [interval(change(rounds(40, 2 * k), rounds(40, 2 * k + 1))) for k in range(20)]
    slower = [interval(change(rounds(40, 2 * k), rounds(44, 2 * k + 1))) for k in range(20)]
    assert sum(low <= 1 <= high for low, high in same) >= 18
    assert sum(low > 1 for low, _ in slower) >= 18


def test_an_anchor_takes_out_what_the_machine_did() -> None:
    """The machine was 20 % slower the second time; the student is as it was."""
    old, new = rounds(40, 0, mood=0.1), rounds(48, 1, mood=0.1)
    anchors = [tuple(each * 2 for each in of) for of in (old, new)]
    plain = interval(change(old, new))
    anchored = interval(change(in_units_of(anchors[0], old), in_units_of(anchors[1], new)))
    assert plain[0] > 1
    assert anchored[0] <= 1 <= anchored[1]
    assert anchored[1] - anchored[0] < (plain[1] - plain[0]) / 2


def interval(found: Estimate | None) -> tuple[float, float]:
    assert found is not None
    assert found.interval is not None
    return found.interval


def test_surer_is_wider() -> None:
    old, new = rounds(40, 0), rounds(40, 1)
    spans = [interval(change(old, new, confidence=confidence)) for confidence in (0.9, 0.95, 0.999)]
    widths = [high - low for low, high in spans]
    assert widths == sorted(widths)
