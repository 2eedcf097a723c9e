"""The reader of COCO's annotation files: real ones, empty ones, and every way to be malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.benchmarks.datasets.coco import read_coco
from wholebody.runtime.errors import SourceError
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133

PERSON = {
    "id": 7, "image_id": 1, "category_id": 1, "bbox": [10.0, 20, 30, 40], "area": 600.5, "iscrowd": 0,
    "num_keypoints": 1, "keypoints": [12, 22, 2, 14, 24, 1, *[0] * 45],
}  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "one.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [PERSON],
}
WHOLEBODY = {
    "foot_kpts": [1] * 18,
    "face_kpts": [2.5] * 204,
    "lefthand_kpts": [3] * 63,
    "righthand_kpts": [0] * 63,
}


def change(path: str, value: Any) -> dict[str, Any]:
    """COCO with `value` at a place such as annotations.0.bbox."""
    data = deepcopy(COCO)
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    at: Any = data
    for key in way:
        at = at[key]
    at[last] = value
    return data


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """`write(data)`: the annotation file, in a folder with one.jpg, which is not opened."""
    (tmp_path / "one.jpg").touch()

    def written(data: Any) -> Path:
        path = tmp_path / "coco.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return written


def test_nobody(write: Callable[[Any], Path], tmp_path: Path) -> None:
    dataset = read_coco(write({**COCO, "images": [], "annotations": []}), tmp_path)
    assert dataset.pictures == ()
    (picture,) = read_coco(write({**COCO, "annotations": []}), tmp_path).pictures
    assert picture.people.boxes.shape == (0, 4)
    assert picture.people.keypoints.shape == (0, 17, 2)
    assert picture.people.judged().shape == (0,)


def test_one_person(write: Callable[[Any], Path], tmp_path: Path) -> None:
    dataset = read_coco(write(COCO), tmp_path)
    assert dataset.skeleton is COCO17
    (picture,) = dataset.pictures
    assert (picture.id, picture.path, picture.width, picture.height) == (1, tmp_path / "one.jpg", 64, 48)
    people = picture.people
    assert people.boxes.tolist() == [[10, 20, 40, 60]]
    assert (people.area.tolist(), people.crowd.tolist()) == ([600.5], [False])
    assert people.keypoints[0, :2].tolist() == [[12, 22], [14, 24]]
    assert people.labelled[0].tolist() == [True, True, *[False] * 15]
    assert people.judged().tolist() == [True]


def test_wholebody(write: Callable[[Any], Path], tmp_path: Path) -> None:
    dataset = read_coco(write({**COCO, "annotations": [{**PERSON, **WHOLEBODY}]}), tmp_path)
    assert dataset.skeleton is WHOLEBODY133
    people = dataset.pictures[0].people
    firsts = {name: people.keypoints[0, part.start, 0] for name, part in WHOLEBODY133.parts.items()}
    assert firsts == {"body": 12, "feet": 1, "face": 2.5, "left_hand": 3, "right_hand": 0}
    judged = {name: people.judged(part)[0] for name, part in WHOLEBODY133.parts.items()}
    assert judged == {"body": True, "feet": True, "face": True, "left_hand": True, "right_hand": False}


def test_who_is_judged(write: Callable[[Any], Path], tmp_path: Path) -> None:
    unlabelled = {**PERSON, "keypoints": [0] * 51}
    people = [PERSON, {**PERSON, "iscrowd": 1}, unlabelled]
    picture = read_coco(write({**COCO, "annotations": people}), tmp_path).pictures[0]
    assert picture.people.judged().tolist() == [True, False, False]


def test_things_are_passed_over(write: Callable[[Any], Path], tmp_path: Path) -> None:
    """The annotations of other categories have no keypoints."""
    cup = {"id": 8, "image_id": 1, "category_id": 47, "bbox": [1, 2, 3, 4]}
    dataset = read_coco(write({**COCO, "annotations": [cup, PERSON]}), tmp_path)
    assert len(dataset.pictures[0].people.area) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is no JSON file, or is cut short"),
        ('{"images": [', "is no JSON file, or is cut short"),
        ("[" * 100_000, "is no JSON file"),
        ([], "no list of images"),
        ({"images": []}, "no list of categories"),
        ({"images": {}, "categories": []}, "no list of images"),
        (change("images.0", 3), r"images\[0\] is no object"),
        (change("images.0.id", "1"), r"images\[0\]: id is '1', no whole number"),
        (change("images.0.width", None), r"images\[0\]: width is None, no whole number"),
        (
            change("images.0.file_name", "../one.jpg"),
            r"file_name is '\.\./one\.jpg', no name inside a folder",
        ),
        (change("images.0.file_name", "/one.jpg"), "no name inside a folder"),
        (change("images.0.file_name", ""), "no name inside a folder"),
        (change("images", COCO["images"] * 2), r"images\[1\]: id 1 is there twice"),
        (change("categories.0.name", "dog"), "no category is named person"),
        (change("annotations.0.image_id", 9), r"annotations\[0\]: image_id 9 is not among the images"),
        (change("annotations.0.bbox", [1, 2, 3]), r"annotations\[0\]: bbox is 3 values, not 4 numbers"),
        (change("annotations.0.bbox", [1, 2, -3, 4]), "a box or an area is negative"),
        (change("annotations.0.bbox", None), "bbox is None, not 4 numbers"),
        (change("annotations.0.area", "big"), "area holds something that is no finite number"),
        (change("annotations.0.area", float("nan")), "area holds something that is no finite number"),
        (change("annotations.0.iscrowd", None), "iscrowd is None, no whole number"),
        (change("annotations.0.keypoints", [0] * 50), "keypoints is 50 values, not 51 numbers"),
        (
            change("annotations.0.keypoints", [float("inf")] * 51),
            "keypoints holds something that is no finite",
        ),
        (change("annotations.0.foot_kpts", [0] * 18), "face_kpts is None, not 204 numbers"),
    ],
)
def test_malformed(write: Callable[[Any], Path], tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_coco(write(data), tmp_path)
    assert "\n" not in str(caught.value)
    assert "coco.json" in str(caught.value)


def test_what_is_missing(write: Callable[[Any], Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*none\.json: No such file"):
        read_coco(tmp_path / "none.json", tmp_path)
    with pytest.raises(
        SourceError, match=r"lacks two\.jpg of the 1 photographs that coco\.json names: give their folder"
    ):
        read_coco(write(change("images.0.file_name", "two.jpg")), tmp_path)


def test_coco_people(shared: Path) -> None:
    folder = shared / "data" / "images" / "coco_people"
    dataset = read_coco(folder / "person_keypoints.json", folder)
    assert dataset.skeleton is COCO17
    assert len(dataset.pictures) == 28
    assert sum(int(p.people.judged().sum()) for p in dataset.pictures) == 86
    assert sum(int((~p.people.crowd).sum()) for p in dataset.pictures) == 142


def test_coco_wholebody(shared: Path) -> None:
    folder = shared / "data" / "annotated" / "coco"
    dataset = read_coco(folder / "test_coco_wholebody.json", folder)
    assert dataset.skeleton is WHOLEBODY133
    judged = {
        name: sum(int(p.people.judged(part).sum()) for p in dataset.pictures)
        for name, part in WHOLEBODY133.parts.items()
    }
    assert judged == {"body": 12, "feet": 10, "face": 4, "left_hand": 5, "right_hand": 5}
    body = read_coco(folder / "test_coco.json", folder)
    for whole, part in zip(dataset.pictures, body.pictures, strict=True):
        np.testing.assert_array_equal(whole.people.keypoints[:, :17], part.people.keypoints)


def test_other_files_of_that_folder(shared: Path) -> None:
    folder = shared / "data" / "annotated" / "coco"
    with pytest.raises(SourceError, match="no list of images"):
        read_coco(folder / "test_coco_det_AP_H_56.json", folder)
    with pytest.raises(SourceError, match="keypoints is 399 values, not 51"):
        read_coco(folder / "test_keypoint_partition_metric.json", folder)
