"""Person detectors: the picture's way in, the boxes' way back, and people found in photographs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.kernels.letterbox import Letterboxer, letterbox_in
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.published import describe_detector
from wholebody.runtime.spec import DetectorInput, DetectorSpec, WeightsSpec

BGR = DetectorInput(64, 96, (10.0, 20.0, 30.0), (2.0, 4.0, 8.0), "bgr")
SPEC = DetectorSpec("finder", "suppressed", BGR, WeightsSpec("made up", "0" * 64, "none"))
PICTURE = np.zeros((128, 192, 3), np.uint8)  # twice the network's input
PERSON = (10, 20, 30, 50, 0.9)

Rows = list[tuple[float, ...]]


def detector(rows: Rows, labels: list[int] | None = None, spec: DetectorSpec = SPEC, **options: Any) -> Any:
    """A detector whose graph answers with these boxes."""
    dets = np.array(rows, np.float32).reshape(1, -1, 5)
    classes = np.array(labels if labels is not None else [0] * len(rows), np.int64)[None]
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float32))
    return PersonDetector(FakeBackend((image,), {"labels": classes, "dets": dets}), spec, **options)


# --- the picture's way in ---


@given(st.integers(1, 3000), st.integers(1, 3000), st.booleans())
def test_a_letterbox_keeps_the_aspect(height: int, width: int, upscale: bool) -> None:
    box = letterbox_in((height, width), replace(BGR, upscale=upscale))
    assert 1 <= box.size[0] <= 64
    assert 1 <= box.size[1] <= 96
    scale = min(64 / height, 96 / width)
    expected = np.array([height, width]) * (scale if upscale else min(scale, 1))
    assert np.abs(box.size - np.maximum(expected, 1)).max() <= 0.5 + 1e-9
    if upscale:
        assert box.size[0] == 64 or box.size[1] == 96


def test_a_small_picture_is_enlarged_only_where_training_did() -> None:
    assert letterbox_in((16, 16), BGR).size == (64, 64)
    assert letterbox_in((16, 16), replace(BGR, upscale=False)).size == (16, 16)


def simple(image: NDArray[np.uint8], spec: DetectorInput) -> NDArray[np.float64]:
    """The same in plain words."""
    height, width = letterbox_in(image.shape[:2], spec).size
    canvas = np.full((spec.height, spec.width, 3), spec.pad, np.uint8)
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    ordered = canvas[..., ::-1] if spec.color == "rgb" else canvas
    return ((ordered.astype(np.float64) - spec.mean) / spec.std).transpose(2, 0, 1)[None]


@pytest.mark.parametrize("spec", [BGR, replace(BGR, color="rgb"), replace(BGR, pad=0, upscale=False)])
def test_pictures_of_many_sizes_through_the_same_buffers(spec: DetectorInput) -> None:
    rng = np.random.default_rng(0)
    letterboxer = Letterboxer(spec)
    for shape in ((100, 60), (64, 96), (100, 60), (1, 1), (30, 300), (30, 300), (500, 20)):
        image = rng.integers(0, 256, (*shape, 3), np.uint8)
        made = letterboxer(image, letterbox_in(shape, spec))
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, simple(image, spec), rtol=1e-6, atol=1e-6)


def test_a_picture_that_is_a_view() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 160, 3), np.uint8)[::2, ::2, ::-1]
    made = Letterboxer(BGR)(image, letterbox_in((40, 80), BGR))
    np.testing.assert_allclose(made, simple(np.ascontiguousarray(image), BGR), rtol=1e-6, atol=1e-6)


# --- the boxes' way back ---


def test_boxes_are_in_pixels_of_the_picture_best_first() -> None:
    boxes, score = detector([(1, 2, 11, 22, 0.5), PERSON])(PICTURE)
    np.testing.assert_allclose(boxes, [[20, 40, 60, 100], [2, 4, 22, 44]])
    np.testing.assert_allclose(score, [0.9, 0.5])
    assert boxes.dtype == score.dtype == np.float32


@pytest.mark.parametrize(
    "rows", [[], [(10, 20, 30, 50, 0.1)], [(np.nan, 20, 30, 50, 0.9)], [(1, 2, 3, 4, np.nan)]]
)
def test_nobody(rows: Rows) -> None:
    boxes, score = detector(rows)(PICTURE)
    assert boxes.shape == (0, 4)
    assert score.shape == (0,)
    assert boxes.dtype == score.dtype == np.float32


def test_boxes_end_with_the_picture() -> None:
    boxes, _ = detector([(-10, -20, 300, 400, 0.9)])(PICTURE)
    assert boxes.tolist() == [[0, 0, 191, 127]]


@pytest.mark.parametrize(
    "row", [(100, 20, 120, 50), (-30, 20, -10, 50), (30, 20, 10, 50), (30, 50, 10, 20), (10, 20, 10, 50)]
)
def test_boxes_outside_the_picture_inverted_or_without_area(row: tuple[float, ...]) -> None:
    assert len(detector([(*row, 0.9), PERSON], min_area=0)(PICTURE)[1]) == 1


def test_huge_numbers_are_cut_off() -> None:
    boxes, _ = detector([(-3e38, -3e38, 3e38, 3e38, 0.9)])(PICTURE)
    assert boxes.tolist() == [[0, 0, 191, 127]]


def test_small_boxes_are_left_out() -> None:
    rows: Rows = [(10, 20, 15, 25, 0.9)]  # 10 x 10 pixels of the picture
    assert len(detector(rows)(PICTURE)[1]) == 1
    assert len(detector(rows, min_area=100.1)(PICTURE)[1]) == 0


def test_the_score_is_held_against_the_score_and_the_overlap_against_the_overlap() -> None:
    rows: Rows = [(10, 20, 30, 50, 0.35), (10, 20, 30, 47, 0.9)]  # IoU 0.9
    assert len(detector(rows, min_score=0.3, iou=0.95)(PICTURE)[1]) == 2
    assert len(detector(rows, min_score=0.3, iou=0.85)(PICTURE)[1]) == 1
    assert len(detector(rows, min_score=0.4, iou=0.95)(PICTURE)[1]) == 1


def test_other_classes_are_nobody() -> None:
    assert len(detector([PERSON], labels=[1])(PICTURE)[1]) == 0
    assert len(detector([PERSON], labels=[1], spec=replace(SPEC, person=1))(PICTURE)[1]) == 1


def test_the_network_is_asked_in_its_own_type() -> None:
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float16))
    backend = FakeBackend((image,), {"dets": np.array([[PERSON]], np.float16)})
    boxes, _ = PersonDetector(backend, SPEC)(PICTURE)
    assert backend.calls[0][0].dtype == np.float16
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[20, 40, 60, 100]])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_raw_maps_in_any_order(order: tuple[int, ...]) -> None:
    maps = [np.full((1, 64 // s, 96 // s, 5), -20, np.float32) for s in (8, 16, 32)]
    maps[1][0, 2, 3] = 3, 20, 10, 20, 25
    spec = replace(SPEC, layout="rtmdet")
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float32))
    backend = FakeBackend((image,), {str(i): maps[i] for i in order})
    boxes, score = PersonDetector(backend, spec)(PICTURE)
    np.testing.assert_allclose(boxes, [[56, 44, 136, 114]])
    np.testing.assert_allclose(score, [1 / (1 + np.exp(-3))], rtol=1e-6)


def test_raw_anchors() -> None:
    anchors = np.zeros((1, 8 * 12 + 4 * 6 + 2 * 3, 6), np.float32)
    anchors[0, 8 * 12 + 6 + 2] = 0.5, 0.5, 0, 0, 0.9, 0.5  # stride 16, row 1, column 2
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float32))
    backend = FakeBackend((image,), {"output": anchors})
    boxes, score = PersonDetector(backend, replace(SPEC, layout="yolox"))(PICTURE)
    np.testing.assert_allclose(boxes, [[64, 32, 96, 64]])
    np.testing.assert_allclose(score, [0.45])


@pytest.mark.parametrize("layout", ["suppressed", "yolox", "rtmdet"])
def test_an_answer_that_is_no_detectors(layout: Any) -> None:
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float32))
    backend = FakeBackend((image,), {"output": np.zeros((1, 7, 4), np.float32)})
    with pytest.raises(ArtefactError, match=f"finder answers 1x7x4, which is not {layout}"):
        PersonDetector(backend, replace(SPEC, layout=layout))(PICTURE)


def test_fewer_labels_than_boxes() -> None:
    image = TensorSpec("input", (1, 3, 64, 96), np.dtype(np.float32))
    answers: dict[str, Array] = {"dets": np.ones((1, 7, 5), np.float32), "labels": np.zeros((1, 3), np.int64)}
    with pytest.raises(ArtefactError, match=r"1x7x5, 1x3, .*allowed is dets \(1x7x5\), labels \(1x7\)"):
        PersonDetector(FakeBackend((image,), answers), SPEC)(PICTURE)


@pytest.mark.parametrize(
    "options",
    [
        {"min_score": -0.1},
        {"min_score": 1.1},
        {"iou": 2},
        {"iou": np.nan},
        {"min_area": -1},
        {"min_area": np.inf},
    ],
)
def test_numbers_that_are_not_allowed(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} is .*; allowed is"):
        detector([], **options)


@pytest.mark.parametrize(
    "picture", [None, np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_what_is_no_picture(picture: Any) -> None:
    with pytest.raises(ValueError, match="the picture is"):
        detector([PERSON])(picture)


# --- photographs ---

REAL: dict[str, dict[str, Any]] = {
    "rtmdet_nano_mmpose": {"kind": "rtmdet", "size": (320, 320)},
    "rtmdet_nano_raw_heads": {},
    "yolox_nano_humanart": {"kind": "yolox"},
    "yolox_nano_coco_raw": {},
}


@pytest.fixture(scope="module")
def real(shared: Path) -> Callable[[str], PersonDetector]:
    def load(name: str) -> PersonDetector:
        path = shared / "data" / "models" / f"{name}.onnx"
        return PersonDetector(OnnxRuntime(path, threads=1), describe_detector(path, **REAL[name]))

    return load


def photographs(shared: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Pictures of coco_people and the boxes of their 86 people with keypoints."""
    folder = shared / "data" / "images" / "coco_people"
    marked = json.loads((folder / "person_keypoints.json").read_text())
    for picture in marked["images"]:
        people = [a for a in marked["annotations"] if a["image_id"] == picture["id"] and a["num_keypoints"]]
        corners = np.array([person["bbox"] for person in people], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        yield np.asarray(cv2.imread(str(folder / picture["file_name"])), np.uint8), corners


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("rtmdet_nano_mmpose", 0.78),
        ("yolox_nano_humanart", 0.74),
        ("rtmdet_nano_raw_heads", 0.72),
        ("yolox_nano_coco_raw", 0.72),
    ],
)
def test_people_in_photographs_are_found(
    shared: Path, real: Callable[[str], PersonDetector], name: str, least: float
) -> None:
    detect, found = real(name), []
    for picture, people in photographs(shared):
        found += (box_iou(people, detect(picture)[0]).max(axis=1, initial=0) >= 0.5).tolist()
    assert len(found) == 86
    assert np.mean(found) >= least


@pytest.mark.parametrize("name", REAL)
def test_seven_people_in_a_street(shared: Path, real: Callable[[str], PersonDetector], name: str) -> None:
    picture = np.asarray(cv2.imread(str(shared / "data" / "images" / "dope_015994080.jpg")), np.uint8)
    boxes, score = real(name)(picture)
    assert 5 <= len(boxes) <= 9
    assert (np.diff(score) <= 0).all()
    assert (boxes >= 0).all()
    assert (boxes <= [1279, 719, 1279, 719]).all()
    assert len(real(name)(np.full((240, 320, 3), 127, np.uint8))[0]) == 0
