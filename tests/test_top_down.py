"""The top-down pipeline: boxes to crops to keypoints in the picture, on students that read bright dots."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.kernels.crop import crop_affines, crops
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133
from wholebody.runtime.spec import CropInput, DepthSpec, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

FLOAT = np.dtype(np.float32)
WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
CROP = CropInput(64, 48, (0, 0, 0), (255, 255, 255), "rgb")
SPEC = TopDownSpec("dots", "simcc", CROP, COCO17.name, WEIGHTS)
BOX = [20.0, 10.0, 60.0, 70.0]


class DotReader:
    """A student to whom every keypoint is the brightest pixel of the crop, the red channel's by default."""

    name = "dots"

    def __init__(
        self, spec: TopDownSpec = SPEC, batch: int | None = None, dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        size = spec.input.height, spec.input.width
        self.inputs = (TensorSpec("image", (batch, 3, *size), np.dtype(dtype)),)
        self.outputs = tuple(TensorSpec(name, shape, FLOAT) for name, shape in spec.outputs.items())
        self.joints = len({"coco17": COCO17, "wholebody133": WHOLEBODY133}[spec.skeleton])
        self.spec = spec
        self.sizes: list[int] = []

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        (crops,) = inputs
        assert crops.dtype == self.inputs[0].dtype
        assert len(crops) == (self.inputs[0].shape[0] or len(crops))
        self.sizes.append(len(crops))
        light = cast("np.ndarray[Any, np.dtype[np.float32]]", crops)[:, :1].astype(np.float32)
        if self.spec.head == "heatmap":
            return (np.repeat(_shrunk(light, self.spec.udp), self.joints, axis=1),)
        x, y = (np.repeat(np.repeat(light.max(axis=axis), self.joints, axis=1), 2, axis=2) for axis in (2, 3))
        depth = self.spec.depth
        return (x, y) if depth is None else (x, y, np.zeros((*x.shape[:2], depth.bins), np.float32))


def _shrunk(light: np.ndarray, udp: bool) -> np.ndarray:
    """Maps of a quarter of the side: crop pixel p lies on map pixel round(p * map / crop)."""
    for axis in (2, 3):
        side = light.shape[axis]
        scale = (side // 4 - 1) / (side - 1) if udp else 1 / 4
        of_map = np.rint(np.arange(side) * scale).clip(max=side // 4 - 1)
        light = np.maximum.reduceat(light, np.searchsorted(of_map, np.arange(side // 4)), axis=axis)
    return light


def found_by(boxes: list[list[float]], score: list[float]) -> PersonDetector:
    """A detector that sees these people in every picture of 100 x 80."""
    dets = np.array([[*box, s] for box, s in zip(boxes, score, strict=True)], np.float32).reshape(1, -1, 5)
    size = DetectorInput(80, 100, (0, 0, 0), (1, 1, 1), "bgr")
    spec = DetectorSpec("finder", "suppressed", size, WEIGHTS)
    image = TensorSpec("image", (1, 3, 80, 100), FLOAT)
    labels = np.zeros(dets.shape[:2], np.int64)
    return PersonDetector(FakeBackend((image,), {"dets": dets, "labels": labels}), spec)


def picture(*dots: tuple[int, int], level: int = 255) -> np.ndarray:
    """100 x 80 pixels, dark but for 3 x 3 dots."""
    image = np.zeros((80, 100, 3), np.uint8)
    for x, y in dots:
        image[y - 1 : y + 2, x - 1 : x + 2] = level // 2
        image[y, x] = level
    return image


def pose(spec: TopDownSpec = SPEC, detector: PersonDetector | None = None, **options: Any) -> TopDownPose:
    return TopDownPose(DotReader(spec), spec, detector, **options)


# --- where nobody is ------------------------------------------------------------------------------


def test_no_boxes_are_no_people() -> None:
    student = DotReader()
    nobody = TopDownPose(student, SPEC, found_by([], []))
    for people in (
        nobody(picture((40, 40))),
        nobody(picture((40, 40)), []),
        nobody(picture(), np.zeros((0, 4))),
    ):
        assert len(people) == 0
        assert people.skeleton is COCO17
        assert people.metadata["detector"] == "finder"
        assert list(people.metadata["times_ms"]) == ["detect", "preprocess", "network", "postprocess"]
    assert student.sizes == []


def test_nobody_in_3d_has_no_3d() -> None:
    spec = replace(SPEC, depth=DepthSpec(64, 2.0))
    people = pose(spec, found_by([], []))(picture())
    assert people.keypoints3d is not None
    assert people.keypoints3d.shape == (0, 17, 3)


def test_the_whole_picture_is_a_person_only_if_asked() -> None:
    with pytest.raises(ValueError, match=r"no boxes and no detector: .*full_frame=True"):
        pose()(picture((40, 40)))
    people = pose(full_frame=True)(picture((40, 40)))
    assert people.boxes.tolist() == [[0, 0, 100, 80]]
    np.testing.assert_allclose(people.keypoints[0, 0], (40, 40), atol=2)
    assert len(pose(detector=found_by([], []), full_frame=True)(picture((40, 40)))) == 0


# --- from the picture to the crop and back --------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [SPEC, replace(SPEC, head="heatmap"), replace(SPEC, head="heatmap", udp=True)]
)
@pytest.mark.parametrize("flip_test", [False, True])
@given(x=st.integers(25, 55), y=st.integers(15, 65))
def test_a_dot_is_found_where_it_is(spec: TopDownSpec, flip_test: bool, x: int, y: int) -> None:
    people = pose(spec, flip_test=flip_test)(picture((x, y)), [BOX])
    assert people.scores.min() > 0
    assert np.abs(people.keypoints[0] - (x, y)).max() <= (4 if spec.head == "heatmap" else 1.5)


def test_the_flip_test_moves_no_dot_to_one_side() -> None:
    plain = replace(SPEC, head="heatmap")
    places = range(25, 55)
    for flip_test in (False, True):
        found = [pose(plain, flip_test=flip_test)(picture((x, 40)), [BOX]).keypoints[0, 0, 0] for x in places]
        assert abs(np.mean(np.subtract(found, places))) < 1


@pytest.mark.parametrize("udp", [False, True])
def test_the_student_gets_the_crops_it_was_trained_on(udp: bool) -> None:
    spec = replace(SPEC, head="heatmap", udp=udp)
    student = FakeBackend(DotReader(spec).inputs, {"heatmaps": np.zeros((2, 17, 16, 12), np.float32)})
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    boxes = np.array([BOX, [50, 0, 99, 30]], np.float32)
    TopDownPose(student, spec)(image, boxes)
    expected = crops(image, crop_affines(boxes, (48, 64), 1.25, udp=udp), CROP)
    np.testing.assert_array_equal(cast("Any", student.calls[0][0]), expected)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_channels_come_in_the_order_of_the_description(color: Any) -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    image[..., 2] = 255  # red
    spec = replace(SPEC, input=replace(CROP, color=color))
    people = pose(spec)(image, [BOX])
    assert (people.scores[0, 0] > 0) == (color == "rgb")


def test_half_precision_and_outputs_in_any_order() -> None:
    student = DotReader(dtype=np.float16)
    plain = pose()(picture((40, 40)), [BOX])
    half = TopDownPose(student, SPEC)(picture((40, 40)), [BOX])
    np.testing.assert_allclose(half.keypoints, plain.keypoints, atol=0.6)
    x, y = DotReader()(np.random.default_rng(0).random((1, 3, 64, 48), np.float32))
    turned = FakeBackend(student.inputs, {"simcc_y": y, "other": x, "simcc_x": x})
    straight = FakeBackend(student.inputs, {"simcc_x": x, "simcc_y": y})
    a, b = (TopDownPose(backend, SPEC)(picture(), [BOX]) for backend in (turned, straight))
    np.testing.assert_array_equal(a.keypoints, b.keypoints)


@pytest.mark.parametrize(
    ("shapes", "got"),
    [
        ([(2, 50, 96), (2, 50, 128)], "2x50x96, 2x50x128"),  # of other keypoints
        ([(2, 17, 90), (2, 17, 128)], "2x17x90, 2x17x128"),  # of another size
        ([(1, 17, 96), (1, 17, 128)], "1x17x96, 1x17x128"),  # one for both crops
        ([(2, 17, 96, 2), (2, 17, 128, 2)], "2x17x96x2, 2x17x128x2"),
    ],
)
def test_answers_that_are_not_those_of_the_description(shapes: list[tuple[int, ...]], got: str) -> None:
    image = TensorSpec("image", (None, 3, 64, 48), FLOAT)
    answers = dict(zip(SPEC.outputs, (np.ones(shape, np.float32) for shape in shapes), strict=True))
    pose = TopDownPose(FakeBackend((image,), answers), SPEC)
    with pytest.raises(ArtefactError, match=rf"dots answers {got}, .*allowed is simcc_x \(2x17x96\)"):
        pose(picture(), [BOX, BOX])


@pytest.mark.parametrize(
    "options",
    [
        {"max_people": 0},
        {"nms_threshold": 1.5},
        {"nms_threshold": np.nan},
        {"min_keypoint_score": np.inf},
        {"buckets": []},
        {"buckets": [0, 1]},
        {"buckets": [4, 2]},
    ],
)
def test_numbers_that_are_not_allowed(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} is .*; allowed is"):
        TopDownPose(DotReader(), SPEC, **options)


def test_a_student_that_takes_whole_numbers() -> None:
    student = DotReader()
    student.inputs = (replace(student.inputs[0], dtype=np.dtype(np.uint8)),)
    with pytest.raises(ArtefactError, match=r"dots takes uint8 pixels.*allowed are float32"):
        TopDownPose(student, SPEC)
    TopDownPose(student, replace(SPEC, input=replace(CROP, std=(1, 1, 1))))  # its levels stay what they are


def test_outputs_that_the_description_does_not_name() -> None:
    backend = FakeBackend(DotReader().inputs, {"heatmaps": np.zeros((1, 17, 16, 12), np.float32)})
    with pytest.raises(
        ArtefactError, match="has the outputs heatmaps; its description names simcc_x, simcc_y"
    ):
        TopDownPose(backend, SPEC)


@pytest.mark.parametrize("size", ["t", "s"])
@pytest.mark.parametrize("whole", [False, True])
def test_golden_case(shared: Path, golden_rtmpose: Callable[[str], Any], size: str, whole: bool) -> None:
    """The published decoding on the case's answers; and with the network, from the picture on."""
    case = golden_rtmpose(size)
    numbers = case.numbers
    width, height = (int(side) for side in numbers["input_wh"])
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    spec = TopDownSpec("golden", "simcc", CropInput(height, width, mean, std, "rgb"), "wholebody133", WEIGHTS)
    image = TensorSpec("image", (None, 3, height, width), FLOAT)
    answers = {name: numbers[name] for name in ("simcc_x", "simcc_y")}
    student = _network(case.checkpoint, image) if whole else FakeBackend((image,), answers)
    boxes = numbers["boxes_xyxy"]
    people, kept = TopDownPose(student, spec, nms_threshold=1.0).estimate(
        case.image, boxes, np.ones(len(boxes), np.float32)
    )
    assert sorted(kept) == list(range(len(boxes)))
    np.testing.assert_array_equal(people.boxes, boxes[kept])
    apart = np.abs(people.keypoints - numbers["keypoints_image"][kept]).max(axis=2)
    assert apart.max() <= 0.01
    np.testing.assert_allclose(people.scores, numbers["keypoint_scores"][kept], rtol=0, atol=2e-4)


def _network(checkpoint: Path, image: TensorSpec) -> Any:
    import torch

    from wholebody.export.openmmlab import load_openmmlab

    class Network(FakeBackend):
        def __call__(self, *inputs: Array) -> tuple[Array, ...]:
            with torch.inference_mode():
                return tuple(answer.numpy() for answer in network(torch.from_numpy(inputs[0])))

    network = load_openmmlab(checkpoint).network
    return Network((image,), {"simcc_x": np.zeros(0), "simcc_y": np.zeros(0)})


# --- people ---------------------------------------------------------------------------------------


def test_detected_people_best_first_and_at_most_so_many() -> None:
    detector = found_by([[60, 10, 90, 70], BOX], [0.6, 0.9])
    image = picture((40, 40), (75, 30))
    everyone = pose(detector=detector)(image)
    np.testing.assert_allclose(everyone.boxes, [BOX, [60, 10, 90, 70]], atol=1e-4)
    np.testing.assert_allclose(everyone.keypoints[:, 0], [(40, 40), (75, 30)], atol=2)
    one = pose(detector=detector, max_people=1)(image)
    np.testing.assert_array_equal(one.keypoints, everyone.keypoints[:1])
    given = pose(detector=detector, max_people=1)(image, everyone.boxes)
    np.testing.assert_array_equal(given.keypoints, everyone.keypoints)
    with pytest.raises(ValueError, match="max_people is 0; allowed is 1 or more"):
        pose(max_people=0)


def test_the_score_is_the_boxs_times_the_mean_of_its_clear_keypoints() -> None:
    x = np.full((1, 17, 96), -1, np.float32)
    x[0, :, 10] = [0.9, 0.5, 0.2, 0.1, -0.5, *[0.0] * 12]
    y = np.repeat(x, 2, axis=2)[..., :128]
    student = FakeBackend(DotReader().inputs, {"simcc_x": x, "simcc_y": y})
    people = TopDownPose(student, SPEC, found_by([BOX], [0.5]))(picture())
    assert people.score.tolist() == pytest.approx([0.5 * 0.7])
    assert people.scores[0, :5].tolist() == pytest.approx([0.9, 0.5, 0.2, 0.1, 0])
    assert np.isnan(people.keypoints[0, 4:]).all()
    least = TopDownPose(student, SPEC, found_by([BOX], [0.5]), min_keypoint_score=0.95)(picture())
    assert least.score.tolist() == [0]


def test_two_boxes_around_one_person() -> None:
    twice = [[21.0, 10.0, 60.0, 70.0], BOX]
    assert len(pose()(picture((40, 40)), twice)) == 1
    assert len(pose(nms_threshold=1.0)(picture((40, 40)), twice)) == 2


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([60, 10, 20, 70], "is inverted"),
        ([20, 10, 20, 70], "has no area"),
        ([20, 10, float("nan"), 70], "is not finite"),
        ([120, 10, 160, 70], "lies outside the picture of 100 x 80 pixels"),
        ([-60, 10, -20, 70], "lies outside the picture"),
    ],
)
def test_boxes_that_cannot_be_looked_into(box: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^box 1 \(.*\) {reason}[^\n]*$"):
        pose()(picture(), [BOX, box])


def test_boxes_may_hang_over_the_edge() -> None:
    people = pose()(picture((3, 40)), [[-30, 10, 30, 70]])
    np.testing.assert_allclose(people.keypoints[0, 0], (3, 40), atol=2)


@pytest.mark.parametrize("boxes", [[1, 2, 3, 4], np.zeros((2, 5))])
def test_boxes_of_another_shape(boxes: Any) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        pose()(picture(), boxes)


@pytest.mark.parametrize("image", [None, np.zeros((80, 100), np.uint8), np.zeros((0, 100, 3), np.uint8)])
@pytest.mark.parametrize("boxes", [None, [BOX], []])
def test_pictures_that_are_none(image: Any, boxes: Any) -> None:
    with pytest.raises(ValueError, match="the picture is"):
        pose(detector=found_by([], []))(image, boxes)


def test_three_dimensions() -> None:
    depth = DepthSpec(96, 2.1744869)
    spec = TopDownSpec("deep", "simcc", CROP, WHOLEBODY133.name, WEIGHTS, depth=depth)
    rng = np.random.default_rng(0)
    answers = {
        name: rng.random((2, 133, cast("int", size[2])), np.float32) for name, size in spec.outputs.items()
    }
    answers["simcc_z"][..., 45:52] += 1
    answers["simcc_x"][1] += 1  # the second is the better one
    answers["simcc_y"][1] += 1
    boxes = [BOX, [60.0, 10.0, 90.0, 70.0]]
    people = TopDownPose(FakeBackend(DotReader().inputs, answers), spec)(picture(), boxes)
    assert people.boxes.tolist() == boxes[::-1]
    metres = (answers["simcc_z"].argmax(axis=2)[::-1] / 2 / (96 / 4) - 1) * 2.1744869
    hips = metres[:, [11, 12]].mean(axis=1, keepdims=True)
    keypoints3d = cast("np.ndarray[Any, np.dtype[np.float32]]", people.keypoints3d)
    np.testing.assert_allclose(keypoints3d[..., 2], metres - hips, atol=1e-5)
    np.testing.assert_allclose(keypoints3d[:, [11, 12]].mean(axis=1), 0, atol=1e-5)
    for flat, points in zip(keypoints3d[..., :2], people.keypoints, strict=True):
        metres_per_pixel = flat[:, 0].std() / points[:, 0].std()
        centre = points[[11, 12]].mean(axis=0)
        np.testing.assert_allclose(flat, metres_per_pixel * (points - centre), atol=1e-4)


# --- one for all ----------------------------------------------------------------------------------


def test_metadata() -> None:
    people = pose(detector=found_by([BOX], [0.9]), metadata={"student": "dots", "precision": "fp32"})(
        picture()
    )
    times = people.metadata["times_ms"]
    assert list(times) == ["detect", "preprocess", "network", "postprocess"]
    assert all(0 < ms < 10_000 for ms in times.values())
    named = {"backend": "dots", "detector": "finder", "student": "dots", "precision": "fp32"}
    assert {name: people.metadata[name] for name in named} == named
    assert "detector" not in pose()(picture(), [BOX]).metadata


def test_one_pipeline_for_several_threads() -> None:
    shared_pose = pose(detector=found_by([BOX, [60, 10, 90, 70]], [0.9, 0.8]))
    images = [picture((25 + x, 40), (65 + x // 2, 30)) for x in range(30)]
    alone = [shared_pose(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(shared_pose, images))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)


def test_what_it_is_in_one_line() -> None:
    assert repr(pose()) == "TopDownPose('dots', 48x64, fp32, dots, None)"
