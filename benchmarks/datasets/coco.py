"""COCO keypoints and COCO-WholeBody 1.0: the people that are marked in photographs.

Both are one JSON file of `images` and `annotations` (cocodataset.org/#format-data). COCO-WholeBody
(jin-s13/COCO-WholeBody) adds `foot_kpts`, `face_kpts`, `lefthand_kpts` and `righthand_kpts` to each person.
A keypoint is x, y, v: v = 0 where it is not labelled; COCO-WholeBody also writes an annotator's confidence
as v, and everything above 0 is labelled. Coordinates are taken as they stand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Picture, Truth
from wholebody.benchmarks.datasets.registry import require_files, source
from wholebody.benchmarks.metrics.coco_ap import TruePeople
from wholebody.runtime.errors import SourceError
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133, Skeleton

__all__ = ["CocoDataset", "CocoPicture", "read_coco", "read_coco_folder"]

Entries = Mapping[str, Any]
WHOLEBODY_FIELDS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")  # after `keypoints`
FIELD_LENGTHS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoPicture(Picture):
    """One photograph and everybody marked in it; `truth` holds those with a labelled keypoint."""

    id: int
    width: int
    height: int
    people: TruePeople


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """The photographs of one annotation file; `skeleton` is COCO17 or WHOLEBODY133; sha256 is the file's."""

    annotations: Path
    sha256: str
    skeleton: Skeleton
    pictures: tuple[CocoPicture, ...]


def read_coco_folder(folder: Path, name: str) -> CocoDataset:
    """Read a folder as it is published: `annotations` and `val2017`. name: "coco" or "coco-wholebody".

    Raises SourceError as `read_coco` does, and where something is missing.
    """
    (annotations, *_), _ = require_files(folder, name).values()
    return read_coco(annotations, folder / source(name).files[1], wholebody=name == "coco-wholebody")


def read_coco(annotations: Path, images: Path, *, wholebody: bool = False) -> CocoDataset:
    """Read an annotation file; `images` is the folder of its photographs, which are not opened yet.

    Raises SourceError where the file is not COCO keypoints or COCO-WholeBody (or just the former, with
    `wholebody`), or photographs are missing.
    """
    content = _bytes(annotations)
    try:
        dataset = _dataset(
            _json(content, annotations), annotations, images, hashlib.sha256(content).hexdigest()
        )
    except Malformed as fault:
        raise SourceError(f"{annotations}: {fault}; it must be COCO keypoints or COCO-WholeBody") from None
    if wholebody and dataset.skeleton is not WHOLEBODY133:
        raise SourceError(
            f"{annotations} has the 17 keypoints of COCO alone: use --dataset coco, or the file of "
            f"COCO-WholeBody, from {source('coco-wholebody').url}"
        )
    _require_photographs(dataset, images)
    return dataset


def _require_photographs(dataset: CocoDataset, folder: Path) -> None:
    missing = [picture.name for picture in dataset.pictures if not picture.path.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SourceError(
            f"{folder} lacks {', '.join(missing[:3])}{more} of the {len(dataset.pictures)} photographs that "
            f"{dataset.annotations.name} names: give their folder, or get them at {source('coco').url}"
        )


class Malformed(Exception):
    """What is wrong with an annotation file, and where in it."""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its name") from None


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise SourceError(f"{path} is no JSON file, or is cut short; download it again") from None


def _dataset(data: Any, path: Path, folder: Path, sha256: str) -> CocoDataset:
    pictures = {}
    for where, entry in _objects(data, "images"):
        picture = _whole_number(entry, "id", where)
        if picture in pictures:
            raise Malformed(f"{where}: id {picture} is there twice")
        pictures[picture] = where, entry
    person = _person_category(data)
    people: dict[int, list[_Person]] = {picture: [] for picture in pictures}
    entries = [
        (w, e) for w, e in _objects(data, "annotations") if _whole_number(e, "category_id", w) == person
    ]
    skeleton = WHOLEBODY133 if entries and set(WHOLEBODY_FIELDS) & set(entries[0][1]) else COCO17
    for where, entry in entries:
        picture = _whole_number(entry, "image_id", where)
        if picture not in people:
            raise Malformed(f"{where}: image_id {picture} is not among the images")
        people[picture].append(_person(entry, where, skeleton))
    return CocoDataset(
        path,
        sha256,
        skeleton,
        tuple(_picture(e, w, folder, people[picture], skeleton) for picture, (w, e) in pictures.items()),
    )


def _person_category(data: Entries) -> int:
    for where, entry in _objects(data, "categories"):
        if entry.get("name") == "person":
            return _whole_number(entry, "id", where)
    raise Malformed("no category is named person")


@dataclass(frozen=True, eq=False)
class _Person:
    box: NDArray[np.float32]
    area: float
    crowd: bool
    keypoints: NDArray[np.float32]  # (K, 3): x, y, v


def _person(entry: Entries, where: str, skeleton: Skeleton) -> _Person:
    x, y, width, height = _numbers(entry, "bbox", where, 4)
    (area,) = _numbers({"area": [entry.get("area")]}, "area", where, 1)
    if min(width, height, area) < 0:
        raise Malformed(f"{where}: a box or an area is negative")
    names = ("keypoints", *WHOLEBODY_FIELDS) if skeleton is WHOLEBODY133 else ("keypoints",)
    values = [value for name in names for value in _numbers(entry, name, where, 3 * FIELD_LENGTHS[name])]
    return _Person(
        np.array([x, y, x + width, y + height], np.float32),
        area,
        _whole_number(entry, "iscrowd", where) == 1,
        np.array(values, np.float32).reshape(-1, 3),
    )


def _picture(
    entry: Entries, where: str, folder: Path, people: Sequence[_Person], skeleton: Skeleton
) -> CocoPicture:
    keypoints = np.array([p.keypoints for p in people], np.float32).reshape(-1, len(skeleton), 3)
    marked = TruePeople(
        boxes=np.array([p.box for p in people], np.float32).reshape(-1, 4),
        area=np.array([p.area for p in people], np.float32),
        crowd=np.array([p.crowd for p in people], np.bool_),
        keypoints=keypoints[..., :2],
        labelled=keypoints[..., 2] > 0,
    )
    name = _file_name(entry, where)
    return CocoPicture(
        name=name,
        path=folder / name,
        truth=_truth(marked),
        id=_whole_number(entry, "id", where),
        width=_whole_number(entry, "width", where),
        height=_whole_number(entry, "height", where),
        people=marked,
    )


def _truth(marked: TruePeople) -> Truth:
    judged = marked.judged()
    labelled = marked.labelled[judged]
    keypoints = np.where(labelled[..., None], marked.keypoints[judged], np.nan).astype(np.float64)
    return Truth(keypoints, None, labelled, marked.boxes[judged].astype(np.float64))


def _file_name(entry: Entries, where: str) -> str:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or ".." in PurePosixPath(name).parts or Path(name).is_absolute():
        raise Malformed(f"{where}: file_name is {name!r}, no name inside a folder")
    return name


def _objects(data: Any, name: str) -> list[tuple[str, Entries]]:
    """The objects of a list, each with its place in the file for messages."""
    values = data.get(name) if isinstance(data, dict) else None
    if not isinstance(values, list):
        raise Malformed(f"no list of {name}")
    for i, value in enumerate(values):
        if not isinstance(value, dict):
            raise Malformed(f"{name}[{i}] is no object")
    return [(f"{name}[{i}]", value) for i, value in enumerate(values)]


def _whole_number(entry: Entries, name: str, where: str) -> int:
    value = entry.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{where}: {name} is {value!r:.40}, no whole number")
    return value


def _numbers(entry: Entries, name: str, where: str, count: int) -> list[float]:
    values = entry.get(name)
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} values" if isinstance(values, list) else f"{values!r:.40}"
        raise Malformed(f"{where}: {name} is {found}, not {count} numbers")
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e9 for v in values):
        raise Malformed(f"{where}: {name} holds something that is no finite number")
    return values
