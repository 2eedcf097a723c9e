"""Ratios of latencies that were measured in rounds, with their intervals.

Runs that took turns are held against each other round by round: both saw the same moods of the machine, which
cancel. Neither frames of one round nor rounds that follow each other are independent, so intervals are
Student's of the means of batches of rounds (as `interleave.ratio_of_medians` says), on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.interleave import BATCHES, ratio_of_medians
from wholebody.benchmarks.recorded import Estimate, Latency, Rounds

__all__ = ["baselines", "change", "in_units_of", "ratio"]

LEAST_ROUNDS = 3  # for an interval


def baselines(runs: Sequence[Latency]) -> dict[int, Latency]:
    """By the identity of a run whom it took turns with and is held to; itself for whoever is the measure.

    What was recorded without one is held to PyTorch's run of the same student and turns.
    """
    by_id = {(_turns(run), run.id): run for run in runs}
    pytorch = {(_turns(run), run.model.name): run for run in runs if run.is_reference}
    of = {
        id(run): by_id.get((_turns(run), run.base or "")) or pytorch.get((_turns(run), run.model.name))
        for run in runs
    }
    found = {key: base for key, base in of.items() if base is not None}
    return found | {id(base): base for base in found.values()}


def _turns(run: Latency) -> tuple[str, str]:
    return run.group, str(run.machine.get("host"))


def ratio(slow: Rounds, fast: Rounds) -> Estimate | None:
    """How many times the milliseconds of `fast` those of `slow` are; None unless they took turns."""
    if not slow or len(slow) != len(fast):
        return None
    medians = [np.array([[np.median(times)] for times in rounds]) for rounds in (slow, fast)]
    if len(slow) < LEAST_ROUNDS:
        return Estimate(float(np.median(medians[0] / medians[1])))
    found = ratio_of_medians(medians[0], medians[1])
    return Estimate(found.value, (found.low, found.high))


def in_units_of(anchor: Rounds, rounds: Rounds) -> Rounds:
    """Each round's times by the median of what the anchor did in its turn of that round."""
    return tuple(times / np.median(beside) for times, beside in zip(rounds, anchor, strict=True))


def change(old: Rounds, new: Rounds, *, share: float = 0.5, confidence: float = 0.95) -> Estimate | None:
    """A quantile (the median) of `new` over that of `old`, measured apart; None where one is empty."""
    if not old or not new:
        return None
    levels = [_levels(rounds, share) for rounds in (old, new)]
    middle = float(levels[1].mean() - levels[0].mean())
    if min(len(old), len(new)) < LEAST_ROUNDS:
        return Estimate(math.exp(middle))
    reach = _welch(levels[0], levels[1], confidence)
    return Estimate(math.exp(middle), (math.exp(middle - reach), math.exp(middle + reach)))


def _levels(rounds: Rounds, share: float) -> NDArray[np.float64]:
    """The logarithm of the quantile in each batch of successive rounds."""
    batches = np.array_split(np.arange(len(rounds)), min(BATCHES, len(rounds)))
    frames = (np.concatenate([rounds[k] for k in batch]) for batch in batches)
    return np.log([np.quantile(times, share) for times in frames])


def _welch(one: NDArray[np.float64], other: NDArray[np.float64], confidence: float) -> float:
    """Half the width of the interval of a difference of means (Welch 1947)."""
    errors = [float(np.var(each, ddof=1)) / len(each) for each in (one, other)]
    total = sum(errors)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(e**2 / (len(each) - 1) for e, each in zip(errors, (one, other), strict=True))
    return _student((1 + confidence) / 2, freedom) * math.sqrt(total)


def _student(share: float, freedom: float) -> float:
    """The quantile of Student's distribution, from the normal one's (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))
