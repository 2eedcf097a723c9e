"""H3WB: the JSON layout, made of the real sample too, and its publishers' figures written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.body_joints import arranged, names_of
from wholebody.benchmarks.datasets.h3wb import H3wb
from wholebody.benchmarks.datasets.registry import reader
from wholebody.benchmarks.metrics.joint_errors import known
from wholebody.benchmarks.metrics.space import pa_mpjpe
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, DOPE, WHOLEBODY133, Skeleton

Doubles = NDArray[np.float64]
BOX = [300.0, 100, 600, 900]


def sample(
    solid: Doubles, *, image: str = "S8/a/frame_0000.jpg", flat: Doubles | None = None
) -> dict[str, Any]:
    """As the publishers write one: `solid` (133, 3) mm."""

    def points(array: Doubles) -> dict[str, Any]:
        return {str(i): dict(zip("xyz", map(float, point), strict=False)) for i, point in enumerate(array)}

    edges = dict(zip(("x_min", "y_min", "x_max", "y_max"), BOX, strict=True))
    entry = {"image_path": image, "bbox": edges, "keypoints_3d": points(solid)}
    return entry if flat is None else {**entry, "keypoints_2d": points(flat)}


def write(folder: Path, samples: Any) -> Path:
    (folder / "RGBto3D_test_3d.json").write_text(json.dumps(samples))
    for entry in samples.values():
        picture = folder / "images" / entry["image_path"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.touch()
    return folder


def student(solid: Doubles, skeleton: Skeleton = WHOLEBODY133, score: float = 1, box: Any = BOX) -> People:
    """One person, of (133, 3) metres."""
    points = arranged(solid[None], WHOLEBODY133.joints, names_of(skeleton)).astype(np.float32)
    boxes, scores = np.array([box], np.float32), known(points).astype(np.float32)
    return People(points[..., :2], scores, points, boxes, np.array([score], np.float32), skeleton)


def body(seed: int) -> Doubles:
    """(133, 3) mm."""
    return np.random.default_rng(seed).normal(0, 300, (133, 3))


def value(dataset: H3wb, people: People, number: int = 0) -> dict[str, float]:
    tally = dataset.tally(people, dataset.pictures[number])
    assert list(tally) == [metric.name for metric in dataset.metrics]
    return {name: float(s[0] / c[0]) if c[0] else float("nan") for name, (s, c) in tally.items()}


def leaderboard(predicted: Doubles, target: Doubles) -> dict[str, float]:
    """`test_leaderboard.py` of H3WB, joint by joint."""
    pelvis = [(pose[11] + pose[12]) / 2 for pose in (predicted, target)]

    def mean(joints: range, ours: Doubles, theirs: Doubles) -> float:
        return float(np.mean([np.linalg.norm((predicted[j] - ours) - (target[j] - theirs)) for j in joints]))

    return {
        "mpjpe": mean(range(133), *pelvis),
        "mpjpe_body": mean(range(23), *pelvis),
        "mpjpe_face": mean(range(23, 91), *pelvis),
        "mpjpe_face_aligned": mean(range(23, 91), predicted[0], target[0]),
        "mpjpe_hands": mean(range(91, 133), *pelvis),
        "mpjpe_hands_aligned": (
            mean(range(91, 112), predicted[91], target[91])
            + mean(range(112, 133), predicted[112], target[112])
        )
        / 2,
    }


@pytest.fixture
def dataset(tmp_path: Path) -> H3wb:
    read = reader("h3wb")(write(tmp_path, {"0": sample(body(0))}))
    assert isinstance(read, H3wb)
    return read


def test_it_is_the_publishers_evaluation(dataset: H3wb) -> None:
    target = body(0)
    predicted = target + np.random.default_rng(1).normal(0, 40, target.shape)
    result = value(dataset, student(predicted / 1000))
    for name, expected in leaderboard(predicted, target).items():
        assert result[name] == pytest.approx(expected, rel=1e-4), name
    parts: dict[str, list[slice]] = {
        "pa_mpjpe": [slice(0, 133)],
        "pa_mpjpe_body": [slice(0, 23)],
        "pa_mpjpe_face": [slice(23, 91)],
        "pa_mpjpe_hands": [slice(91, 112), slice(112, 133)],
    }
    for name, slices in parts.items():
        each = [pa_mpjpe(predicted[None, s] / 1000, target[None, s] / 1000) for s in slices]
        assert result[name] == pytest.approx(np.mean(each), rel=1e-4), name
    assert [result[name] for name in ("found", "faces_found", "hands_found")] == [1, 1, 1]


def test_the_truth_is_perfect_wherever_it_is(dataset: H3wb) -> None:
    result = value(dataset, student(body(0) / 1000 + [3, 4, 5]))
    for metric in dataset.metrics:
        assert result[metric.name] == pytest.approx(1 if metric.unit == "share" else 0, abs=1e-2)


def test_dope_is_judged_by_what_it_has(dataset: H3wb) -> None:
    target = body(0)
    predicted = target + np.random.default_rng(1).normal(0, 40, target.shape)
    result = value(dataset, student(predicted / 1000, DOPE))
    all_of_it = leaderboard(predicted, target)
    for name in ("mpjpe_face", "mpjpe_hands", "mpjpe_hands_aligned"):
        assert result[name] == pytest.approx(all_of_it[name], rel=1e-4)
    limbs = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    pelvis = (predicted - target)[[11, 12]].mean(axis=0)
    expected = np.linalg.norm((predicted - target)[limbs] - pelvis, axis=1).mean()
    assert result["mpjpe_body"] == pytest.approx(expected, rel=1e-4)
    tip = (predicted - target)[53]  # of the nose: 30 of the 68
    expected = np.linalg.norm((predicted - target)[23:91] - tip, axis=1).mean()
    assert result["mpjpe_face_aligned"] == pytest.approx(expected, rel=1e-4)


def test_parts_that_were_not_seen(dataset: H3wb) -> None:
    predicted = body(0) / 1000
    predicted[23:91] = predicted[91:112] = np.nan
    result = value(dataset, student(predicted))
    assert (result["faces_found"], result["hands_found"], result["found"]) == (0, 0.5, 1)
    assert np.isnan(result["mpjpe_face"])
    assert result["mpjpe_hands_aligned"] == pytest.approx(0, abs=1e-3)
    everything = value(dataset, student(np.full((133, 3), np.nan)))
    assert (everything["found"], everything["hands_found"]) == (1, 0)
    assert np.isnan(everything["mpjpe"])


def test_nobody_found(dataset: H3wb) -> None:
    far = student(body(0) / 1000, box=[0, 0, 50, 50])
    for people in (People.empty(WHOLEBODY133, with_3d=True), People.empty(DOPE, with_3d=True), far):
        result = value(dataset, people)
        for metric in dataset.metrics:
            assert result[metric.name] == 0 if metric.unit == "share" else np.isnan(result[metric.name])


def test_nobody_there(dataset: H3wb) -> None:
    from dataclasses import replace

    picture = dataset.pictures[0]
    truth = picture.truth
    assert truth.keypoints3d is not None
    nobody = replace(
        truth,
        keypoints=truth.keypoints[:0],
        keypoints3d=truth.keypoints3d[:0],
        visible=truth.visible[:0],
        boxes=truth.boxes[:0],
    )
    for people in (student(body(0) / 1000), People.empty(DOPE, with_3d=True)):
        tally = dataset.tally(people, replace(picture, truth=nobody))
        assert not any(sums.any() or counts.any() for sums, counts in tally.values())


def test_the_surest_of_those_in_the_box(dataset: H3wb) -> None:
    one, other = student(body(0) / 1000), student(body(5) / 1000)
    assert one.keypoints3d is not None
    assert other.keypoints3d is not None
    for first, second, right in ((0.9, 0.1, True), (0.1, 0.9, False)):
        both = People(
            np.concatenate([one.keypoints, other.keypoints]),
            np.concatenate([one.scores, other.scores]),
            np.concatenate([one.keypoints3d, other.keypoints3d]),
            np.concatenate([one.boxes, other.boxes]),
            np.array([first, second], np.float32),
            WHOLEBODY133,
        )
        assert (value(dataset, both)["mpjpe"] < 1) == right


def test_real_sample(shared: Path, tmp_path: Path) -> None:
    """The pickled sample, which only this test unpickles, written as JSON."""
    source = shared / "data" / "annotated" / "h3wb" / "h3wb_train_bbox_subset.npz"
    with np.load(source, allow_pickle=True) as file:
        action = file["train_data"].item()["S5"]["Directions 1"]
        ((subject, name, camera, frame), box), *_ = file["bbox"].item().items()
    seen = action[camera]
    image = f"{subject}/Images/{name}.{camera}/frame_{frame}.jpg"
    entry = sample(seen["camera_3d"][0], image=image, flat=seen["pose_2d"][0]) | {"bbox": box}
    dataset = reader("h3wb")(write(tmp_path, {"0": entry}))
    assert isinstance(dataset, H3wb)
    (picture,) = dataset.pictures
    assert (picture.name, picture.group) == ("S5/Images/Directions 1.60457274/frame_2190.jpg", "S5")
    assert picture.truth.boxes.tolist() == [[346, 180, 523, 581]]
    assert picture.truth.keypoints3d is not None
    np.testing.assert_allclose(picture.truth.keypoints3d, seen["camera_3d"] / 1000)
    np.testing.assert_allclose(picture.truth.keypoints, seen["pose_2d"])
    people = student(seen["camera_3d"][0] / 1000, box=picture.truth.boxes[0])
    assert value(dataset, people)["mpjpe"] == pytest.approx(0, abs=1e-3)


def test_the_published_arrays_are_not_unpickled(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "annotated" / "h3wb" / "h3wb_train_bbox_subset.npz"
    (tmp_path / "RGBto3D_test_3d.json").write_bytes(source.read_bytes())
    (tmp_path / "images").mkdir()
    with pytest.raises(SourceError, match=r"RGBto3D_test_3d.json is no JSON file"):
        reader("h3wb")(tmp_path)


def test_pixels_may_be_missing(dataset: H3wb) -> None:
    truth = dataset.pictures[0].truth
    assert np.isnan(truth.keypoints).all()
    assert truth.visible.all()


def test_133_samples_are_no_points(tmp_path: Path) -> None:
    entry = sample(body(0))
    dataset = reader("h3wb")(write(tmp_path, {str(i): entry for i in range(133)}))
    assert len(dataset.pictures) == 133


def test_a_folder_that_lacks_files(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"lacks RGBto3D_test_3d.json, images of .* is had at http.*licence"
    ):
        reader("h3wb")(tmp_path)
    folder = write(tmp_path, {"0": sample(body(0))})
    (folder / "images/S8/a/frame_0000.jpg").unlink()
    with pytest.raises(SourceError, match=r"lacks S8/a/frame_0000.jpg of"):
        reader("h3wb")(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints_3d": {"0": {"x": 1, "y": 2, "z": 3}}}, "sample 0 is no picture with 133 points"),
        ({"keypoints_3d": None}, "sample 0 is no picture with 133 points"),
        ({"keypoints_2d": {"0": 1}}, "sample 0 is no picture with 133 points"),
        ({"bbox": {"x_min": 1}}, "sample 0 has no image_path, bbox of x_min"),
        ({"bbox": [1, 2, 3, 4]}, "sample 0 has no image_path, bbox of x_min"),
        ({"image_path": 7}, "sample 0 is no picture with 133 points"),
        ({"image_path": "../x.jpg"}, "no name of a picture inside a folder"),
    ],
)
def test_damaged_annotations(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, {"0": sample(body(0))})
    (tmp_path / "RGBto3D_test_3d.json").write_text(json.dumps({"0": sample(body(0)) | change}))
    with pytest.raises(SourceError, match=message):
        reader("h3wb")(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is no JSON file"), ("[]", "is no object of samples")]
)
def test_what_is_no_annotations(content: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, {"0": sample(body(0))})
    (tmp_path / "RGBto3D_test_3d.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        reader("h3wb")(tmp_path)


def test_which_students_can_be_judged(dataset: H3wb) -> None:
    for skeleton in (DOPE, WHOLEBODY133):
        dataset.require(skeleton, with_3d=True)
    with pytest.raises(ArtefactError, match="h3wb judges joints in space"):
        dataset.require(COCO17, with_3d=False)
    with pytest.raises(ArtefactError, match="coco_hand21 has no"):
        dataset.require(COCO_HAND21, with_3d=True)
