"""Accuracy on photographs: students that know the truth, half of it or nothing; and the real ones."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.coco_accuracy import evaluate, measure_coco
from wholebody.benchmarks.datasets.coco import CocoDataset, CocoPicture
from wholebody.benchmarks.metrics.coco_ap import TruePeople
from wholebody.benchmarks.metrics.detector_recall import detector_recall, pooled
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image, write_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.published import describe_detector, describe_student
from wholebody.runtime.skeletons import COCO17, DOPE, WHOLEBODY133, Skeleton


class DetectorOptions(TypedDict, total=False):
    """What the file of a detector does not tell."""

    kind: Literal["rtmdet", "yolox"]
    size: tuple[int, int]


SIZE = (200, 300)  # height, width
BOXES = np.array([[10, 20, 110, 180], [150, 30, 260, 190], [5, 5, 295, 195]], np.float32)


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
def dataset(tmp_path: Path) -> Callable[..., CocoDataset]:
    """`dataset(people, …)`: one black photograph for each, with these people marked in it."""

    def make(*marked: TruePeople) -> CocoDataset:
        pictures = []
        for i, people in enumerate(marked):
            path = tmp_path / f"{i}.png"
            write_image(path, np.full((*SIZE, 3), i, np.uint8))
            pictures.append(CocoPicture(i, path, SIZE[1], SIZE[0], people))
        skeleton = COCO17 if marked[0].labelled.shape[1] == 17 else WHOLEBODY133
        return CocoDataset(tmp_path / "x.json", skeleton, tuple(pictures))

    return make


class Knows:
    """A student and detector that know these people, each picture's own; `given`: boxes it was asked for."""

    def __init__(self, skeleton: Skeleton, *known: TruePeople, detector: bool = True) -> None:
        self.skeleton, self.known = skeleton, known
        self.detector = "knows" if detector else None
        self.given: list[NDArray[np.float32]] = []

    def detect(self, image_bgr: Image) -> tuple[Floats, Floats]:
        people = self.known[image_bgr[0, 0, 0]]
        return people.boxes[~people.crowd], np.ones((~people.crowd).sum(), np.float32)

    def estimate(self, image_bgr: Image, boxes: Floats, score: Floats) -> tuple[People, NDArray[np.intp]]:
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


def nobody(skeleton: Skeleton = COCO17) -> Knows:
    return Knows(skeleton, true_people(skeleton, boxes=BOXES - 1000, crowd=np.ones(3, np.bool_)))


Make = Callable[..., CocoDataset]


def test_nobody_is_found(dataset: Make) -> None:
    report = evaluate(nobody(), dataset(true_people(COCO17)))
    figures = report.parts["body"]
    assert (figures.true_boxes.ap, figures.true_boxes.ar, figures.mean_oks) == (0, 0, 0)
    assert figures.detected_boxes is not None
    assert figures.detected_boxes.ap == 0
    assert report.detector is not None
    assert (report.detector.people, report.detector.found, report.detector.boxes) == (2, 0, 0)


def test_nobody_is_marked(dataset: Make) -> None:
    """The student is given no boxes, and nothing can be measured."""
    empty = true_people(COCO17, labelled=np.zeros((3, 17), np.bool_))
    student = Knows(COCO17, empty, detector=False)
    report = evaluate(student, dataset(empty))
    assert [boxes.tolist() for boxes in student.given] == [[]]
    assert math.isnan(report.parts["body"].mean_oks)
    assert report.to_dict()["parts"]["body"]["mean_oks"] is None
    assert "| mean OKS, true boxes | – |" in report.markdown()


def test_the_truth_is_perfect(dataset: Make) -> None:
    """Whatever order the people come back in, and with a keypoint or two unlabelled."""
    labelled = np.ones((3, 17), np.bool_)
    labelled[0, 3:9] = False
    pictures = true_people(COCO17), true_people(COCO17, labelled=labelled)
    student = Knows(COCO17, *pictures)
    report = evaluate(student, dataset(*pictures))
    figures = report.parts["body"]
    assert list(report.parts) == ["body"]
    assert figures.true_boxes == figures.detected_boxes
    assert (figures.true_boxes.ap, figures.true_boxes.ar, figures.true_boxes.people) == (1, 1, 4)
    assert figures.mean_oks == 1
    assert report.detector is not None
    assert (report.detector.recall, report.detector.recall_one_to_one, report.detector.boxes) == (1, 1, 4)
    assert [boxes.tolist() for boxes in student.given] == [BOXES[:2].tolist()] * 4  # not the crowd's


def test_wholebody_by_part(dataset: Make) -> None:
    truth = true_people(WHOLEBODY133)
    wrong = truth.keypoints.copy()
    wrong[:, WHOLEBODY133.parts["left_hand"]] += 1000
    student = Knows(WHOLEBODY133, true_people(WHOLEBODY133, keypoints=wrong), detector=False)
    report = evaluate(student, dataset(truth))
    assert list(report.parts) == ["body", "feet", "face", "left_hand", "right_hand", "whole"]
    aps = {name: figures.true_boxes.ap for name, figures in report.parts.items()}
    assert aps["left_hand"] == report.parts["left_hand"].mean_oks == 0
    assert aps["body"] == aps["feet"] == aps["face"] == aps["right_hand"] == 1
    assert report.parts["whole"].mean_oks == pytest.approx(112 / 133)
    assert report.detector is None


@pytest.mark.parametrize(("student", "marked"), [(COCO17, WHOLEBODY133), (WHOLEBODY133, COCO17)])
def test_only_what_both_have_is_judged(dataset: Make, student: Skeleton, marked: Skeleton) -> None:
    truth = true_people(marked)
    report = evaluate(Knows(student, truth), dataset(truth))
    assert list(report.parts) == ["body"]
    assert report.parts["body"].mean_oks == 1


def test_one_of_two_is_found(dataset: Make) -> None:
    truth = true_people(COCO17)
    first = true_people(COCO17, crowd=np.array([False, True, True]))
    report = evaluate(Knows(COCO17, first), dataset(truth))
    assert report.detector is not None
    assert (report.detector.people, report.detector.found, report.detector.recall) == (2, 1, 0.5)
    assert report.parts["body"].detected_boxes is not None
    assert report.parts["body"].detected_boxes.ar == pytest.approx(0.5)


def test_a_box_on_two_people_is_one_of_theirs() -> None:
    boxes = np.array([[0, 0, 100, 100], [0, 10, 100, 110], [0, 0, 10, 10]], np.float32)
    truth = true_people(COCO17, boxes=boxes)
    recall = detector_recall(truth, boxes[:1], np.ones(1, np.float32))
    assert (recall.people, recall.covered, recall.found) == (2, 2, 1)
    assert (recall.recall, recall.recall_one_to_one) == (1, 0.5)
    assert math.isnan(pooled([]).recall)


def test_a_box_without_area_is_not_asked_for(dataset: Make) -> None:
    boxes = BOXES.copy()
    boxes[0, 2:] = boxes[0, :2]
    truth = true_people(COCO17, boxes=boxes)
    student = Knows(COCO17, truth, detector=False)
    report = evaluate(student, dataset(truth))
    assert [len(given) for given in student.given] == [1]
    assert report.parts["body"].mean_oks == 0.5


def test_as_json_and_as_markdown(dataset: Make) -> None:
    truth = true_people(WHOLEBODY133)
    report = evaluate(Knows(WHOLEBODY133, truth), dataset(truth))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["parts"]["left_hand"]["true_boxes"] == {"ap": 1, "ap_50": 1, "ap_75": 1, "ar": 1, "people": 2}
    assert data["detector"] == {
        "people": 2, "covered": 2, "found": 2, "boxes": 2, "recall": 1, "recall_one_to_one": 1,
    }  # fmt: skip
    rows = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert rows[0] == "|  | body | feet | face | left hand | right hand | whole |"
    assert {row.count("|") for row in rows} == {8}
    assert (
        "covers 2 of 2 people with labelled keypoints (recall 1.000; with a box of their own 2, 1.000)"
        in report.markdown()
    )


def test_what_is_refused(dataset: Make) -> None:
    pictures = dataset(true_people(COCO17))
    with pytest.raises(ArtefactError, match="keypoints are dope139; photographs of COCO judge coco17 and"):
        evaluate(nobody(DOPE), pictures)
    write_image(pictures.pictures[0].path, np.zeros((300, 200, 3), np.uint8))
    with pytest.raises(SourceError, match=r"0\.png is 200 x 300, but 300 x 200 was annotated"):
        evaluate(nobody(), pictures)
    pictures.pictures[0].path.write_bytes(b"")
    with pytest.raises(SourceError):
        evaluate(nobody(), pictures)


# --- the real ones ------------------------------------------------------------------------------------------


runs_simplepose = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="the last onnxruntime for Python 3.10 does not run this student's BatchNormalization of opset 8",
)


@pytest.fixture(scope="module")
def pose_with(shared: Path) -> Callable[[str, DetectorOptions], TopDownPose]:
    """`pose_with(detector, options)`: the heatmap student behind one of the detectors."""
    models = shared / "data" / "models"
    path = models / "ultralight_simplepose_coco17.onnx"
    spec = describe_student(path, color="rgb", norm="imagenet", udp=False)
    student = OnnxRuntime(path, threads=1)

    def pose(detector: str, options: DetectorOptions) -> TopDownPose:
        found = models / f"{detector}.onnx"
        detect = PersonDetector(OnnxRuntime(found, threads=1), describe_detector(found, **options))
        return TopDownPose(student, spec, detect)

    return pose


RTMDET: DetectorOptions = {"kind": "rtmdet", "size": (320, 320)}
YOLOX: DetectorOptions = {"kind": "yolox"}


@runs_simplepose
@pytest.mark.parametrize(
    ("detector", "options", "recall", "ap"),
    [("rtmdet_nano_mmpose", RTMDET, 0.78, 0.36), ("yolox_nano_humanart", YOLOX, 0.74, 0.37)],
)
def test_people_in_photographs(
    pose_with: Callable[[str, DetectorOptions], TopDownPose],
    shared: Path,
    detector: str,
    options: DetectorOptions,
    recall: float,
    ap: float,
) -> None:
    annotations = shared / "data" / "images" / "coco_people" / "person_keypoints.json"
    report = measure_coco(pose_with(detector, options), annotations=annotations)
    accuracy, body = report.accuracy, report.accuracy.parts["body"]
    assert accuracy.pictures == 28
    assert (report.student, report.detector) == ("ultralight_simplepose_coco17", detector)
    assert accuracy.detector is not None
    assert body.detected_boxes is not None
    assert accuracy.detector.people == body.true_boxes.people == 86
    assert accuracy.detector.recall >= recall
    assert body.mean_oks >= 0.65
    assert body.true_boxes.ap >= 0.42
    assert body.detected_boxes.ap >= ap


@runs_simplepose
def test_the_report_of_photographs(
    pose_with: Callable[[str, DetectorOptions], TopDownPose], shared: Path, tmp_path: Path
) -> None:
    """On COCO-WholeBody a student of 17 keypoints is judged by its body."""
    annotations = shared / "data" / "annotated" / "coco" / "test_coco_wholebody.json"
    report = measure_coco(
        pose_with("rtmdet_nano_mmpose", RTMDET), annotations=annotations, json=tmp_path / "figures.json"
    )
    assert list(report.accuracy.parts) == ["body"]
    assert report.accuracy.parts["body"].true_boxes.people == 12
    assert json.loads((tmp_path / "figures.json").read_text()) == report.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    assert report.markdown().startswith("Accuracy of ultralight_simplepose_coco17 (fp32, weights ")
    assert (
        "boxes by rtmdet_nano_mmpose) on the 4 photographs of test_coco_wholebody.json." in report.markdown()
    )
    with pytest.raises(SourceError, match=r"cannot write .*: it is a folder"):
        measure_coco(pose_with("rtmdet_nano_mmpose", RTMDET), annotations=annotations, json=tmp_path)
    with pytest.raises(SourceError, match="it is what is measured; choose another name"):
        measure_coco(pose_with("rtmdet_nano_mmpose", RTMDET), annotations=annotations, json=annotations)
