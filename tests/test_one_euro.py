"""The One-Euro filter: the paper's numbers for one coordinate, and how people and gaps are kept apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.video.one_euro import OneEuro

ONE = np.array([1], np.int64)
FPS = 30


def smooth(points: np.ndarray, *, size: float = 1.0, fps: float = FPS, **options: float) -> np.ndarray:
    """(T, K, D) of one person, frame after frame."""
    euro, sizes = OneEuro(**options), np.array([size], np.float32)
    frames = [euro(frame[None].astype(np.float32), ONE, sizes, i / fps)[0] for i, frame in enumerate(points)]
    return np.stack(frames)


def line(speed: float, frames: int = 90) -> np.ndarray:
    """(T, 1, 2) one point that moves steadily to the right."""
    points = np.zeros((frames, 1, 2))
    points[:, 0, 0] = speed * np.arange(frames) / FPS
    return points


def algorithm_1(
    values: list[float], rate: float, mincutoff: float, beta: float, dcutoff: float
) -> list[float]:
    """The paper's pseudo-code, for one number a frame."""

    def alpha(cutoff: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau * rate)

    answers: list[float] = []
    speed = 0.0
    for x in values:
        if not answers:
            answers.append(x)
            continue
        speed = alpha(dcutoff) * (x - answers[-1]) * rate + (1 - alpha(dcutoff)) * speed
        a = alpha(mincutoff + beta * abs(speed))
        answers.append(a * x + (1 - a) * answers[-1])
    return answers


@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=20), rate=st.sampled_from([10.0, 30.0, 120.0])
)
def test_the_papers_algorithm(values: list[float], rate: float) -> None:
    ours = smooth(np.array(values)[:, None, None], fps=rate, min_cutoff=1.2, beta=3.0, d_cutoff=0.8)
    np.testing.assert_allclose(ours[:, 0, 0], algorithm_1(values, rate, 1.2, 3.0, 0.8), atol=1e-3)


@given(
    scale=st.floats(0.01, 100),
    angle=st.floats(0, 6.28),
    points=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=10),
)
def test_near_and_far_and_turned_are_alike(
    scale: float, angle: float, points: list[tuple[float, float]]
) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    path = np.array(points)[:, None]
    np.testing.assert_allclose(
        smooth(path @ turn.T, size=2 * scale), smooth(path, size=2) @ turn.T, atol=1e-4 * scale
    )


def test_jitter_at_rest() -> None:
    """Noise of 0.5 % of the person: from one frame to the next less than a quarter of it is left."""
    noise = np.random.default_rng(0).normal(0, 0.005, (300, 40, 2))
    left = np.diff(smooth(noise)[30:], axis=0).std() / np.diff(noise[30:], axis=0).std()
    assert left < 0.25


@pytest.mark.parametrize(("speed", "lag_ms"), [(0.5, 20), (1.0, 12), (4.0, 4)])
def test_lag_in_motion(speed: float, lag_ms: float) -> None:
    """Speeds in sizes of the person a second: walking is about 0.7."""
    path = line(speed)
    lag = float((path - smooth(path))[-1, 0, 0])
    assert 0 < lag / speed * 1000 < lag_ms
    assert lag < 1 / (2 * math.pi * 10)


def test_what_rests_stays_and_the_first_frame_is_itself() -> None:
    still = np.tile(np.array([[3.0, 4.0], [5.0, 6.0]]), (10, 1, 1))
    np.testing.assert_allclose(smooth(still), still, rtol=1e-6)


def test_an_unseen_point_stays_unseen_and_leaves_the_others_alone() -> None:
    path = np.random.default_rng(0).normal(size=(20, 3, 2))
    gaps = path.copy()
    gaps[5:8, 1] = np.nan
    ours, whole = smooth(gaps), smooth(path)
    assert (np.isnan(ours) == np.isnan(gaps)).all()
    np.testing.assert_array_equal(ours[:, [0, 2]], whole[:, [0, 2]])
    np.testing.assert_array_equal(ours[:5], whole[:5])
    assert not np.allclose(ours[8, 1], path[8, 1])  # 4 frames later it goes on


@pytest.mark.parametrize("unseen", [8, 30])
def test_a_point_unseen_for_long_begins_anew(unseen: int) -> None:
    path = np.zeros((60, 2, 2))
    path[10 + unseen :] = 9
    path[10 : 10 + unseen, 0] = np.nan
    ours = smooth(path)
    np.testing.assert_array_equal(ours[10 + unseen, 0], [9, 9])
    np.testing.assert_array_equal(ours[:10], 0)


def test_people_are_kept_apart_by_their_ids() -> None:
    rng = np.random.default_rng(0)
    paths = {7: rng.normal(size=(20, 4, 2)), 3: rng.normal(size=(20, 4, 2))}
    euro = OneEuro()
    together: dict[int, list[np.ndarray]] = {7: [], 3: []}
    for i in range(20):
        ids = [7, 3] if i % 2 else [3, 7]
        points = np.stack([paths[who][i] for who in ids]).astype(np.float32)
        for who, answer in zip(
            ids, euro(points, np.array(ids), np.ones(2, np.float32), i / FPS), strict=True
        ):
            together[who].append(answer)
    for who, path in paths.items():
        np.testing.assert_allclose(np.stack(together[who]), smooth(path), atol=1e-6)


def test_somebody_away_for_a_moment_and_for_long() -> None:
    euro, size = OneEuro(), np.ones(1, np.float32)
    nobody = np.zeros((0, 1, 2), np.float32)
    first, later = np.zeros((1, 1, 2), np.float32), np.ones((1, 1, 2), np.float32)
    euro(first, ONE, size, 0.0)
    assert euro(nobody, ONE[:0], size[:0], 0.1).shape == (0, 1, 2)
    assert 0 < euro(later, ONE, size, 0.2)[0, 0, 0] < 1
    euro(nobody, ONE[:0], size[:0], 0.6)
    np.testing.assert_array_equal(euro(first - 5, ONE, size, 0.7), first - 5)


def test_somebody_new_and_a_new_beginning() -> None:
    euro, size = OneEuro(), np.ones(1, np.float32)
    euro(np.zeros((1, 1, 2), np.float32), ONE, size, 0.0)
    other = np.full((1, 1, 2), 9, np.float32)
    np.testing.assert_array_equal(euro(other, ONE + 1, size, 1 / FPS), other)
    euro.reset()
    np.testing.assert_array_equal(euro(other, ONE, size, 2 / FPS), other)


def test_two_frames_of_one_time() -> None:
    euro, size = OneEuro(), np.ones(1, np.float32)
    euro(np.zeros((1, 1, 2), np.float32), ONE, size, 5.0)
    again = euro(np.ones((1, 1, 2), np.float32), ONE, size, 5.0)
    assert np.isfinite(again).all()
    assert (np.abs(again) <= 1).all()
