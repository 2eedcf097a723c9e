"""Accuracy on photographs of COCO: students that know the truth, half of it or nothing; and the real ones."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.benchmarks.accuracy.measuring import Evaluation, evaluate
from wholebody.benchmarks.accuracy.opening import Asked, open_dataset
from wholebody.benchmarks.datasets.coco import CocoDataset, CocoPicture
from wholebody.benchmarks.datasets.coco_protocol import CocoProtocol, judged_parts
from wholebody.benchmarks.datasets.dataset import Truth
from wholebody.benchmarks.metrics.coco_ap import TruePeople
from wholebody.benchmarks.metrics.detector_recall import detector_recall, pooled
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.loading import load
from wholebody.runtime.media import Image, write_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import Rows, TopDownPose
from wholebody.runtime.skeletons import (
    COCO17,
    COCO_HAND21,
    DOPE,
    DOPE_TO_WHOLEBODY,
    WHOLEBODY133,
    Skeleton,
)

SIZE = (200, 300)  # height, width
BOXES = np.array([[10, 20, 110, 180], [150, 30, 260, 190], [5, 5, 295, 195]], np.float32)
Make = Callable[..., CocoDataset]


def true_people(skeleton: Skeleton, **changes: Any) -> TruePeople:
    """Two people and a crowd around them."""
    k = len(skeleton)
    inside = np.random.default_rng(0).uniform(0, 1, (3, k, 2))
    fields: dict[str, Any] = {
        "boxes": BOXES,
        "area": np.array([8000, 9000, 50000], np.float32),
        "crowd": np.array([False, False, True]),
        "keypoints": (BOXES[:, None, :2] + inside * (BOXES[:, None, 2:] - BOXES[:, None, :2])).astype(
            np.float32
        ),
        "labelled": np.ones((3, k), np.bool_),
    }
    return TruePeople(**{**fields, **changes})


@pytest.fixture
def dataset(tmp_path: Path) -> Make:
    """`dataset(people, …)`: one black photograph for each, with these people marked in it."""

    def make(*marked: TruePeople) -> CocoDataset:
        pictures = []
        for i, people in enumerate(marked):
            path = tmp_path / f"{i}.png"
            write_image(path, np.full((*SIZE, 3), i, np.uint8))
            judged = people.judged()
            truth = Truth(
                people.keypoints[judged].astype(np.float64), None, people.labelled[judged],
                people.boxes[judged].astype(np.float64),
            )  # fmt: skip
            pictures.append(
                CocoPicture(path.name, path, truth, id=i, width=SIZE[1], height=SIZE[0], people=people)
            )
        skeleton = COCO17 if marked[0].labelled.shape[1] == 17 else WHOLEBODY133
        return CocoDataset(tmp_path / "x.json", "0" * 64, skeleton, tuple(pictures))

    return make


class Knows(TopDownPose):
    """A student and detector that know these people, each picture's own; `given`: boxes it was asked for."""

    def __init__(self, skeleton: Skeleton, *known: TruePeople, detector: bool = False) -> None:
        self.skeleton, self.known = skeleton, known
        self.detector = object() if detector else None  # type: ignore[assignment]
        self.given: list[Floats] = []

    def detect(self, image_bgr: Image) -> tuple[Floats, Floats]:
        people = self.known[image_bgr[0, 0, 0]]
        return people.boxes[~people.crowd], np.ones((~people.crowd).sum(), np.float32)

    def estimate(self, image_bgr: Image, boxes: Floats, score: Floats) -> tuple[People, Rows]:
        """Everybody whose box is known, the last first."""
        self.given.append(boxes)
        truth = self.known[image_bgr[0, 0, 0]]
        apart = np.abs(boxes[:, None] - truth.boxes).sum(axis=2)
        kept = np.flatnonzero(apart.min(axis=1, initial=np.inf) == 0)[::-1]
        own = apart[kept].argmin(axis=1) if len(kept) else kept
        keypoints = np.full((len(kept), len(self.skeleton), 2), np.nan, np.float32)
        common = min(len(self.skeleton), truth.keypoints.shape[1])
        keypoints[:, :common] = truth.keypoints[own, :common]
        scores = np.isfinite(keypoints[..., 0]).astype(np.float32)
        return People(keypoints, scores, None, boxes[kept], score[kept], self.skeleton), kept


class Dope(DopePose):
    """A DOPE that knows what it has of COCO-WholeBody's keypoints; `nan`: of which none are numbers."""

    def __init__(self, truth: TruePeople, *, nan: bool = False) -> None:
        self.truth, self.nan = truth, nan

    def __call__(self, image_bgr: Image) -> People:
        n = int((~self.truth.crowd).sum())
        keypoints = np.full((n, len(DOPE), 2), np.nan, np.float32)
        ours, theirs = np.array(DOPE_TO_WHOLEBODY).T
        if not self.nan:
            keypoints[:, ours] = self.truth.keypoints[~self.truth.crowd][:, theirs]
        scores = np.zeros((n, len(DOPE)), np.float32)
        scores[:, ours] = 1
        solid = np.zeros((n, len(DOPE), 3), np.float32)
        return People(keypoints, scores, solid, np.zeros((n, 4), np.float32), np.ones(n, np.float32), DOPE)


def found(student: Knows | Dope, photographs: CocoDataset) -> dict[str, float]:
    """By metric; NaN where there was nothing to measure."""
    return values(
        evaluate(CocoProtocol(photographs, _skeleton(student), detected=_detects(student)), student, None)
    )


def _skeleton(student: Knows | Dope) -> Skeleton:
    return DOPE if isinstance(student, Dope) else student.skeleton


def _detects(student: Knows | Dope) -> bool:
    return isinstance(student, Knows) and student.detector is not None


def values(evaluation: Evaluation) -> dict[str, float]:
    return {
        each.metric.name: math.nan if each.value is None else each.value.value
        for each in evaluation.estimates
    }


@pytest.mark.parametrize("detector", [True, False])
def test_nobody_is_found(dataset: Make, detector: bool) -> None:
    nobody = Knows(
        COCO17, true_people(COCO17, boxes=BOXES - 1000, crowd=np.ones(3, np.bool_)), detector=detector
    )
    figures = found(nobody, dataset(true_people(COCO17)))
    assert set(figures.values()) == {0}
    assert ("boxes/covered" in figures) == detector


def test_nobody_is_marked(dataset: Make) -> None:
    """The student is given no boxes, and nothing can be measured."""
    empty = true_people(COCO17, labelled=np.zeros((3, 17), np.bool_))
    student = Knows(COCO17, empty)
    assert all(math.isnan(value) for value in found(student, dataset(empty)).values())
    assert [boxes.tolist() for boxes in student.given] == [[]]


@pytest.mark.parametrize("detector", [True, False])
def test_the_truth_is_perfect(dataset: Make, detector: bool) -> None:
    """Whatever order the people come back in, and with a keypoint or two unlabelled."""
    labelled = np.ones((3, 17), np.bool_)
    labelled[0, 3:9] = False
    pictures = true_people(COCO17), true_people(COCO17, labelled=labelled)
    student = Knows(COCO17, *pictures, detector=detector)
    assert set(found(student, dataset(*pictures)).values()) == {1}
    assert [boxes.tolist() for boxes in student.given] == [BOXES[:2].tolist()] * 2  # not the crowd's


def test_wholebody_by_part(dataset: Make) -> None:
    truth = true_people(WHOLEBODY133)
    wrong = truth.keypoints.copy()
    wrong[:, WHOLEBODY133.parts["left_hand"]] += 1000
    figures = found(Knows(WHOLEBODY133, true_people(WHOLEBODY133, keypoints=wrong)), dataset(truth))
    named = [name.removesuffix("/ap") for name in figures if name.endswith("/ap")]
    assert named == ["whole", "body", "feet", "face", "left_hand", "right_hand", "hands"]
    assert figures["left_hand/ap"] == figures["left_hand/oks"] == 0
    assert [figures[f"{part}/ap"] for part in ("body", "feet", "face", "right_hand")] == [1] * 4
    assert figures["hands/ap"] == figures["hands/ar"] == 0.5
    assert figures["whole/oks"] == pytest.approx(112 / 133)


@pytest.mark.parametrize(("student", "marked"), [(COCO17, WHOLEBODY133), (WHOLEBODY133, COCO17)])
def test_only_what_both_have_is_judged(dataset: Make, student: Skeleton, marked: Skeleton) -> None:
    truth = true_people(marked)
    figures = found(Knows(student, truth), dataset(truth))
    assert {name.partition("/")[0] for name in figures} == {"body"}
    assert set(figures.values()) == {1}


def test_dope_is_judged_by_the_joints_it_has(dataset: Make) -> None:
    """Its figures have names of their own, so that nobody holds them against COCO's."""
    truth = true_people(WHOLEBODY133)
    figures = found(Dope(truth), dataset(truth))
    assert {name.partition("/")[0] for name in figures} == {
        "shared", "limbs", "face", "left_hand", "right_hand", "hands",
    }  # fmt: skip
    assert set(figures.values()) == {1}
    assert "not to be held against published figures" in CocoProtocol(dataset(truth), DOPE).notes
    parts = judged_parts(DOPE, WHOLEBODY133)
    assert [len(np.r_[parts[name]]) for name in ("limbs", "face", "left_hand", "shared")] == [12, 68, 21, 122]
    assert list(judged_parts(DOPE, COCO17)) == ["limbs"]


def test_coordinates_that_are_no_numbers_are_missed(dataset: Make) -> None:
    truth = true_people(WHOLEBODY133)
    assert set(found(Dope(truth, nan=True), dataset(truth)).values()) == {0}
    half = truth.keypoints.copy()
    half[:, 17:] = np.nan
    figures = found(Knows(WHOLEBODY133, true_people(WHOLEBODY133, keypoints=half)), dataset(truth))
    assert (figures["body/ap"], figures["face/ap"]) == (1, 0)
    assert figures["whole/oks"] == pytest.approx(17 / 133)


def test_one_of_two_is_found(dataset: Make) -> None:
    first = true_people(COCO17, crowd=np.array([False, True, True]))
    figures = found(Knows(COCO17, first, detector=True), dataset(true_people(COCO17)))
    assert figures["boxes/covered"] == figures["boxes/found"] == figures["body/oks"] == 0.5
    assert figures["body/ar"] == pytest.approx(0.5)


def test_a_box_on_two_people_is_one_of_theirs() -> None:
    boxes = np.array([[0, 0, 100, 100], [0, 10, 100, 110], [0, 0, 10, 10]], np.float32)
    recall = detector_recall(true_people(COCO17, boxes=boxes), boxes[:1], np.ones(1, np.float32))
    assert (recall.people, recall.covered, recall.found) == (2, 2, 1)
    assert (recall.recall, recall.recall_one_to_one) == (1, 0.5)
    assert math.isnan(pooled([]).recall)


def test_a_box_without_area_is_not_asked_for(dataset: Make) -> None:
    boxes = BOXES.copy()
    boxes[0, 2:] = boxes[0, :2]
    student = Knows(COCO17, truth := true_people(COCO17, boxes=boxes))
    assert found(student, dataset(truth))["body/oks"] == 0.5
    assert [len(given) for given in student.given] == [1]


def test_refused(dataset: Make) -> None:
    photographs = dataset(truth := true_people(COCO17))
    with pytest.raises(ArtefactError, match="keypoints are coco_hand21; photographs of COCO judge coco17"):
        CocoProtocol(photographs, COCO_HAND21).require(COCO_HAND21, with_3d=False)
    path = photographs.pictures[0].path
    write_image(path, np.zeros((300, 200, 3), np.uint8))
    with pytest.raises(SourceError, match=r"0\.png is 200 x 300, but 300 x 200 was annotated"):
        found(Knows(COCO17, truth), photographs)
    path.write_bytes(b"")
    with pytest.raises(SourceError):
        found(Knows(COCO17, truth), photographs)


# --- the real ones ------------------------------------------------------------------------------------------

runs_simplepose = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="the last onnxruntime for Python 3.10 does not run this student's BatchNormalization of opset 8",
)


def measured(shared: Path, annotations: str, name: str, **detector: Any) -> dict[str, float]:
    """Of the heatmap student."""
    models = shared / "data" / "models"
    if detector:
        detector["detector"] = models / f"{detector['detector']}.onnx"
    pose = load(
        models / "ultralight_simplepose_coco17.onnx", threads=1,
        options={"color": "rgb", "norm": "imagenet", "udp": False}, **detector,
    )  # fmt: skip
    asked = Asked(name, annotations=shared / "data" / annotations)
    opened = open_dataset(asked, COCO17, with_3d=False, boxes="detected" if detector else "true")
    return values(evaluate(opened, pose, None))


@runs_simplepose
def test_people_in_photographs(shared: Path) -> None:
    figures = measured(shared, "images/coco_people/person_keypoints.json", "coco")
    assert figures["body/oks"] == pytest.approx(0.653, abs=0.002)
    assert figures["body/ap"] == pytest.approx(0.424, abs=0.002)


@runs_simplepose
@pytest.mark.parametrize(
    ("detector", "options", "recall", "ap"),
    [
        ("rtmdet_nano_mmpose", {"kind": "rtmdet", "size": (320, 320)}, 0.78, 0.36),
        ("yolox_nano_humanart", {"kind": "yolox"}, 0.74, 0.37),
    ],
)
def test_detected_people_in_photographs(
    shared: Path, detector: str, options: dict[str, Any], recall: float, ap: float
) -> None:
    figures = measured(
        shared,
        "images/coco_people/person_keypoints.json",
        "coco",
        detector=detector,
        detector_options=options,
    )
    assert figures["boxes/covered"] >= recall
    assert figures["body/ap"] >= ap


@runs_simplepose
def test_a_student_of_17_keypoints_on_coco_wholebody(shared: Path) -> None:
    figures = measured(shared, "annotated/coco/test_coco_wholebody.json", "coco-wholebody")
    assert {name.partition("/")[0] for name in figures} == {"body"}
    assert 0 < figures["body/ap"] < 1


def test_coco_alone_is_no_coco_wholebody(shared: Path) -> None:
    asked = Asked("coco-wholebody", annotations=shared / "data" / "annotated" / "coco" / "test_coco.json")
    with pytest.raises(SourceError, match="has the 17 keypoints of COCO alone: use --dataset coco"):
        open_dataset(asked, WHOLEBODY133, with_3d=False, boxes="true")
