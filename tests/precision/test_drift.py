"""Drift of a network of reduced precision, from answers made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wholebody.export.certificate import Matching, Spread
from wholebody.export.precision.drift import Drift, PoseDrift, PrecisionBudget, Reference, measure_drift
from wholebody.export.precision.pairs import pair_up
from wholebody.export.precision.poses import Poses, part_slices, poses_of
from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.errors import SourceError
from wholebody.runtime.skeletons import WHOLEBODY133
from wholebody.runtime.spec import (
    AnySpec,
    CropInput,
    DepthSpec,
    DetectorInput,
    DetectorSpec,
    InputSpec,
    PartSpec,
    StudentSpec,
    TopDownSpec,
    WeightsSpec,
)

Floats = NDArray[np.float32]

WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
CROP = TopDownSpec(
    name="crops",
    head="simcc",
    input=CropInput(64, 48, (0, 0, 0), (1, 1, 1), "rgb"),
    skeleton="wholebody133",
    weights=WEIGHTS,
)
DOPE = StudentSpec(
    name="whole",
    input=InputSpec(96, 128, 96, 128, (0, 0, 0), (1, 1, 1)),
    parts={
        "body": PartSpec(13, 4, {"K": 2}),
        "hand": PartSpec(21, 2, {"K": 1}),
        "face": PartSpec(84, 1, {"K": 1}),
    },
    weights=WEIGHTS,
)
DETECTOR = DetectorSpec(
    name="boxes",
    layout="suppressed",
    input=DetectorInput(96, 128, (0, 0, 0), (1, 1, 1), "bgr"),
    weights=WEIGHTS,
)
BODY, LEFT_HAND = WHOLEBODY133.parts["body"], WHOLEBODY133.parts["left_hand"]


@dataclass
class Pictures:
    """As many inputs as names; the networks here look at none of them."""

    spec: AnySpec
    names: tuple[str, ...] = ("a.jpg",)

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        for _ in self.names:
            yield {name: self._input(name) for name in self.spec.inputs}

    def _input(self, name: str) -> Floats:
        return np.array([96, 128], np.float32) if name == "size" else np.zeros((1, 3, 4, 4), np.float32)


class Answering:
    """A network that gives one picture's answer after the other, and begins anew."""

    name = "made up"

    def __init__(self, spec: AnySpec, *answers: Mapping[str, Floats]) -> None:
        self.inputs = tuple(
            TensorSpec(name, tuple(shape), np.dtype(np.float32)) for name, shape in spec.inputs.items()
        )
        self.outputs = tuple(TensorSpec(n, a.shape, np.dtype(np.float32)) for n, a in answers[0].items())
        self._answers, self._at = answers, 0

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        self._at += 1
        return tuple(self._answers[(self._at - 1) % len(self._answers)].values())


def simcc(keypoints: NDArray[Any], scores: float | NDArray[Any] = 1.0) -> dict[str, Floats]:
    """The answers that decode to these (K, 2) pixels of a crop of 48 x 64, with these scores."""
    answers = {}
    for axis, name, bins in ((0, "simcc_x", 96), (1, "simcc_y", 128)):
        logits = np.zeros((1, len(keypoints), bins), np.float32)
        logits[0, np.arange(len(keypoints)), np.round(keypoints[:, axis] * 2).astype(int)] = scores
        answers[name] = logits
    return answers


def crop_drift(ours: Mapping[str, Floats], theirs: Mapping[str, Floats], spec: TopDownSpec = CROP) -> Drift:
    return measure_drift(Answering(spec, ours), Answering(spec, theirs), spec, Pictures(spec))


@pytest.fixture
def person() -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 80, (133, 2)) / 2


# --- crops --------------------------------------------------------------------------------------------------


def test_the_same_answers_do_not_drift(person: NDArray[np.float64]) -> None:
    drift = crop_drift(simcc(person), simcc(person))
    assert list(drift.parts) == ["body", "feet", "face", "hands"]
    assert drift.people == Matching(1, 0, 0)
    for part, joints in zip(drift.parts.values(), (17, 6, 68, 42), strict=True):
        assert part == PoseDrift(Matching(joints, 0, 0), 1.0, Spread(worst="a.jpg"), None, 0.0, 0.0)
    assert drift.failures(PrecisionBudget(oks=1, px=0, mm=0)) == []


def test_a_joint_moves_in_its_own_part(person: NDArray[np.float64]) -> None:
    moved = person.copy()
    moved[LEFT_HAND.start] = person[LEFT_HAND.start] + (3, 4)
    drift = crop_drift(simcc(person), simcc(moved))
    hands = drift.parts["hands"]
    assert hands.px.max == 5
    assert hands.px.median == 0
    area = 0.53 * 48 * 64 / 1.25**2
    lost = 1 - math.exp(-25 / (2 * area * (2 * WHOLEBODY133.sigmas[LEFT_HAND.start]) ** 2))
    assert hands.oks == pytest.approx(1 - lost / 21 / 2, abs=1e-6)  # of two hands of 21 joints
    assert hands.jumped == 0  # 5 pixels of a person of 51
    assert all(drift.parts[part].oks == 1 for part in ("body", "feet", "face"))


def test_a_jump_is_a_tenth_of_the_person(person: NDArray[np.float64]) -> None:
    near, far = person.copy(), person.copy()
    near[0] += (0, 5)
    far[0] += (0, 5.5)
    size = 64 / 1.25
    assert 5 < 0.1 * size < 5.5
    assert crop_drift(simcc(person), simcc(near)).parts["body"].jumped == 0
    assert crop_drift(simcc(person), simcc(far)).parts["body"].jumped == pytest.approx(1 / 17)


def test_peaks_of_little_confidence_are_told_apart(person: NDArray[np.float64]) -> None:
    scores = np.ones(133)
    scores[:4] = 0.2
    moved = person.copy()
    moved[0] = 47, 63
    body = crop_drift(simcc(person, scores), simcc(moved, scores)).parts["body"]
    assert body.joints == Matching(13, 0, 0)
    assert (body.oks, body.px.max, body.jumped) == (1, 0, 0)
    assert body.jumped_unsure == pytest.approx(1 / 4)


def test_where_nothing_is_confident_everything_is_judged(person: NDArray[np.float64]) -> None:
    drift = crop_drift(simcc(person, 0.2), simcc(np.zeros((133, 2)), 0.2))
    assert drift.parts["body"].joints == Matching(0, 0, 0)
    assert drift.parts["body"].jumped > 0.5
    assert drift.failures(PrecisionBudget())


def test_a_joint_that_is_gone_counts_nothing(person: NDArray[np.float64]) -> None:
    scores = np.ones(133)
    scores[BODY.start] = 0
    body = crop_drift(simcc(person), simcc(person, scores)).parts["body"]
    assert body.joints == Matching(16, 1, 0)
    assert body.oks == pytest.approx(16 / 17)
    assert body.px.max == 0
    gained = crop_drift(simcc(person, scores), simcc(person)).parts["body"]
    assert gained.joints == Matching(16, 0, 1)
    assert gained.oks == 1


def test_an_answer_that_is_no_number_loses_everyone(person: NDArray[np.float64]) -> None:
    broken = simcc(person)
    broken["simcc_x"][0, 5, 5] = np.nan
    drift = crop_drift(simcc(person), broken)
    assert drift.people == Matching(0, 1, 0)
    assert [part.oks for part in drift.parts.values()] == [0, 0, 0, 0]
    assert len(drift.failures(PrecisionBudget())) == 4


def test_the_worst_picture_is_named(person: NDArray[np.float64]) -> None:
    moved = person.copy()
    moved[0] = 47, 63
    still, moving = simcc(person), simcc(moved)
    pictures = Pictures(CROP, ("a.jpg", "b.jpg", "c.jpg"))
    drift = measure_drift(Answering(CROP, still), Answering(CROP, still, moving, still), CROP, pictures)
    assert drift.parts["body"].px.worst == "b.jpg"
    assert drift.inputs == 3


def test_depth_drifts_in_millimetres(person: NDArray[np.float64]) -> None:
    spec = replace(CROP, depth=DepthSpec(bins=200, range=1.0))
    flat, deep = np.zeros((2, 1, 133, 200), np.float32)
    flat[..., 100], deep[..., 100] = 1, 1
    deep[0, 0] = 0
    deep[0, 0, 110] = 1  # ten bins of 10 mm, of which the part's mean takes its share
    drift = crop_drift({**simcc(person), "simcc_z": flat}, {**simcc(person), "simcc_z": deep}, spec)
    body = drift.parts["body"].mm
    assert body is not None
    assert body.max == pytest.approx(100 * 16 / 17, rel=1e-4)
    assert body.median == pytest.approx(100 / 17, rel=1e-4)


@pytest.mark.parametrize("scores", [0.0, -1.0])
def test_a_reference_that_sees_nobody_is_refused(person: NDArray[np.float64], scores: float) -> None:
    with pytest.raises(SourceError, match="sees nobody in 1 picture"):
        Reference(Answering(CROP, simcc(person, scores)), CROP, Pictures(CROP))


def test_no_picture_is_refused(person: NDArray[np.float64]) -> None:
    with pytest.raises(SourceError, match="sees nobody in 0 pictures"):
        Reference(Answering(CROP, simcc(person)), CROP, Pictures(CROP, ()))


# --- whole pictures -----------------------------------------------------------------------------------------


def dope_drift(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> Drift:
    return measure_drift(Answering(DOPE, ours), Answering(DOPE, theirs), DOPE, Pictures(DOPE))


@pytest.fixture
def somebody(one_body: Any) -> Callable[[float], dict[str, Floats]]:
    """`somebody(score)`: a student's answers for one body, which its proposal gives this score."""

    def answers(score: float) -> dict[str, Floats]:
        found: dict[str, Floats] = one_body(DOPE)
        found["body_scores"][0, 1] = score
        return found

    return answers


def test_a_whole_picture_drifts_part_by_part(somebody: Callable[[float], dict[str, Floats]]) -> None:
    ours, theirs = somebody(1.0), somebody(1.0)
    theirs["body_pose2d"] = ours["body_pose2d"] + np.float32(0.25)
    theirs["body_pose3d"] = ours["body_pose3d"].copy()
    theirs["body_pose3d"][..., 0, 0] += 0.13
    drift = dope_drift(ours, theirs)
    assert list(drift.parts) == ["body", "face", "hand"]
    body = drift.parts["body"]
    assert drift.people == Matching(1, 0, 0)
    assert body.px.median == pytest.approx(0.25 * 2**0.5, rel=1e-4)
    assert body.mm is not None
    assert body.mm.max == pytest.approx(130 * 12 / 13, rel=1e-3)
    assert 0.9 < body.oks < 1
    assert math.isnan(drift.parts["face"].oks)  # there is none
    assert drift.failures(PrecisionBudget(oks=0.9, mm=20)) == []


def test_a_person_near_the_threshold_is_not_judged(somebody: Callable[[float], dict[str, Floats]]) -> None:
    """What the sum of proposals hardly makes a person may go."""
    sure, unsure, nobody = somebody(1.0), somebody(0.85), somebody(0.0)
    assert dope_drift(unsure, nobody).people == Matching(0, 0, 0)
    assert dope_drift(sure, unsure).people == Matching(1, 0, 0)
    assert dope_drift(sure, nobody).people == Matching(0, 1, 0)
    assert dope_drift(unsure, unsure).parts["body"].joints == Matching(0, 0, 0)


def test_a_person_may_be_lost_or_gained(somebody: Callable[[float], dict[str, Floats]]) -> None:
    ours, theirs = somebody(1.0), somebody(1.0)
    theirs["body_scores"] = np.zeros_like(ours["body_scores"])
    drift = dope_drift(ours, theirs)
    assert drift.people == Matching(0, 1, 0)
    assert drift.parts["body"].oks == 0
    theirs["body_pose2d"] = ours["body_pose2d"] + np.float32(40)
    theirs["body_scores"] = ours["body_scores"]
    assert dope_drift(ours, theirs).people == Matching(0, 1, 1)


def test_a_picture_of_any_size_keeps_its_pixels(one_body: Any) -> None:
    """The pipeline that decodes must not scale, whatever part of the input the picture fills."""
    answers = one_body(DOPE)
    for size in ((96, 128), (95, 101), (17, 128)):
        inputs = {"image": np.zeros((1, 3, 96, 128), np.float32), "size": np.array(size, np.float32)}
        poses = poses_of(answers, DOPE, inputs)
        np.testing.assert_allclose(poses.keypoints[0, :13], answers["body_pose2d"][0, 0], atol=1e-4)


# --- boxes --------------------------------------------------------------------------------------------------


def boxes_drift(ours: NDArray[Any], theirs: NDArray[Any]) -> Drift:
    return measure_drift(boxes(ours), boxes(theirs), DETECTOR, Pictures(DETECTOR))


def boxes(found: NDArray[Any]) -> Answering:
    labels = np.zeros((1, len(found)), np.float32)
    return Answering(DETECTOR, {"dets": found.astype(np.float32)[None], "labels": labels})


def test_boxes_drift_in_pixels_and_overlap() -> None:
    box = np.array([[10, 10, 50, 90, 0.9]])
    drift = boxes_drift(box, box + np.array([0, 0, 10, 0, 0]))
    (part,) = drift.parts.values()
    assert part.px.max == 10
    assert part.oks == pytest.approx(0.8)  # IoU
    assert drift.people == Matching(1, 0, 0)


def test_a_box_that_is_no_more_found_is_lost() -> None:
    box = np.array([[10, 10, 50, 90, 0.9]])
    drift = boxes_drift(box, box * [1, 1, 1, 1, 0.1])
    assert (drift.people, drift.parts["person"].oks) == (Matching(0, 1, 0), 0)
    assert drift.failures(PrecisionBudget()) == ["person: OKS 0.0000 (budget 0.99)"]


def test_a_box_near_the_threshold_is_not_judged() -> None:
    both = np.array([[10, 10, 50, 90, 0.9], [60, 10, 100, 90, 0.31]])
    drift = boxes_drift(both, both[:1])
    assert (drift.people, drift.parts["person"].oks) == (Matching(1, 0, 0), 1)
    again = boxes_drift(both, both * [1, 1, 1, 1, 0.6])  # found with less confidence
    assert again.people == Matching(1, 0, 0)


# --- values -------------------------------------------------------------------------------------------------


def test_a_drift_survives_json(person: NDArray[np.float64]) -> None:
    moved = person.copy()
    moved[0] = 47, 63
    drift = crop_drift(simcc(person), simcc(moved))
    assert Drift.from_dict(json.loads(json.dumps(drift.to_dict()))).to_dict() == drift.to_dict()
    assert "1 people are the same, 0 lost, 0 gained" in drift.table()


@pytest.mark.parametrize(
    ("oks", "px", "mm", "failures"),
    [
        (0.99, 0.5, 3.0, []),
        (0.989, 0.5, 3.0, ["hand: OKS 0.9890 (budget 0.99)"]),
        (1.0, 0.6, 3.0, ["hand: 0.6 px (budget 0.5 px)"]),
        (1.0, 0.1, 3.1, ["hand: 3.1 mm (budget 3 mm)"]),
        (1.0, math.nan, 0.0, ["hand: nan px (budget 0.5 px)"]),
        (math.nan, 0.0, 0.0, []),  # nobody had the part
    ],
)
def test_budgets(oks: float, px: float, mm: float, failures: list[str]) -> None:
    drift = PoseDrift(Matching(), oks, Spread(median=px), Spread(median=mm), 0, 0)
    assert drift.failures("hand", PrecisionBudget()) == failures


def test_parts_hold_every_joint_once() -> None:
    for spec, joints in ((CROP, 133), (DOPE, 139), (replace(CROP, skeleton="coco17"), 17)):
        covered = [j for slices in part_slices(spec).values() for s in slices for j in range(s.start, s.stop)]
        assert sorted(covered) == list(range(joints))


points = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(3), st.just(2)), elements=st.integers(0, 99)
)


@given(points, points)
def test_nobody_is_paired_twice(a: Floats, b: Floats) -> None:
    rows, others = pair_up(poses(a), poses(b))
    assert len(set(rows.tolist())) == len(rows) == len(others) == len(set(others.tolist()))
    backward = pair_up(poses(b), poses(a))
    assert len(backward[0]) <= min(len(a), len(b))


@given(points)
def test_everybody_apart_is_their_own_pair(a: Floats) -> None:
    a = a + 1000 * np.arange(len(a), dtype=np.float32)[:, None, None]
    rows, others = pair_up(poses(a), poses(a))
    assert rows.tolist() == others.tolist() == list(range(len(a)))


def poses(keypoints: Floats) -> Poses:
    size = np.full(len(keypoints), 100, np.float32)
    return Poses(keypoints, np.ones(keypoints.shape[:2], np.float32), None, size, size**2)
