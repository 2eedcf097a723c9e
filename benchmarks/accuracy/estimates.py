"""The figures of a student, those of its reference and how they differ, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.accuracy.bootstrap import interval, resamples
from wholebody.benchmarks.accuracy.evidence import Evidence
from wholebody.benchmarks.datasets.dataset import Metric

__all__ = ["Estimate", "Estimates", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimates:
    """One metric: of the student, of the reference, and the student's minus the reference's.

    count   how many joints, people or pictures it is of
    None where there is nothing to measure, or no reference.
    """

    metric: Metric
    value: Estimate | None
    reference: float | None
    difference: Estimate | None
    count: int


def estimate(metrics: Sequence[Metric], student: Evidence, reference: Evidence | None) -> list[Estimates]:
    """Intervals by bootstrap over pictures; for the difference both are resampled together."""
    drawn, theirs = _drawn(student, reference)
    values, counts = student.values(), student.counts()
    others = {} if reference is None else reference.values()
    estimates = []
    for metric in metrics:
        name = metric.name
        value, other = values.get(name, math.nan), others.get(name, math.nan)
        apart = drawn[name] - theirs[name] if name in drawn and name in theirs else None
        estimates.append(
            Estimates(
                metric,
                _estimate(value, drawn.get(name)),
                None if math.isnan(other) else other,
                _estimate(value - other, apart),
                counts.get(name, 0),
            )
        )
    return estimates


Drawn = dict[str, NDArray[np.float64]]


def _drawn(student: Evidence, reference: Evidence | None) -> tuple[Drawn, Drawn]:
    """By metric, the figures of every resample, of both."""
    ours: list[Drawn] = []
    theirs: list[Drawn] = []
    for weights in resamples(len(student)):
        ours.append(student.figures(weights))
        if reference is not None:
            theirs.append(reference.figures(weights))
    return _joined(ours), _joined(theirs)


def _joined(blocks: Sequence[Drawn]) -> Drawn:
    names = blocks[0] if blocks else {}
    return {name: np.concatenate([block[name] for block in blocks]) for name in names}


def _estimate(value: float, drawn: NDArray[np.float64] | None) -> Estimate | None:
    if math.isnan(value) or drawn is None:
        return None
    span = interval(drawn)
    return None if span is None else Estimate(value, *span)
