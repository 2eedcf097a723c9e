"""Calibration samples are what the runtime gives to a network; pictures that do not serve are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.export.precision.calibration import (
    BUNDLED,
    HELD_OUT,
    MOST_PEOPLE,
    boxes_of_manifest,
    samples,
)
from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Frame, read_image
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.spec import (
    AnySpec,
    CropInput,
    DetectorInput,
    DetectorSpec,
    InputSpec,
    PartSpec,
    StudentSpec,
    TopDownSpec,
    WeightsSpec,
)

WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CROPS = TopDownSpec("crops", "simcc", CropInput(64, 48, MEAN, STD, "rgb"), "coco17", WEIGHTS)
FRAMES = DetectorSpec("frames", "suppressed", DetectorInput(64, 96, MEAN, STD, "bgr"), WEIGHTS)
DOPE = StudentSpec(
    "dope",
    InputSpec(96, 128, 96, 128, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    {"body": PartSpec(13, 4, {"K": 2}), "hand": PartSpec(21, 2, {"K": 1}), "face": PartSpec(84, 1, {"K": 1})},
    WEIGHTS,
)
Pictures = Callable[..., Path]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """`pictures(3)`: a folder of so many different ones, of several sizes."""

    def write(count: int, name: str = "pictures") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for i in range(count):
            cv2.imwrite(str(folder / f"{i:02}.png"), noise(i))
        return folder

    return write


def noise(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (50 + 7 * (seed % 3), 70, 3)).astype(np.uint8)


class Recorder:
    """A network that keeps what it is asked and answers what it is told."""

    name = "recorder"

    def __init__(self, inputs: Mapping[str, tuple[int | None, ...]], answers: Mapping[str, Array]) -> None:
        self.inputs = tuple(TensorSpec(n, s, np.dtype(np.float32)) for n, s in inputs.items())
        self.outputs = tuple(TensorSpec(n, a.shape, a.dtype) for n, a in answers.items())
        self.asked: list[list[Array]] = []
        self._answers = tuple(answers.values())

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        self.asked.append([np.array(array) for array in inputs])
        return self._answers


def two_boxes(frame: Frame) -> NDArray[np.float32]:
    height, width = frame.image.shape[:2]
    return np.array([[2, 3, width - 20, height - 4], [10, 5, 40, 45]], np.float32)


# --- the very inputs of the runtime -------------------------------------------------------------------------


def test_crops_are_the_pipelines(pictures: Pictures) -> None:
    folder = pictures(3)
    made = samples(CROPS, folder, boxes=two_boxes)
    answers = {
        n: np.zeros((2, *(s or 1 for s in shape[1:])), np.float32) for n, shape in CROPS.outputs.items()
    }
    student = Recorder(CROPS.inputs, answers)
    pose = TopDownPose(student, CROPS)
    for path in sorted(folder.iterdir()):
        image = read_image(path)
        pose(image, two_boxes(Frame(image, str(path))))
    asked = np.concatenate([crops for (crops,) in student.asked])
    np.testing.assert_array_equal(np.concatenate([s["image"] for s in made]), asked)
    assert [Path(name).name for name in made.names] == [n for i in range(3) for n in [f"{i:02}.png"] * 2]
    np.testing.assert_array_equal(made.boxes[:2], two_boxes(Frame(noise(0), "")))
    assert made.sizes[::2] == ((50, 70), (57, 70), (64, 70))


def test_frames_of_detectors_are_the_pipelines(pictures: Pictures) -> None:
    folder = pictures(2)
    answers = {"dets": np.zeros((1, 0, 5), np.float32), "labels": np.zeros((1, 0), np.int64)}
    network = Recorder(FRAMES.inputs, answers)
    detect = PersonDetector(network, FRAMES)
    for path in sorted(folder.iterdir()):
        detect(read_image(path))
    made = samples(FRAMES, folder)
    for sample, (asked,) in zip(made, network.asked, strict=True):
        np.testing.assert_array_equal(sample["image"], asked)
    assert made.boxes.shape == (0, 4)


def test_frames_of_dope_are_the_pipelines(
    pictures: Pictures, one_body: Callable[..., dict[str, Array]]
) -> None:
    folder = pictures(2)
    network = Recorder(DOPE.inputs, one_body(DOPE))
    pose = DopePose(network, DOPE)
    for path in sorted(folder.iterdir()):
        pose(read_image(path))
    for sample, (image, size) in zip(samples(DOPE, folder), network.asked, strict=True):
        np.testing.assert_array_equal(sample["image"], image)
        np.testing.assert_array_equal(sample["size"], size)


def test_they_can_be_kept_and_made_again(pictures: Pictures) -> None:
    made = samples(CROPS, pictures(3), boxes=two_boxes)
    first, again = list(made), list(made)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    assert not np.array_equal(first[0]["image"], first[1]["image"])


# --- which pictures -----------------------------------------------------------------------------------------


def names(spec: AnySpec, folder: Path, **options: Any) -> list[str]:
    return [Path(name).stem for name in samples(spec, folder, **options).names]


def test_they_are_spread_over_the_source(pictures: Pictures) -> None:
    assert names(DOPE, pictures(10), count=4) == ["00", "03", "06", "09"]


def test_a_source_split_in_two(pictures: Pictures) -> None:
    folder = pictures(9)
    assert names(DOPE, folder, part="held out") == ["01", "04", "07"]
    assert names(DOPE, folder, part="to calibrate") == ["00", "02", "03", "05", "06", "08"]
    assert names(DOPE, folder, part="to calibrate", count=2) == ["00", "08"]


def test_the_hash_is_of_all_that_goes_in(pictures: Pictures) -> None:
    folder = pictures(4)
    of_two = samples(CROPS, folder, boxes=two_boxes)
    assert samples(CROPS, pictures(4, "copy"), boxes=two_boxes).sha256 == of_two.sha256
    assert samples(CROPS, folder).sha256 != of_two.sha256
    assert samples(CROPS, folder, count=3, boxes=two_boxes).sha256 != of_two.sha256


def test_frames_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (70, 50))
    for i in range(9):
        writer.write(np.full((50, 70, 3), 20 * i, np.uint8))
    writer.release()
    made = samples(DOPE, path, count=3)
    assert [name.rpartition("#")[2] for name in made.names] == ["0", "4", "8"]
    assert [float(s["image"][0, 0, 5, 5]) for s in made] == sorted(
        float(s["image"][0, 0, 5, 5]) for s in made
    )


def test_a_crowd_does_not_decide_alone(pictures: Pictures) -> None:
    crowd = np.tile(np.array([[5, 5, 30, 40]], np.float32), (9, 1))
    made = samples(CROPS, pictures(2), boxes=lambda frame: crowd)
    assert len(made) == len(made.boxes) == 2 * MOST_PEOPLE


def test_the_bundled_pictures_tell_their_people() -> None:
    made, apart = samples(CROPS), samples(CROPS, HELD_OUT)
    assert made.pictures == 64
    assert apart.pictures == 32
    assert made.sha256 != apart.sha256
    find = boxes_of_manifest(BUNDLED)
    assert find is not None
    assert len(made) == sum(
        min(len(find(Frame(noise(0), p.name))), MOST_PEOPLE) for p in BUNDLED.glob("*.jpg")
    )
    assert made.without_people == 1


def test_a_manifest_of_something_else_tells_nobody(pictures: Pictures) -> None:
    folder = pictures(2)
    assert boxes_of_manifest(folder) is None
    (folder / "manifest.json").write_text(json.dumps({"pictures": [{"file": "00.png"}]}))
    assert boxes_of_manifest(folder) is None


# --- pictures that do not serve -----------------------------------------------------------------------------


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no picture"):
        samples(DOPE, tmp_path)


def test_unreadable_pictures_are_refused_all_together(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_text("no picture")
    with pytest.raises(SourceError, match="not a picture"):
        samples(DOPE, tmp_path)


def test_unreadable_pictures_among_others_are_counted(pictures: Pictures) -> None:
    folder = pictures(3)
    (folder / "99.png").write_text("no picture")
    made = samples(DOPE, folder)
    assert made.pictures == 3
    assert any(w.startswith("1 of the pictures cannot be read") for w in made.warnings)


@pytest.mark.parametrize("times", [1, 5])
def test_one_picture_is_refused_however_often_it_is_there(tmp_path: Path, times: int) -> None:
    for i in range(times):
        cv2.imwrite(str(tmp_path / f"{i}.png"), noise(0))
    with pytest.raises(SourceError, match="one picture" + (f", {times} times over" if times > 1 else "")):
        samples(DOPE, tmp_path)


def test_a_picture_that_is_there_twice_counts_once(pictures: Pictures) -> None:
    folder = pictures(3)
    cv2.imwrite(str(folder / "again.png"), noise(1))
    made = samples(DOPE, folder)
    assert len(made) == made.pictures == 3
    assert any(w.startswith("1 pictures are there more than once") for w in made.warnings)


def test_pictures_without_people_are_counted(pictures: Pictures) -> None:
    def in_the_first(frame: Frame) -> NDArray[np.float32]:
        return two_boxes(frame) if "00" in frame.name else np.zeros((0, 4), np.float32)

    folder = pictures(3)
    crops = samples(CROPS, folder, boxes=in_the_first)
    assert (len(crops), crops.without_people) == (2, 2)
    assert "2 of 3 pictures have nobody in them" in crops.warnings
    frames = samples(DOPE, folder, boxes=in_the_first)
    assert (len(frames), frames.without_people) == (3, 2)


def test_nobody_at_all_is_refused(pictures: Pictures) -> None:
    with pytest.raises(SourceError, match="nobody was found in the 2 pictures"):
        samples(CROPS, pictures(2), boxes=lambda frame: np.zeros((0, 4), np.float32))


def test_few_pictures_are_warned_about(pictures: Pictures) -> None:
    assert samples(DOPE, pictures(3)).warnings[-1].endswith("3 different pictures; 64 or more are advised")


def test_a_webcam_and_a_count_of_one_are_refused(pictures: Pictures) -> None:
    with pytest.raises(SourceError, match="never ends"):
        samples(DOPE, "0")
    with pytest.raises(ValueError, match="count is 1"):
        samples(DOPE, pictures(2), count=1)
