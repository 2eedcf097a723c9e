"""What of one picture counts as right, wrong or neither, and what all pictures come to."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from wholebody.benchmarks.metrics.judging import Judgement, PartPredictions, judge, part_predictions
from wholebody.benchmarks.metrics.part_tally import part_metrics, part_ranking, part_tally
from wholebody.benchmarks.metrics.ranking import ranked_figures
from wholebody.benchmarks.synthetic.truth import PartTruth
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import DOPE
from wholebody.runtime.spec import JOINTS

PARTS = ("body", "hand", "face")
RIGHT, LEFT = 0, 1
TURN = np.array([-1, -1, 1], np.float32)  # from the network's axes to the camera's


def truths(part: str, *corners: tuple[float, float], side: float = 100, group: int = RIGHT) -> PartTruth:
    """Instances whose joints fill the diagonal of a square with this top left corner."""
    n, joints = len(corners), JOINTS[part]
    along = np.linspace(0, side, joints, dtype=np.float32)[:, None]
    corner = np.array(corners, np.float32).reshape(-1, 1, 2)
    solid = np.random.default_rng(0).normal(0, 0.3, (joints, 3)).astype(np.float32)
    return PartTruth(
        boxes=np.concatenate([corner[:, 0], corner[:, 0] + side], axis=1),
        pose2d=corner + along,
        pose3d=np.tile(solid, (n, 1, 1)),
        visible=np.ones((n, joints), np.bool_),
        group=np.full(n, group),
        ignore=np.zeros(n, np.bool_),
    )


def predictions(truth: PartTruth, *, shift: float = 0, score: float = 1.0) -> PartPredictions:
    """These instances, so many pixels to the right."""
    moved = np.array([shift, 0], np.float32)
    return PartPredictions(
        score=np.broadcast_to(np.array(score, np.float32), len(truth.boxes)),
        boxes=truth.boxes + np.tile(moved, 2),
        pose2d=truth.pose2d + moved,
        pose3d=truth.pose3d,
        group=truth.group,
    )


def both(a: PartPredictions, b: PartPredictions) -> PartPredictions:
    return PartPredictions(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(a)))


def metrics(part: str, *judgements: Judgement) -> dict[str, float]:
    """All pictures' figures by name; NaN where there is nothing to measure."""
    pooled = cells(part, *judgements).items()
    figures = {name: total / count if count else math.nan for name, (total, count) in pooled}
    if part == "body":
        ranked = ranked_figures([part_ranking(j) for j in judgements], np.ones((1, len(judgements))))
        figures |= {name: float(value[0]) for name, value in ranked.items()}
    return figures


def cells(part: str, *judgements: Judgement) -> dict[str, tuple[float, float]]:
    """Sum and count by name."""
    tallies = [part_tally(part, judgement) for judgement in judgements]
    return {
        name.removeprefix(f"{part}/"): (
            sum(float(tally[name][0].sum()) for tally in tallies),
            sum(float(tally[name][1].sum()) for tally in tallies),
        )
        for name in tallies[0]
    }


# --- nobody -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_nobody_there_and_nobody_found(part: str) -> None:
    nobody = truths(part)
    figures = metrics(part, judge(part, predictions(nobody), nobody))
    assert all(math.isnan(value) for value in figures.values())
    assert {metric.name.removeprefix(f"{part}/") for metric in part_metrics(part)} <= set(figures)


@pytest.mark.parametrize("part", PARTS)
def test_nobody_found(part: str) -> None:
    result = metrics(part, judge(part, predictions(truths(part)), truths(part, (0, 0))))
    assert (result["recall"], result["f1"], result.get("ap_50", 0)) == (0, 0, 0)
    assert math.isnan(result["precision"])


@pytest.mark.parametrize("part", PARTS)
def test_nobody_there(part: str) -> None:
    result = metrics(part, judge(part, predictions(truths(part, (0, 0))), truths(part)))
    assert result["precision"] == 0
    assert math.isnan(result["recall"])


def test_people_without_a_part() -> None:
    people = People.empty(DOPE, with_3d=True)
    assert [len(part_predictions(people, part, (100, 100)).score) for part in PARTS] == [0, 0, 0]
    with pytest.raises(ValueError, match="no 3D"):
        part_predictions(People.empty(DOPE), "body", (100, 100))


# --- the rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "limit"), [("hand", 30.0), ("face", 20.0)])
def test_near_enough(part: str, limit: float) -> None:
    truth = truths(part, (0, 0))
    assert metrics(part, judge(part, predictions(truth, shift=limit - 0.1), truth))["recall"] == 1
    assert metrics(part, judge(part, predictions(truth, shift=limit + 0.1), truth))["recall"] == 0


def test_bodies_need_half_an_oks() -> None:
    truth = truths("body", (0, 0))
    # exp(-d² / (2 · 100² · (2σ)²)) over the 13 joints' sigmas is 0.5 between 18 and 20 pixels
    assert metrics("body", judge("body", predictions(truth, shift=18), truth))["recall"] == 1
    assert metrics("body", judge("body", predictions(truth, shift=20), truth))["recall"] == 0


def test_average_precision_falls_with_the_distance() -> None:
    truth = truths("body", (0, 0))
    near, far = (metrics("body", judge("body", predictions(truth, shift=s), truth)) for s in (0, 12))
    assert near["ap_50"] == near["ap"] == far["ap_50"] == 1
    assert far["ap"] == pytest.approx(0.6)  # OKS 0.75 and more of the ten thresholds fails


def test_hidden_joints_do_not_count_in_the_picture() -> None:
    truth = truths("hand", (0, 0))
    truth.visible[0, 10:] = False
    found = predictions(truth)
    found.pose2d[0, 10:] += 1000
    assert metrics("hand", judge("hand", found, truth))["pck"] == 1


@pytest.mark.parametrize("part", PARTS)
def test_the_second_of_two_predictions_is_wrong(part: str) -> None:
    truth = truths(part, (0, 0))
    twice = both(predictions(truth, score=0.5), predictions(truth, shift=1, score=0.9))
    judgement = judge(part, twice, truth)
    assert judgement.matched[0].tolist() == [-1, 0]
    result = metrics(part, judgement)
    assert (result["recall"], result["precision"]) == (1, 0.5)


# --- ignored ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_predictions_on_ignored_people_do_not_count(part: str) -> None:
    truth = replace(truths(part, (0, 0), (500, 0)), ignore=np.array([False, True]))
    found = predictions(truths(part, (0, 0), (540, 0), (560, 0), (2000, 0)))  # IoU 0.43, then 0.25, then 0
    result = cells(part, judge(part, found, truth))
    assert (result["recall"], result["precision"], result["f1"]) == ((1, 1), (1, 3), (2, 4))


def test_a_match_counts_even_over_ignored_people() -> None:
    truth = replace(truths("body", (0, 0), (2, 0)), ignore=np.array([False, True]))
    result = cells("body", judge("body", predictions(truths("body", (0, 0))), truth))
    assert result["precision"] == (1, 1)


# --- sides --------------------------------------------------------------------------------------------------


def test_a_hand_of_the_wrong_side_is_not_found() -> None:
    judgement = judge("hand", predictions(truths("hand", (0, 0), group=LEFT)), truths("hand", (0, 0)))
    assert metrics("hand", judgement)["side"] == 0
    assert metrics("hand", judgement)["recall"] == 0
    assert metrics("hand", judgement)["precision"] == 0


def test_a_hand_found_on_its_side_hides_the_other_answer() -> None:
    truth = truths("hand", (0, 0))
    found = both(predictions(truth), predictions(replace(truth, group=np.array([LEFT])), score=2))
    result = metrics("hand", judge("hand", found, truth))
    assert (result["recall"], result["precision"], result["side"]) == (1, 0.5, 1)


def test_side_accuracy_by_hand() -> None:
    truth = truths("hand", (0, 0), (200, 0), (400, 0), (600, 0))
    found = predictions(replace(truth, group=np.array([RIGHT, LEFT, RIGHT, RIGHT])))
    assert metrics("hand", judge("hand", found, truth))["side"] == 0.75


# --- from people --------------------------------------------------------------------------------------------


def test_parts_of_people() -> None:
    """The first person has body and left hand, the second a right hand alone."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(10, 90, (2, 139, 2)).astype(np.float32)
    scores, score = np.zeros((2, 139), np.float32), np.array([1.7, 0.6], np.float32)
    body, left, right = (DOPE.parts[name] for name in ("body", "left_hand", "right_hand"))
    scores[0, body], scores[0, left], scores[1, right] = 1, 0.8, 0.6
    keypoints[scores == 0] = np.nan
    keypoints3d = np.concatenate([keypoints, keypoints[..., :1]], axis=2)
    people = People(keypoints, scores, keypoints3d, np.zeros((2, 4), np.float32), score, DOPE)
    bodies, hands, faces = (part_predictions(people, part, (100, 100)) for part in PARTS)
    assert bodies.score.tolist() == pytest.approx([1.7])
    assert hands.score.tolist() == pytest.approx([0.6, 0.8])
    assert hands.group.tolist() == [RIGHT, LEFT]
    np.testing.assert_array_equal(hands.pose2d[0], people.keypoints[1, right])
    np.testing.assert_array_equal(hands.pose2d[1], people.keypoints[0, left])
    np.testing.assert_array_equal(bodies.pose3d[0, :, 2], people.keypoints[0, body, 0])
    assert len(faces.score) == 0
    assert (hands.boxes >= 0).all()
    assert (hands.boxes <= 99).all()


# --- all pictures -------------------------------------------------------------------------------------------


def test_every_instance_weighs_the_same() -> None:
    one, three = truths("face", (0, 0)), truths("face", (0, 0), (200, 0), (400, 0))
    judgements = [judge("face", predictions(one), one), judge("face", predictions(truths("face")), three)]
    assert metrics("face", *judgements)["recall"] == 0.25


def test_errors_are_of_those_found() -> None:
    truth = truths("face", (0, 0), (500, 0))
    found = predictions(truth)
    found.pose2d[0] += (0, 10)
    found.pose2d[1] += (0, 90)
    assert metrics("face", judge("face", found, truth))["nme"] == pytest.approx(0.1)


def test_bodies_in_space_are_in_the_cameras_axes() -> None:
    truth = truths("body", (0, 0))
    found = replace(predictions(truth), pose3d=truth.pose3d * TURN + 5)
    result = metrics("body", judge("body", found, truth))
    assert result["mpjpe"] == pytest.approx(0, abs=1e-3)
    assert result["pck3d"] == 1
    assert result["pck"] == 1


def test_bodies_are_centred_between_the_hips() -> None:
    truth = truths("body", (0, 0))
    found = replace(predictions(truth), pose3d=truth.pose3d * TURN)
    found.pose3d[0, [4, 5], 2] += 0.3
    # seen from the hips the eleven others have moved
    assert metrics("body", judge("body", found, truth))["mpjpe"] == pytest.approx(300 * 11 / 13, rel=1e-4)


def test_hands_are_centred_at_their_mean() -> None:
    truth = truths("hand", (0, 0))
    found = replace(predictions(truth), pose3d=truth.pose3d.copy())
    found.pose3d[0, 0, 2] += 0.21
    # the mean moves by 10 mm: one joint is 200 mm off, twenty are 10
    assert metrics("hand", judge("hand", found, truth))["mpjpe"] == pytest.approx(400 / 21, rel=1e-4)


def test_recall_by_size() -> None:
    small, large = truths("hand", (0, 0), (50, 0), side=23.9), truths("hand", (0, 200), side=48)
    columns = ((getattr(small, f.name), getattr(large, f.name)) for f in fields(PartTruth))
    truth = PartTruth(*map(np.concatenate, columns))
    found = predictions(truths("hand", (0, 0), side=23.9))
    result = cells("hand", judge("hand", found, truth))
    assert [result[f"recall_{size}"] for size in ("small", "medium", "large")] == [(1, 2), (0, 0), (0, 1)]


# --- no numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_pose_that_is_no_number_is_missed(part: str) -> None:
    truth = truths(part, (0, 0))
    found = predictions(truth)
    found.pose2d[:], found.pose3d[:], found.boxes[:] = np.nan, np.nan, np.nan
    result = metrics(part, judge(part, found, truth))
    assert (result["recall"], result["precision"]) == (0, 0)


def test_a_joint_that_is_no_number_is_wrong() -> None:
    truth = truths("body", (0, 0))
    found = replace(predictions(truth), pose3d=truth.pose3d * TURN)
    found.pose2d[0, 12], found.pose3d[0, 12] = np.nan, np.nan
    result = metrics("body", judge("body", found, truth))
    assert (result["recall"], result["pck"], result["pck3d"]) == pytest.approx((1, 12 / 13, 12 / 13))
    assert math.isnan(result["mpjpe"])
