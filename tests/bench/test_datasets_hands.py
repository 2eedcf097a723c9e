"""How data sets of hands judge, against evaluations written as the publishers' are: in loops over joints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from wholebody.benchmarks.datasets.dataset import Picture, Truth
from wholebody.benchmarks.datasets.found_parts import labelled
from wholebody.benchmarks.datasets.freihand import FreiHand
from wholebody.benchmarks.datasets.hands import HandDataset
from wholebody.benchmarks.datasets.interhand import InterHand
from wholebody.benchmarks.datasets.onehand10k import OneHand10K
from wholebody.benchmarks.datasets.panoptic import Panoptic
from wholebody.benchmarks.datasets.rhd import Rhd
from wholebody.benchmarks.datasets.stb import Stb
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, DOPE, SKELETONS, WHOLEBODY133, Skeleton

NAN = np.nan
PALM_TO_TIPS = (0, *(1 + 4 * n for n in range(5)), *(1 + 4 * n + j for n in range(5) for j in (1, 2, 3)))


def hands(count: int, seed: int = 0) -> np.ndarray:
    """(count, 21, 3) points of about the size of a hand, half a metre away."""
    return np.random.default_rng(seed).normal(size=(count, 21, 3)) * 0.03 + [0, 0, 0.5]


def pictures(points: np.ndarray, side: str = "right", seen: np.ndarray | None = None) -> tuple[Picture, ...]:
    """A picture for each hand, seen through a lens of 500 pixels."""
    visible = np.ones(points.shape[:2], np.bool_) if seen is None else seen
    pixels = 500 * points[..., :2] / points[..., 2:] + 100
    return tuple(
        Picture(
            str(i),
            Path(f"{i}.png"),
            Truth(
                pixels[[i]], points[[i]], visible[[i]], np.array([[0.0, 0, 80, 50]]), (side,)
            ),
        )
        for i in range(len(points))
    )  # fmt: skip


def people_of(skeleton: Skeleton, keypoints: np.ndarray, points: np.ndarray | None = None) -> People:
    return People(
        keypoints.astype(np.float32),
        labelled(keypoints).astype(np.float32),
        None if points is None else points.astype(np.float32),
        np.zeros((len(keypoints), 4), np.float32),
        np.ones(len(keypoints), np.float32),
        skeleton,
    )


def dope(keypoints: np.ndarray, points: np.ndarray, side: str = "right") -> People:
    """A person of DOPE who shows this hand alone; joints are given in COCO's order."""
    pixels, solid = np.full((1, 139, 2), NAN), np.full((1, 139, 3), NAN)
    where = DOPE.parts[f"{side}_hand"]
    pixels[0, where], solid[0, where] = keypoints[list(PALM_TO_TIPS)], points[list(PALM_TO_TIPS)]
    return people_of(DOPE, pixels, solid)


def figures(dataset: HandDataset, people: Sequence[People]) -> dict[str, float]:
    """Each metric: the mean, over the cells that count anything, of sum / count."""
    tallies = [dataset.tally(p, picture) for p, picture in zip(people, dataset.pictures, strict=True)]
    values = {}
    for name in [metric.name for metric in dataset.metrics]:
        sums, counts = (sum(t[name][i] for t in tallies if name in t) for i in (0, 1))
        known = np.asarray(counts) > 0
        values[name] = (
            float(np.mean(np.asarray(sums)[known] / np.asarray(counts)[known])) if known.any() else NAN
        )
    return values


def curve_area(errors: Sequence[Sequence[float]], thresholds: np.ndarray) -> float:
    """The mean over joints of the area under the joint's PCK, by the trapezoidal rule."""
    areas = []
    for joint in errors:
        if joint:
            pck = np.array([np.mean([e <= t for e in joint]) for t in thresholds])
            area = ((pck[1:] + pck[:-1]) / 2 * np.diff(thresholds)).sum()
            areas.append(area / (thresholds[-1] - thresholds[0]))
    return float(np.mean(areas))


def noisy(points: np.ndarray, metres: float = 0.01, seed: int = 5) -> np.ndarray:
    return np.asarray(points + np.random.default_rng(seed).normal(size=points.shape) * metres)


def seen_by(
    dataset: HandDataset, points: np.ndarray, missed: Sequence[int] = (), side: str = "right"
) -> list[People]:
    """People who show the true hand in the picture and these joints in space; nobody where it was missed."""
    return [
        People.empty(DOPE, with_3d=True) if i in missed else dope(picture.truth.keypoints[0] + 2, point, side)
        for i, (picture, point) in enumerate(zip(dataset.pictures, points, strict=True))
    ]


def test_freihand_as_its_publishers() -> None:
    truth = hands(12)
    ours, missed = noisy(truth), (3, 8)
    found = figures(dataset := FreiHand("freihand", "", pictures(truth)), seen_by(dataset, ours, missed))
    errors: dict[str, list[list[float]]] = {"": [[] for _ in range(21)], "_pa": [[] for _ in range(21)]}
    for i, (hand, guess) in enumerate(zip(truth, ours.astype(np.float32).astype(np.float64), strict=True)):
        unit = [(h - h.mean(axis=0)) / np.linalg.norm(h - h.mean(axis=0)) for h in (guess, hand)]
        turn, scale = orthogonal_procrustes(*unit)
        aligned = unit[0] @ turn * scale * np.linalg.norm(hand - hand.mean(axis=0)) + hand.mean(axis=0)
        for name, placed in (("_pa", aligned), ("", guess - guess[0] + hand[0])):
            for joint in range(21):
                error = 1000 * float(np.linalg.norm(placed[joint] - hand[joint]))
                errors[name][joint].append(np.inf if i in missed else error)
    for name, joints in errors.items():
        assert found[f"auc{name}"] == pytest.approx(curve_area(joints, np.linspace(0, 50, 100)), abs=1e-6)
        mean = np.mean([np.mean([e for e in joint if e < np.inf]) for joint in joints])
        assert found[f"mpjpe{name}"] == pytest.approx(mean, rel=1e-4)
    assert found["found"] == pytest.approx(10 / 12)
    assert found["pck"] == pytest.approx(10 / 12)
    assert found["epe_px"] == pytest.approx(np.sqrt(8), rel=1e-4)
    assert found["auc_30px"] == pytest.approx(18 / 20 * 10 / 12)  # √8 px is under 1.5 · (2 … 19)


@pytest.mark.parametrize("kind", [Rhd, Stb])
def test_hand3d_as_its_publishers(kind: type[Rhd | Stb]) -> None:
    """STB's first joint is the palm's centre already; RHD's is the wrist, and joints may be hidden."""
    truth = hands(10)
    seen = np.ones((10, 21), np.bool_) if kind is Stb else np.random.default_rng(2).random((10, 21)) < 0.7
    ours = noisy(truth)
    if kind is Stb:
        truth[:, 0] = (truth[:, 0] + truth[:, 9]) / 2
    dataset = kind("", "", pictures(truth, "left", seen))
    found = figures(dataset, seen_by(dataset, ours, (4,), "left"))
    scaled: list[list[float]] = [[] for _ in range(21)]
    own: list[list[float]] = [[] for _ in range(21)]
    for i in range(10):
        hand, guess = truth[i].copy(), ours[i].astype(np.float32).astype(np.float64)
        guess[0] = (guess[0] + guess[9]) / 2
        if kind is Rhd:
            hand[0] = (hand[0] + hand[9]) / 2
        hand, guess = hand - hand[0], guess - guess[0]
        ratio = np.linalg.norm(hand[10] - hand[9]) / np.linalg.norm(guess[10] - guess[9])
        for joint in range(21):
            if seen[i, joint]:
                for errors, size in ((scaled, ratio), (own, 1)):
                    error = 1000 * float(np.linalg.norm(size * guess[joint] - hand[joint]))
                    errors[joint].append(np.inf if i == 4 else error)
    thresholds = np.linspace(0, 50, 20)
    assert found["auc"] == pytest.approx(curve_area(scaled, thresholds), abs=1e-6)
    assert found["auc_20_50"] == pytest.approx(curve_area(scaled, thresholds[8:]), abs=1e-6)
    assert found["auc_own_scale"] == pytest.approx(curve_area(own, thresholds), abs=1e-6)
    means = [np.mean([e for e in joint if e < np.inf]) for joint in scaled]
    assert found["epe"] == pytest.approx(np.mean(means), rel=1e-4)
    assert found["side"] == 1


def interacting(points: np.ndarray, group: str, sides: tuple[str, ...]) -> Picture:
    pixels = 500 * points[..., :2] / points[..., 2:] + np.arange(len(points))[:, None, None] * 200
    truth = Truth(pixels, points, np.ones(points.shape[:2], np.bool_), np.zeros((len(points), 4)), sides)
    return Picture(group, Path("x"), truth, group)


def test_interhand_as_its_publishers() -> None:
    """A picture of two hands and one of a right hand: the mean over 42 joints of the mean error of each."""
    both, single = hands(2), hands(1, seed=7)
    scene = interacting(both, "interacting", ("right", "left")), interacting(single, "right", ("right",))
    dataset = InterHand("", "", scene)
    two, one = noisy(both), noisy(single)
    first = [dope(scene[0].truth.keypoints[i], two[i], side) for i, side in enumerate(("right", "left"))]
    names = "keypoints", "keypoints3d"
    pixels, solid = (np.concatenate([getattr(person, name) for person in first]) for name in names)
    together = people_of(DOPE, pixels, solid)
    found = figures(dataset, [together, dope(scene[1].truth.keypoints[0], one[0])])

    def errors(ours: np.ndarray, truth: np.ndarray) -> np.ndarray:
        moved = (ours - ours[0]) - (truth - truth[0])
        return np.asarray(1000 * np.linalg.norm(moved, axis=1))

    right, left, alone = errors(two[0], both[0]), errors(two[1], both[1]), errors(one[0], single[0])
    assert found["mpjpe_interacting"] == pytest.approx(np.mean([right, left]), rel=1e-4)
    assert found["mpjpe_single"] == pytest.approx(alone.mean(), rel=1e-4)
    assert found["mpjpe"] == pytest.approx(np.mean([(right + alone) / 2, left]), rel=1e-4)


def test_a_hand_without_its_wrist_is_not_judged_in_space() -> None:
    points = hands(1)
    points[:] = NAN
    dataset = InterHand("", "", (interacting(points, "right", ("right",)),))
    sums, counts = dataset.tally(People.empty(DOPE, with_3d=True), dataset.pictures[0])["auc"]
    assert sums.tolist() == counts.tolist() == [0] * 42


def test_panoptic_and_pck() -> None:
    """Joints 30, 50, 80 and 81 pixels off, of a head of 100 and a box of 400 pixels; one is not labelled."""
    keypoints = np.zeros((1, 21, 2))
    keypoints[0, :, 0] = np.linspace(0, 400, 21)
    guess = keypoints[0].copy()
    guess[[0, 1, 2, 3], 1] += [30, 70, 80, 81]
    keypoints[0, 20] = NAN
    truth = Truth(keypoints, None, np.isfinite(keypoints[..., 0]), np.array([[0.0, 0, 400, 10]]), ("",))
    dataset = Panoptic("", "", (Picture("a", Path("a"), truth),), {"a": np.array([100.0])})
    found = figures(dataset, [dope(guess, np.zeros((21, 3)))])
    assert found["pckh"] == pytest.approx(18 / 20)
    assert found["pck"] == pytest.approx(19 / 20)
    assert found["epe_px"] == pytest.approx((30 + 70 + 80 + 81) / 20)
    assert "side" not in found


@pytest.mark.parametrize("kind", [FreiHand, Rhd, Stb, InterHand, OneHand10K])
def test_nobody(kind: type[HandDataset]) -> None:
    """No hands in the picture and none found; then one of each."""
    none = Truth(
        np.zeros((0, 21, 2)), np.zeros((0, 21, 3)), np.zeros((0, 21), np.bool_), np.zeros((0, 4)), ()
    )
    (one,) = pictures(hands(1))
    empty = People.empty(DOPE, with_3d=True)
    hand = dope(one.truth.keypoints[0], hands(1)[0])
    dataset = kind("", "", (Picture("none", Path("none"), none), one))
    for people in (empty, hand):
        for sums, counts in dataset.tally(people, dataset.pictures[0]).values():
            assert not sums.any()
            assert not counts.any()
    missed = dataset.tally(empty, one)
    assert [cell.tolist() for cell in missed["found"]] == [[0], [1]]
    assert missed["pck"][0].sum() == 0
    assert missed["pck"][1].sum() == 21
    assert missed["epe_px"][1].tolist() == [0]


@pytest.mark.parametrize("kind", [FreiHand, Rhd, InterHand, OneHand10K])
def test_the_truth_itself_is_perfect(kind: type[HandDataset]) -> None:
    """Up to the first threshold: of mmpose's it is wrong, being 0, of hand3d's where rounding makes it so."""
    truth = hands(1)
    (one,) = pictures(truth)
    dataset = kind("", "", (one,))
    for name, figure in figures(dataset, [dope(one.truth.keypoints[0], truth[0])]).items():
        unit = next(metric.unit for metric in dataset.metrics if metric.name == name)
        best = 0.95 if name == "auc_30px" else float(unit == "share")
        assert np.isnan(figure) or figure == pytest.approx(best, abs=0.03), name


def test_nan_is_missed() -> None:
    """A joint without depth is wrong in space alone, a joint that was not seen in both."""
    truth = hands(1)
    dataset = FreiHand("", "", pictures(truth))
    points, keypoints = truth[0].copy(), dataset.pictures[0].truth.keypoints[0].copy()
    points[5], points[6], keypoints[6] = NAN, NAN, NAN
    cells = dataset.tally(dope(keypoints, points), dataset.pictures[0])
    assert np.flatnonzero(cells["pck"][0] == 0).tolist() == [6]
    for name in ("auc", "auc_pa"):
        assert np.flatnonzero(cells[name][0] == 0).tolist() == [5, 6]
        assert cells[name][1].tolist() == [1] * 21
    assert cells["mpjpe"][1].sum() == 19
    points[0] = NAN  # the wrist, which is the root
    cells = dataset.tally(dope(keypoints, points), dataset.pictures[0])
    assert cells["auc"][0].sum() == 0
    assert cells["auc_pa"][0].sum() > 15


def test_a_hand_of_which_nothing_is_labelled_is_not_missed() -> None:
    nothing = Truth(np.full((1, 21, 2), NAN), None, np.zeros((1, 21), np.bool_), np.zeros((1, 4)), ("",))
    dataset = OneHand10K("", "", (Picture("a", Path("a"), nothing),))
    for sums, counts in dataset.tally(People.empty(DOPE), dataset.pictures[0]).values():
        assert not sums.any()
        assert not counts.any()


def test_students_without_depth_are_judged_in_the_picture() -> None:
    dataset = FreiHand("", "", pictures(hands(1)))
    (picture,) = dataset.pictures
    keypoints = np.full((1, 133, 2), NAN)
    keypoints[0, WHOLEBODY133.parts["right_hand"]] = picture.truth.keypoints[0]
    cells = dataset.tally(people_of(WHOLEBODY133, keypoints), picture)
    assert "auc" not in cells
    assert cells["pck"][0].tolist() == [1] * 21


def test_who_can_be_judged() -> None:
    dataset = OneHand10K("onehand10k", "", ())
    for skeleton in (DOPE, WHOLEBODY133, COCO_HAND21, SKELETONS["dope_hand21"]):
        dataset.require(skeleton, with_3d=False)
    for skeleton in (COCO17, SKELETONS["dope_face84"]):
        with pytest.raises(ArtefactError, match=f"judges hands, which {skeleton.name} does not have"):
            dataset.require(skeleton, with_3d=True)


def test_what_is_measured_is_told() -> None:
    flat = Truth(np.zeros((1, 21, 2)), None, np.ones((1, 21), np.bool_), np.zeros((1, 4)), ("",))
    solid = FreiHand("", "", pictures(hands(1)))
    plain = FreiHand("", "", (Picture("a", Path("a"), flat),))
    assert solid.metrics[0].name == "auc_pa"
    assert [metric.name for metric in plain.metrics] == ["pck", "auc_30px", "epe_px", "found"]
    assert "Procrustes" in solid.notes
    assert "Procrustes" not in plain.notes
    assert plain.skeleton is COCO_HAND21
