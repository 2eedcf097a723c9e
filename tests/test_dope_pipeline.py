"""The DOPE pipeline on a fake network: which pixels go in, what is done with what comes out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from wholebody.runtime.backends.backend import TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.errors import CheckpointError
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.pipelines.dope import DopePose, Selection
from wholebody.runtime.skeletons import DOPE
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

FLOAT = np.dtype(np.float32)
SPEC = StudentSpec(
    name="tiny",
    input=InputSpec(48, 64, 48, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    parts={
        "body": PartSpec(13, 4, {"K": 2}),
        "hand": PartSpec(21, 2, {"K": 1}),
        "face": PartSpec(84, 1, {"K": 1}),
    },
    weights=WeightsSpec("made up", "0" * 64, "none"),
)
IMAGE = TensorSpec("image", (1, 3, 48, 64), FLOAT)
SIZE = TensorSpec("size", (2,), FLOAT)
BODY, HAND, FACE = DOPE.parts["body"], DOPE.parts["right_hand"], DOPE.parts["face"]


def outputs(n: int = 8) -> dict[str, np.ndarray]:
    """N proposals, all of score 0: nobody."""
    rng = np.random.default_rng(0)
    arrays = {"boxes": np.tile(np.array([8, 4, 40, 44], np.float32), (n, 1))}
    for name, part in SPEC.parts.items():
        arrays[f"{name}_scores"] = np.zeros((n, part.classes + 1), np.float32)
        arrays[f"{name}_pose2d"] = rng.uniform(10, 40, (n, part.classes, part.joints, 2)).astype(np.float32)
        arrays[f"{name}_pose3d"] = rng.uniform(-1, 1, (n, part.classes, part.joints, 3)).astype(np.float32)
    return arrays


def pipeline(arrays: dict[str, np.ndarray], **options: Any) -> DopePose:
    return DopePose(FakeBackend((IMAGE, SIZE), arrays), SPEC, **options)


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("selection", ["ppi", "nms"])
@pytest.mark.parametrize("n", [0, 8])
def test_nobody(selection: str, n: int) -> None:
    people = pipeline(outputs(n), selection=selection)(picture())
    assert len(people) == 0
    assert people.skeleton is DOPE
    assert set(people.metadata) == {"backend", "times_ms"}


@pytest.mark.parametrize("selection", ["ppi", "nms"])
def test_one_body_in_pixels_of_the_picture(selection: str) -> None:
    arrays = outputs()
    arrays["body_scores"][3, 1] = 0.9
    people = pipeline(arrays, selection=selection)(picture(100, 64))
    assert people.has_part("body").tolist() == [True]
    assert people.has_part("face").tolist() == [False]
    # 48 / 100 of 64 x 100 pixels are 30 x 48, the width rounded down from 30.72
    expected = arrays["body_pose2d"][3, 0] * (64 / 30, 100 / 48)
    np.testing.assert_allclose(people.keypoints[0, BODY], expected, rtol=1e-5)
    assert people.score.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize("part", ["hand", "face"])
def test_parts_without_a_body_are_people(part: str) -> None:
    arrays = outputs()
    arrays[f"{part}_scores"][0, 1] = 0.8
    people = pipeline(arrays)(picture())
    where = HAND if part == "hand" else FACE
    assert len(people) == 1
    np.testing.assert_allclose(people.keypoints[0, where], arrays[f"{part}_pose2d"][0, 0], rtol=1e-5)


def test_selection_merges_or_chooses() -> None:
    arrays = outputs()
    arrays["body_scores"][:2, 1] = 0.6, 0.4
    arrays["body_pose2d"][1, 0] = arrays["body_pose2d"][0, 0] + 1
    arrays["body_pose3d"][1, 0] = arrays["body_pose3d"][0, 0]
    merged, chosen = (pipeline(arrays, selection=s)(picture()) for s in ("ppi", "nms"))
    first = arrays["body_pose2d"][0, 0]
    np.testing.assert_allclose(merged.keypoints[0, BODY], first + 0.4, rtol=1e-4)
    np.testing.assert_allclose(chosen.keypoints[0, BODY], first, rtol=1e-5)
    assert (len(merged), len(chosen)) == (1, 1)


def test_group_by_decides_whose_boxes_tell_people_apart() -> None:
    arrays = outputs()
    arrays["body_scores"][:2, 1] = 0.6, 0.5
    arrays["body_pose2d"][1, 0] = arrays["body_pose2d"][0, 0] + (300, 0)  # same proposal, poses far apart
    assert len(pipeline(arrays, group_by="rpn")(picture(480, 640))) == 1
    assert len(pipeline(arrays, group_by="pose")(picture(480, 640))) == 2


def test_half_precision_outputs() -> None:
    arrays = outputs()
    arrays["body_scores"][3, 1] = 0.9
    people = pipeline({name: array.astype(np.float16) for name, array in arrays.items()})(picture())
    np.testing.assert_allclose(people.keypoints[0, BODY], arrays["body_pose2d"][3, 0], atol=0.05)


@pytest.mark.parametrize("inputs", [(IMAGE, SIZE), (SIZE, IMAGE)])
def test_the_network_gets_the_picture_and_its_size(inputs: tuple[TensorSpec, ...]) -> None:
    backend = FakeBackend(inputs, dict(reversed(outputs().items())))
    image = picture(100, 64)
    DopePose(backend, SPEC)(image)
    given = dict(zip((spec.name for spec in inputs), backend.calls[0], strict=True))
    assert given["size"].tolist() == [48, 30]
    assert all(given[spec.name].dtype == spec.dtype for spec in inputs)
    assert (given["image"] == preprocess(image, letterbox((100, 64), SPEC.input), SPEC.input)).all()


def test_metadata() -> None:
    people = pipeline(outputs(), metadata={"student": "tiny"})(picture())
    assert people.metadata["backend"] == "fake"
    assert people.metadata["student"] == "tiny"
    assert list(people.metadata["times_ms"]) == ["preprocess", "network", "postprocess"]
    assert all(0 <= ms < 10_000 for ms in people.metadata["times_ms"].values())


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1, 2, 3]],
        np.zeros((48, 64), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((1, 48, 64, 3), np.uint8),
        np.zeros((48, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((48, 0, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="the picture is") as caught:
        pipeline(outputs())(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (3000, 4000)])
def test_pictures_of_any_size(height: int, width: int) -> None:
    arrays = outputs()
    arrays["body_scores"][0, 1] = 0.9
    assert len(pipeline(arrays)(picture(height, width))) == 1


@pytest.mark.parametrize(("option", "value"), [("selection", "best"), ("group_by", "boxes")])
def test_unknown_options_are_refused(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is '{value}'; allowed are"):
        pipeline(outputs(), **{option: value})


def test_options_of_pose_proposal_integration_are_checked_at_once() -> None:
    spec = replace(SPEC, parts={**SPEC.parts, "face": PartSpec(84, 1, {"K": 1, "iou_func": "guess"})})
    with pytest.raises(CheckpointError, match="guess"):
        DopePose(FakeBackend((IMAGE, SIZE), outputs()), spec)


def test_several_threads_share_one_pipeline() -> None:
    arrays = outputs()
    arrays["body_scores"][0, 1] = 0.9
    pose = pipeline(arrays)
    pictures = [picture(48 + i, 64) for i in range(20)]
    alone = [pose(image).keypoints for image in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = [people.keypoints for people in pool.map(pose, pictures)]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("selection", ["ppi", "nms"])
def test_repr_says_what_runs(selection: str) -> None:
    pose = pipeline(outputs(), selection=cast(Selection, selection))
    assert repr(pose) == f"DopePose('tiny', 64x48, fp32, fake, {selection})"
