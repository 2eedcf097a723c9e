"""Drift of top-down students: what is altered is measured as altered, ties apart, and judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.export.certificate import Budget
from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
from wholebody.export.crop_certificate import CropCertificate
from wholebody.export.noise import noise_pictures
from wholebody.export.onnx_dwpose import export_dwpose
from wholebody.export.person_boxes import Boxes, boxes_from, whole_frame
from wholebody.export.reference import PyTorchCrops
from wholebody.export.student_file import save_student
from wholebody.export.students.rtmpose import MEAN, STD, RtmPose
from wholebody.export.top_down_drift import compare_crops
from wholebody.export.verify import verify
from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.errors import ArtefactError, CheckpointError, SourceError
from wholebody.runtime.media import Frame, write_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.records import RecordWriter
from wholebody.runtime.skeletons import COCO17
from wholebody.runtime.spec import CropInput, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

PARTS = ["body", "feet", "face", "left_hand", "right_hand"]
NOSE = 0
Answer = dict[str, Any]
Alter = Callable[[Answer], None]
Measure = Callable[..., CropCertificate]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drift")


@pytest.fixture(scope="module")
def checkpoint(tiny_rtmpose: Callable[..., RtmPose], folder: Path) -> RtmPoseCheckpoint:
    save_student(tiny_rtmpose(joints=133), folder / "mini.safetensors", half=False)
    return load_checkpoint(folder / "mini.safetensors", RtmPoseCheckpoint)


@pytest.fixture(scope="module")
def pictures() -> list[Frame]:
    return [Frame(noise_pictures(96, 96)[1].image, f"/somewhere/{name}.jpg") for name in ("a", "b")]


class Altered:
    """PyTorch's own answers, altered; `calls` counts the crops of each."""

    def __init__(self, checkpoint: RtmPoseCheckpoint, alter: Callable[[Answer], None]) -> None:
        self._torch = PyTorchCrops(checkpoint)
        self._alter = alter
        self.name = "altered"
        self.inputs: tuple[TensorSpec, ...] = self._torch.inputs
        self.outputs: tuple[TensorSpec, ...] = self._torch.outputs
        self.calls: list[int] = []

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        self.calls.append(len(inputs[0]))
        answer = {s.name: a.copy() for s, a in zip(self.outputs, self._torch(*inputs), strict=True)}
        self._alter(answer)
        return tuple(answer.values())


def spec_of(checkpoint: RtmPoseCheckpoint) -> TopDownSpec:
    weights = WeightsSpec(checkpoint.source, checkpoint.sha256, "Apache-2.0")
    return TopDownSpec("mini", "simcc", CropInput(64, 32, MEAN, STD, "rgb"), "wholebody133", weights)


@pytest.fixture
def measure(checkpoint: RtmPoseCheckpoint, pictures: list[Frame], monkeypatch: pytest.MonkeyPatch) -> Measure:
    """`measure(alter, reference=alter_too)`: the certificate of an altered student."""

    def measure(alter: Alter, reference: Alter | None = None, boxes: Boxes = whole_frame) -> CropCertificate:
        if reference is not None:
            altered = Altered(checkpoint, reference)
            monkeypatch.setattr("wholebody.export.top_down_drift.PyTorchCrops", lambda _: altered)
        student = Altered(checkpoint, alter)
        return compare_crops(student, checkpoint, spec_of(checkpoint), pictures, boxes, Budget())

    return measure


def nothing(answer: Answer) -> None:
    pass


def sure(joint: int, x: int, y: int) -> Alter:
    """Of this keypoint, in these bins; of nothing else."""

    def alter(answer: Answer) -> None:
        for name, bin in (("simcc_x", x), ("simcc_y", y)):
            answer[name] *= 0.01
            answer[name][:, joint, bin] = 1

    return alter


# --- what is measured -----------------------------------------------------------------------------


def test_an_unaltered_student_does_not_drift(measure: Measure) -> None:
    certificate = measure(nothing)
    assert certificate.passed
    assert certificate.failures() == []
    assert (certificate.pictures, certificate.crops) == (2, 2)
    assert list(certificate.parts) == PARTS
    for drift in certificate.parts.values():
        assert [spread.max for spread in drift.of_all.values()] == [0, 0]
        assert drift.ties.count == 0


def test_pixels_are_those_of_the_crop(measure: Measure) -> None:
    """Six bins right and eight down are three and four pixels, five together."""
    certificate = measure(sure(NOSE, x=16, y=28), reference=sure(NOSE, x=10, y=20))
    assert certificate.parts["body"].judged["pixels"].max == 5
    assert certificate.failures()[0] == "body: pixels drift by 5 px on a.jpg (budget 0.05 px)"


def test_each_part_is_judged_apart(measure: Measure) -> None:
    def alter(answer: Answer) -> None:
        answer["simcc_y"][:, 130] = answer["simcc_y"][:, 130, ::-1]

    certificate = measure(alter)
    moved = {part: drift.of_all["pixels"].max > 0 for part, drift in certificate.parts.items()}
    assert moved == {**dict.fromkeys(PARTS, False), "right_hand": True}


def test_scores_count_too(measure: Measure) -> None:
    def alter(answer: Answer) -> None:
        answer["simcc_x"][:, 30] += 0.5
        answer["simcc_y"][:, 30] += 0.5

    certificate = measure(alter)
    assert certificate.parts["face"].of_all["score"].max == pytest.approx(0.5, rel=1e-3)
    assert certificate.parts["face"].of_all["pixels"].max == 0
    assert certificate.failures()[0].startswith("face: score drift by 0.5 on ")


def test_the_worst_picture_is_named(measure: Measure) -> None:
    seen: list[int] = []

    def second(answer: Answer) -> None:
        seen.append(1)
        answer["simcc_x"][:, :17] += 0.1 * len(seen)
        answer["simcc_y"][:, :17] += 0.1 * len(seen)

    assert measure(second).parts["body"].of_all["score"].worst == "b.jpg"


# --- ties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "tied"), [(0.0, True), (0.0005, True), (0.01, False)])
def test_bins_that_tie_are_counted_apart(measure: Measure, gap: float, tied: bool) -> None:
    """The reference has two peaks of the nose, twenty pixels apart, and the student takes the lower one."""

    def reference(answer: Answer) -> None:
        sure(NOSE, x=10, y=40)(answer)
        answer["simcc_x"][:, NOSE, 50] = 1 - gap

    def student(answer: Answer) -> None:
        reference(answer)
        answer["simcc_x"][:, NOSE, 50] = 1.0005

    certificate = measure(student, reference)
    body = certificate.parts["body"]
    assert certificate.passed is tied
    assert (body.ties.count, body.ties.pixels) == ((2, 20.0) if tied else (0, 0.0))
    assert body.of_all["pixels"].max == (0 if tied else 20.0)


# --- confidence -----------------------------------------------------------------------------------


def test_what_nobody_sees_is_not_judged_where_something_is_seen(measure: Measure) -> None:
    def careless(answer: Answer) -> None:
        sure(NOSE, x=7, y=9)(answer)
        answer["simcc_x"][:, 1:] = answer["simcc_x"][:, 1:, ::-1]

    certificate = measure(careless, reference=sure(NOSE, x=7, y=9))
    body, face = certificate.parts["body"], certificate.parts["face"]
    assert (body.confident, face.confident) == (2, 0)
    assert body.judged["pixels"].max == 0
    assert body.of_all["pixels"].max > 0
    assert face.judged["pixels"].max > 0  # nobody is sure of any, so all count


def test_what_one_network_sees_is_judged(measure: Measure) -> None:
    certificate = measure(sure(NOSE, x=7, y=9), reference=sure(1, x=7, y=9))
    assert certificate.parts["body"].confident == 4
    assert certificate.parts["body"].judged["score"].max == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_fails(measure: Measure, value: float) -> None:
    def spoil(answer: Answer) -> None:
        answer["simcc_x"][:, 20] = value

    certificate = measure(spoil)
    assert not certificate.passed
    json.dumps(certificate.to_dict(), allow_nan=False)
    assert certificate.table()


# --- shown and stored -----------------------------------------------------------------------------


def test_table_and_dictionary(measure: Measure) -> None:
    def alter(answer: Answer) -> None:
        answer["simcc_x"][:, :17] += 1
        answer["simcc_y"][:, :17] += 1

    certificate = measure(alter)
    text, stored = certificate.table(), json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    for word in (*PARTS, "ties", "p99", "2 crops of 2 pictures", "the crop's", "over budget: body"):
        assert word in text
    assert "within budget" in measure(nothing).table()
    assert (stored["pass"], stored["pictures"], stored["crops"]) == (False, 2, 2)
    assert stored["budget"] == {"px": 0.05, "score": 0.002}
    assert stored["parts"]["body"]["all_keypoints"]["score"]["max"] == pytest.approx(1, rel=1e-3)
    assert "/somewhere" not in text + json.dumps(stored)


# --- whose crops ----------------------------------------------------------------------------------


def test_many_people_are_measured_in_batches(checkpoint: RtmPoseCheckpoint, pictures: list[Frame]) -> None:
    boxes = np.array([[x, 5, x + 40, 90] for x in range(19)], np.float32)
    student = Altered(checkpoint, nothing)
    certificate = compare_crops(
        student, checkpoint, spec_of(checkpoint), pictures[:1], lambda _: boxes, Budget()
    )
    assert (certificate.crops, student.calls) == (19, [8, 8, 3])


def test_pictures_of_nobody(measure: Measure) -> None:
    nobody = np.zeros((0, 4), np.float32)
    certificate = measure(nothing, boxes=lambda f: nobody if "a.jpg" in f.name else whole_frame(f))
    assert (certificate.pictures, certificate.crops) == (2, 1)
    with pytest.raises(SourceError, match="nobody in 2 pictures"):
        measure(nothing, boxes=lambda _: nobody)


def records(path: Path, frames: list[Frame], boxes: Floats) -> Path:
    people = People(
        keypoints=np.zeros((len(boxes), 17, 2), np.float32),
        scores=np.ones((len(boxes), 17), np.float32),
        keypoints3d=None,
        boxes=boxes,
        score=np.ones(len(boxes), np.float32),
        skeleton=COCO17,
    )
    with RecordWriter(path) as writer:
        for frame in frames:
            writer.write(frame, people)
    return path


def test_boxes_of_a_former_run(pictures: list[Frame], tmp_path: Path) -> None:
    boxes = np.array([[10, 10, 60, 90], [0, 0, 20, 20]], np.float32)
    known = boxes_from(records(tmp_path / "people.jsonl", pictures[:1], boxes))
    moved = Frame(pictures[0].image, "/elsewhere/a.jpg")
    np.testing.assert_array_equal(known(moved), boxes)
    with pytest.raises(SourceError, match=r"no boxes for b\.jpg"):
        known(pictures[1])
    other = Frame(np.zeros((10, 10, 3), np.uint8), "a.jpg")
    with pytest.raises(SourceError, match=r"boxes for a a\.jpg of .* pixels, not of 10 x 10"):
        known(other)


def test_boxes_of_two_pictures_of_one_name(pictures: list[Frame], tmp_path: Path) -> None:
    boxes = np.array([[10, 10, 60, 90]], np.float32)
    image = pictures[0].image
    frames = [Frame(image, "one/a.jpg"), Frame(image, "one/a.jpg"), Frame(image, "two/a.jpg")]
    assert len(boxes_from(records(tmp_path / "same.jsonl", frames[:2], boxes))(frames[0])) == 1
    with pytest.raises(SourceError, match=r"two pictures named a\.jpg, one/a\.jpg and two/a\.jpg"):
        boxes_from(records(tmp_path / "people.jsonl", frames, boxes))


def test_boxes_outside_the_picture(pictures: list[Frame], tmp_path: Path) -> None:
    boxes = np.array([[1000, 1000, 1060, 1090]], np.float32)
    known = boxes_from(records(tmp_path / "people.jsonl", pictures[:1], boxes))
    with pytest.raises(SourceError, match=r"a\.jpg, frame 0: box 0 .* outside the picture"):
        known(pictures[0])


def test_boxes_of_a_detector(pictures: list[Frame]) -> None:
    spec = DetectorSpec(
        name="constant",
        layout="suppressed",
        input=DetectorInput(144, 144, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr"),
        weights=WeightsSpec("made up", "0" * 64, "none"),
    )
    image = TensorSpec("image", (1, 3, 144, 144), np.dtype(np.float32))
    detections = np.array([[[8, 8, 40, 60, 0.9], [0, 0, 9, 9, 0.1]]], np.float32)
    backend = FakeBackend((image,), {"dets": detections, "labels": np.zeros((1, 2), np.int64)})
    found = boxes_from(PersonDetector(backend, spec))(pictures[0])
    np.testing.assert_allclose(found, [[8, 8, 40, 60]], atol=0.6)


# --- from files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(checkpoint: RtmPoseCheckpoint, folder: Path) -> Path:
    return export_dwpose(checkpoint, folder / "mini.onnx").path


@pytest.fixture(scope="module")
def images(folder: Path, pictures: list[Frame]) -> Path:
    (folder / "images").mkdir()
    for name, picture in zip("ab", pictures, strict=True):
        write_image(folder / "images" / f"{name}.jpg", picture.image)
    return folder / "images"


def test_verify_a_student_with_and_without_naming_its_checkpoint(
    student: Path, images: Path, pictures: list[Frame], tmp_path: Path
) -> None:
    named = verify(student, images=images, reference=student.with_name("mini.safetensors"))
    found = verify(student, images=images)
    assert named == found
    assert isinstance(found, CropCertificate)
    assert found.passed
    assert (found.pictures, found.crops) == (2, 2)
    boxes = np.array([[10, 10, 60, 90], [0, 0, 20, 20]], np.float32)
    given = verify(student, images=images, boxes=records(tmp_path / "p.jsonl", pictures, boxes))
    assert isinstance(given, CropCertificate)
    assert given.crops == 4


def test_the_student_must_come_from_that_checkpoint(
    student: Path, images: Path, tiny_rtmpose: Callable[..., RtmPose], tmp_path: Path
) -> None:
    save_student(tiny_rtmpose(seed=1), tmp_path / "other.safetensors")
    with pytest.raises(ArtefactError, match=r"was exported from mini\.safetensors .*not from other"):
        verify(student, images=images, reference=tmp_path / "other.safetensors")
    (tmp_path / "text.pth").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        verify(student, images=images, reference=tmp_path / "text.pth")
