"""Normalised errors of faces, against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.benchmarks.metrics.faces import box_size, normalised_errors, outer_eye_distance


def test_no_faces() -> None:
    assert normalised_errors(np.zeros((0, 68)), np.zeros(0)).shape == (0,)
    assert outer_eye_distance(np.zeros((0, 68, 2))).shape == (0,)
    assert box_size(np.zeros((0, 68, 2))).shape == (0,)


def test_sizes() -> None:
    face = np.zeros((1, 68, 2))
    face[0, 36], face[0, 45] = (10, 20), (40, 60)
    assert outer_eye_distance(face).tolist() == [50]
    assert box_size(face) == pytest.approx(np.sqrt([40 * 60]))


def test_the_mean_is_over_labelled_landmarks() -> None:
    apart = np.array([[1.0, 3], [np.nan, 6], [np.nan, np.nan], [np.inf, 2], [2, 2]])
    errors = normalised_errors(apart, np.array([10.0, 20, 10, 10, 0]))
    assert errors[[0, 1]].tolist() == [0.2, 0.3]
    assert np.isnan(errors[2])  # nothing is labelled: not judged
    assert errors[3] == np.inf  # a landmark was missed
    assert errors[4] == 2  # a size is a pixel at least
