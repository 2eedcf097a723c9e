"""Sums and counts by joint."""

from __future__ import annotations

import numpy as np

from wholebody.benchmarks.metrics.joint_tallies import by_joint, found_alone, where_labelled

NAN, INF = np.nan, np.inf


def test_nobody() -> None:
    sums, counts = by_joint(np.zeros((0, 21)))
    assert sums.tolist() == counts.tolist() == [0] * 21


def test_what_is_nan_does_not_count() -> None:
    sums, counts = by_joint(np.array([[1, NAN, 3], [1, NAN, NAN]]))
    assert sums.tolist() == [2, 0, 3]
    assert counts.tolist() == [2, 0, 1]


def test_missed_joints_are_wrong_and_without_error() -> None:
    errors = np.array([[1, INF, NAN]])  # near, missed, not labelled
    right = where_labelled(errors < 2, errors)
    assert right[0, :2].tolist() == [1, 0]
    assert np.isnan(right[0, 2])
    assert found_alone(errors)[0, 0] == 1
    assert np.isnan(found_alone(errors)[0, 1:]).all()
