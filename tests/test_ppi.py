"""Pose-proposal integration: published cases, and the plain implementation on made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.benchmarks.ppi import CASES, Case, crowd, plain_ppi
from wholebody.runtime.errors import CheckpointError
from wholebody.runtime.kernels.modes import _Reach, _Search
from wholebody.runtime.kernels.ppi import BODY_FUNCTIONS, PpiOptions, integrate
from wholebody.runtime.kernels.proposals import Candidates, Detections, Part, select_candidates

JOINTS = {"body": 13, "hand": 21, "face": 84}
GOLDEN = sorted(
    p.stem for p in (Path(__file__).resolve().parents[2] / "shared" / "golden" / "ppi").glob("*.npz")
) or ["none"]


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("implementation", [integrate, plain_ppi])
def test_golden(shared: Path, name: str, implementation: object) -> None:
    case = np.load(shared / "golden" / "ppi" / f"{name}.npz")
    part, options = str(case["part"]), PpiOptions.from_dict(json.loads(str(case["kwargs"])))
    candidates = select_candidates(
        case["scores"], case["boxes"], case["pose2d"], case["pose3d"], options.score_th
    )
    height, width = map(int, case["resolution"])
    got = implementation(candidates, part, options, (height, width))  # type: ignore[operator]
    np.testing.assert_allclose(got.score, case["out_score"], rtol=1e-3)
    np.testing.assert_allclose(got.pose2d, case["out_pose2d"], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(got.pose3d, case["out_pose3d"], rtol=1e-3, atol=1e-4)
    if part == "hand":
        np.testing.assert_array_equal(got.is_right, case["out_isright"])


# --- the fast one gives the plain one's answers ---


def candidates_of(
    rng: np.random.Generator, boxes: int, part: Part, spread: float, classes: int = 4, box_range: int = 40
) -> Candidates:
    """Scores are 64ths, zero included: sums are exact, ties frequent. Poses are shifted along a line in steps
    of 0.25, with `spread` of noise: modes touch and overlap."""
    of_box, label = np.nonzero(rng.random((boxes, classes)) < 0.7)
    m, joints = len(of_box), JOINTS[part]
    corner = rng.integers(0, box_range, (boxes, 2)).astype(np.float32)
    box = np.concatenate([corner, corner + rng.integers(5, 30, (boxes, 2))], axis=1).astype(np.float32)[
        of_box
    ]
    pose2d = box[:, None, :2] + rng.random((m, joints, 2)) * (box[:, None, 2:] - box[:, None, :2])
    shift = 0.25 * rng.integers(0, 8, (m, 1, 1)) * np.array([1, 0, 0])
    pose3d = rng.normal(size=(joints, 3)) + shift + rng.normal(size=(m, joints, 3)) * spread
    score = rng.integers(0, 20, m) / 64
    return Candidates(
        score.astype(np.float32), label, box, pose2d.astype(np.float32), pose3d.astype(np.float32)
    )


def assert_same(got: Detections, expected: Detections) -> None:
    np.testing.assert_array_equal(got.score, expected.score)
    np.testing.assert_array_equal(got.label, expected.label)
    np.testing.assert_allclose(got.pose2d, expected.pose2d, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got.pose3d, expected.pose3d, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got.box, expected.box, rtol=1e-4, atol=1e-3)
    assert (got.is_right is None) == (expected.is_right is None)
    if got.is_right is not None:
        np.testing.assert_array_equal(got.is_right, expected.is_right)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    boxes=st.integers(0, 60),
    part=st.sampled_from(["body", "hand", "face"]),
    spread=st.sampled_from([0.0, 0.02, 0.1, 0.25]),
    th_pose3D=st.sampled_from([0.1, 0.3, 0.6, 5.0]),
    min_mode_score=st.sampled_from([0.0, 0.05, 8 / 64, 1.0]),
    th_persondetect=st.sampled_from([0.0, 0.002, 0.5]),
    group_by=st.sampled_from(["rpn", "pose"]),
    box_range=st.sampled_from([1, 40, 200]),
)
def test_equals_plain(
    seed: int,
    boxes: int,
    part: Part,
    spread: float,
    th_pose3D: float,
    min_mode_score: float,
    th_persondetect: float,
    group_by: Literal["rpn", "pose"],
    box_range: int,
) -> None:
    candidates = candidates_of(np.random.default_rng(seed), boxes, part, spread, box_range=box_range)
    options = PpiOptions(
        K=2,
        th_pose3D=th_pose3D,
        min_mode_score=min_mode_score,
        th_persondetect=th_persondetect,
        group_by=group_by,
    )
    resolution = (50, 60)
    assert_same(
        integrate(candidates, part, options, resolution), plain_ppi(candidates, part, options, resolution)
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    boxes=st.integers(0, 40),
    name=st.sampled_from(BODY_FUNCTIONS),
    th_iou=st.sampled_from([0.05, 0.1, 0.2, 0.5]),
)
def test_joint_grouping_equals_plain(seed: int, boxes: int, name: str, th_iou: float) -> None:
    candidates = candidates_of(np.random.default_rng(seed), boxes, "body", 0.1)
    options = PpiOptions(K=2, iou_func=name, th_iou=th_iou)
    assert_same(integrate(candidates, "body", options), plain_ppi(candidates, "body", options))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.05, 0.2, 0.4]), th=st.floats(0.05, 2))
def test_no_mode_exceeds_its_bound(seed: int, spread: float, th: float) -> None:
    rng = np.random.default_rng(seed)
    candidates = candidates_of(rng, 40, "body", spread)
    m = len(candidates)
    candidates.pose3d[..., 0] += rng.uniform(0, 0.5, (m, 1))
    group = np.sort(rng.integers(0, 3, m))
    group = np.unique(group, return_inverse=True)[1]
    search = _Search(candidates.pose3d, candidates.score, group, th)
    bound = _Reach(search, candidates.label, np.arange(m)).bound
    apart = np.linalg.norm(candidates.pose3d[:, None] - candidates.pose3d[None], axis=3).mean(axis=2)
    member = (apart < th) & (group[:, None] == group)
    assert (bound >= member @ candidates.score).all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.part)
def test_crowd_equals_plain(case: Case) -> None:
    """The benchmark's own picture, smaller."""
    proposals, options = crowd(case, people=3, each=25, clutter=60, seed=1), PpiOptions(case.K)
    candidates = proposals.select()
    got, expected = integrate(candidates, case.part, options), plain_ppi(candidates, case.part, options)
    assert len(got) >= 3
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-5)
    np.testing.assert_allclose(got.pose3d, expected.pose3d, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_a_pose_that_is_no_number_is_near_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates = candidates_of(rng, 30, "body", 0.05, classes=20)
    candidates.pose3d[rng.random(len(candidates.score)) < 0.3, 3] = np.nan
    options = PpiOptions(10, th_pose3D=0.3)
    with np.errstate(invalid="ignore"):
        got, expected = (f(candidates, "body", options, (80, 80)) for f in (integrate, plain_ppi))
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-5)
    np.testing.assert_allclose(got.pose2d, expected.pose2d, rtol=1e-3, atol=1e-2)


def test_the_best_mode_may_be_a_late_one() -> None:
    """Seven weak candidates that agree outweigh a strong one."""
    at = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1.25], np.float32)
    score = np.array([0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.19], np.float32)
    got = integrate(line(at, score), "face", PpiOptions(K=0, th_pose3D=0.3))
    np.testing.assert_allclose(got.score, [1.59])
    np.testing.assert_allclose(got.pose3d[0, 0, 0], (1.4 + 0.19 * 1.25) / 1.59, rtol=1e-5)


def test_a_member_of_an_earlier_mode_starts_none() -> None:
    """The sum is highest around 0.25, which belongs to the mode of 0; it counts for 0 and for 0.5."""
    got = integrate(
        line(np.array([0, 0.25, 0.5]), np.array([0.5, 0.4, 0.3])), "face", PpiOptions(K=0, th_pose3D=0.3)
    )
    np.testing.assert_allclose(got.score, [0.9])


@pytest.mark.parametrize(("least", "score"), [(0.125, 0.25), (0.126, 0.2)])
def test_a_weak_candidate_starts_no_further_mode(least: float, score: float) -> None:
    candidates = line(np.array([0, 1, 1]), np.array([0.2, 0.125, 0.125]))
    got = integrate(candidates, "face", PpiOptions(K=0, min_mode_score=least))
    np.testing.assert_allclose(got.score, [score])


def line(at: np.ndarray, score: np.ndarray, label: int = 0) -> Candidates:
    """Candidates in one box whose poses are shifted along x."""
    m = len(at)
    pose3d = np.zeros((m, 84, 3), np.float32)
    pose3d[:, :, 0] = at[:, None]
    box = np.tile(np.array([[10, 10, 50, 90]], np.float32), (m, 1))
    return Candidates(score.astype(np.float32), np.full(m, label), box, pose3d[:, :, :2].copy(), pose3d)


# --- what the options mean ---


def one_body(labels: list[int], scores: list[float], legs_at: list[float]) -> Candidates:
    m = len(labels)
    pose2d = np.zeros((m, 13, 2), np.float32)
    pose2d[:, :4] = np.array(legs_at, np.float32)[:, None, None]
    box = np.tile(np.array([[0, 0, 100, 200]], np.float32), (m, 1))
    return Candidates(
        np.array(scores, np.float32), np.array(labels), box, pose2d, np.zeros((m, 13, 3), np.float32)
    )


def test_upper_body_classes_hardly_move_the_legs() -> None:
    got = integrate(one_body([0, 1], [0.5, 0.5], [0.0, 110.0]), "body", PpiOptions(K=1))
    np.testing.assert_allclose(got.pose2d[0, :4], 10.0, rtol=1e-5)  # 110 · 0.05 / 0.55
    np.testing.assert_allclose(got.pose2d[0, 4:], 0.0)
    np.testing.assert_allclose(got.score, [1.0])


@pytest.mark.parametrize(("label", "right"), [(0, True), (4, True), (5, False)])
def test_hand_side_is_that_of_the_first_member(label: int, right: bool) -> None:
    candidates = line(np.zeros(1), np.array([0.5]), label)
    hands = Candidates(
        candidates.score,
        candidates.label,
        candidates.box,
        candidates.pose2d[:, :21],
        candidates.pose3d[:, :21],
    )
    got = integrate(hands, "hand", PpiOptions(K=5))
    assert got.is_right is not None
    assert got.is_right.tolist() == [right]
    assert got.label.tolist() == [label]


def test_grouping_by_pose_uses_poses_clipped_to_the_picture() -> None:
    """Two poses reach out of the picture in opposite ways; what is left of them inside is nearly the same."""
    pose2d = np.zeros((2, 13, 2), np.float32)
    pose2d[0, :, 0], pose2d[1, :, 0] = np.linspace(-900, 99, 13), np.linspace(0, 999, 13)
    pose2d[:, :, 1] = np.linspace(0, 99, 13)
    box = np.array([[0, 0, 10, 10], [80, 80, 90, 90]], np.float32)
    apart = Candidates(
        np.array([0.5, 0.4], np.float32), np.zeros(2, np.int64), box, pose2d, np.zeros((2, 13, 3), "f4")
    )
    by_pose = PpiOptions(K=1, group_by="pose")
    assert len(integrate(apart, "body", PpiOptions(K=1), (100, 100))) == 2
    assert len(integrate(apart, "body", by_pose, (100, 100))) == 1
    assert len(integrate(apart, "body", by_pose, None)) == 2


def test_swapped_sides_are_forgiven_by_the_LR_functions() -> None:
    rng = np.random.default_rng(0)
    pose = rng.random((13, 2)).astype(np.float32) * 100
    mirrored = pose[[1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12]]
    pose2d, box = np.stack([pose, mirrored]), np.tile(np.array([[0, 0, 99, 99]], np.float32), (2, 1))
    both = Candidates(
        np.array([0.5, 0.4], "f4"), np.zeros(2, np.int64), box, pose2d, np.zeros((2, 13, 3), "f4")
    )
    for name in ("torso", "torsohead", "shoulderhead", "mje"):
        assert len(integrate(both, "body", PpiOptions(K=1, iou_func=name, th_iou=0.01))) == 2
        assert len(integrate(both, "body", PpiOptions(K=1, iou_func=f"{name}LR", th_iou=0.01))) == 1


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_nobody(part: Part) -> None:
    none = candidates_of(np.random.default_rng(0), 0, part, 0.1)
    for options in (PpiOptions(K=1), PpiOptions(K=1, iou_func="mje"), PpiOptions(K=1, group_by="pose")):
        got = integrate(none, part, options, (10, 10))
        assert got.pose2d.shape == (0, JOINTS[part], 2)
        assert got.box.shape == (0, 4)


def test_zero_scores_are_nobody() -> None:
    candidates = candidates_of(np.random.default_rng(0), 5, "body", 0.1)
    zero = Candidates(
        np.zeros(len(candidates), np.float32),
        candidates.label,
        candidates.box,
        candidates.pose2d,
        candidates.pose3d,
    )
    assert len(integrate(zero, "body", PpiOptions(K=1, th_persondetect=0))) == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"K": 10, "th_pose": 0.3}, "got 'th_pose'; allowed are K, score_th"),
        ({"K": 10, "iou_func": "giou"}, "got 'giou'; allowed are bbox, torso"),
        ({"K": 10, "group_by": "box"}, "got 'box'; allowed are rpn, pose"),
        ({"K": "10"}, "PPI option K: got '10'"),
        ({"K": 10, "th_pose3D": 0}, "PPI option th_pose3D: got 0"),
        ({"K": 10, "th_iou": float("nan")}, "PPI option th_iou: got nan"),
        ({"th_iou": 0.2}, "PPI option K is missing"),
    ],
)
def test_options_are_strict(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        PpiOptions.from_dict(kwargs)
    assert "\n" not in str(error.value)


def test_a_hand_has_no_torso() -> None:
    none = candidates_of(np.random.default_rng(0), 0, "hand", 0.1)
    with pytest.raises(CheckpointError, match="iou_func of a hand: got 'torso'; allowed are bbox, mje"):
        integrate(none, "hand", PpiOptions(K=5, iou_func="torso"))
