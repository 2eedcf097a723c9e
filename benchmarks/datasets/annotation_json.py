"""Annotation files: JSON as COCO lays it out (`images`, `annotations`), whose contents are not trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.registry import require_files
from wholebody.runtime.errors import SourceError

__all__ = [
    "Malformed",
    "annotated_images",
    "boxes",
    "digest",
    "entry",
    "find_annotations",
    "find_pictures",
    "keypoints",
    "numbers",
    "read_json",
    "text",
]

Doubles = NDArray[np.float64]
Entry = Mapping[str, Any]
LARGEST = 1e9  # no coordinate is larger
NAMED = 3  # as many missing pictures are named, the others counted


class Malformed(SourceError):
    """An annotation file that is not laid out as it should be."""


def find_annotations(folder: Path, dataset: str, patterns: Sequence[str], given: Path | None = None) -> Path:
    """The annotation file: the given one, or the first in the folder that a pattern, in their order, names.

    Raises SourceError where there is none, saying where it is had.
    """
    if given is not None:
        return given
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    require_files(folder, dataset, [" or ".join(patterns)])
    raise AssertionError("require_files refuses what no pattern names")


def find_pictures(
    folder: Path, dataset: str, names: Iterable[str], under: Sequence[str] = ("",)
) -> list[Path]:
    """The pictures of these names, each in the first of the folders `under` the data set's that holds it.

    Raises SourceError that names those that are missing and says where they are had, Malformed for a name
    that leaves the folder.
    """
    paths: list[Path] = []
    missing: list[str] = []
    for name in names:
        if not name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise Malformed(f"{dataset}: {name!r:.80} is no name of a picture inside a folder")
        places = [folder / place / name for place in under]
        found = next((place for place in places if place.is_file()), None)
        paths += [found] if found else []
        missing += [] if found else [name]
    if missing:
        more = [f"{len(missing) - NAMED} more pictures"] if len(missing) > NAMED else []
        require_files(folder, dataset, [*missing[:NAMED], *more])
    return paths


def digest(*paths: Path) -> str:
    """SHA-256 of files one after the other. Raises SourceError where one cannot be read."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(_bytes(path))
    return sha.hexdigest()


def read_json(path: Path) -> Any:
    """Raises SourceError where the file cannot be read or is no JSON."""
    try:
        return json.loads(_bytes(path))
    except (ValueError, RecursionError):
        raise SourceError(f"{path} is no JSON file, or is cut short; download it again") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its name") from None


def annotated_images(path: Path) -> Iterator[tuple[Entry, list[Entry]]]:
    """Each image of a file laid out as COCO's, with what is annotated in it, crowds left out.

    Raises SourceError.
    """
    data = read_json(path)
    images = _objects(data, "images", path)
    annotations: dict[Any, list[Entry]] = {image.get("id"): [] for image in images}
    for annotation in _objects(data, "annotations", path):
        image = annotation.get("image_id")
        if not isinstance(image, (int, str)) or image not in annotations:
            raise Malformed(f"{path}: an annotation is of image {image!r:.40}, which is not among the images")
        if annotation.get("iscrowd") != 1:
            annotations[image].append(annotation)
    for image in images:
        yield image, annotations[image.get("id")]


def _objects(data: Any, name: str, path: Path) -> list[Entry]:
    values = data.get(name) if isinstance(data, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise Malformed(f"{path}: no list of {name}, as COCO lays annotations out")
    return values


def entry(data: Any, *keys: object, path: Path) -> Any:
    """What lies under these keys, one inside the other. Raises Malformed where nothing does."""
    for depth, key in enumerate(keys, 1):
        if not isinstance(data, dict) or str(key) not in data:
            raise Malformed(f"{path}: nothing under {' / '.join(map(str, keys[:depth]))}")
        data = data[str(key)]
    return data


def text(data: Entry, name: str, path: Path, allowed: Sequence[str] = ()) -> str:
    """Raises Malformed where it is no text, or none of those that are allowed."""
    value = data.get(name)
    if not isinstance(value, str) or (allowed and value not in allowed):
        raise Malformed(f"{path}: {name} is {value!r:.40}, not {' or '.join(allowed) or 'text'}")
    return value


def numbers(value: Any, shape: tuple[int, ...], what: str, path: Path) -> Doubles:
    """Numbers in nested or flat lists, in this shape. Raises Malformed where they are not that."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.zeros(0, np.object_)
    if array.dtype.kind not in "iufb" or array.size != np.prod(shape):
        raise Malformed(f"{path}: {what} is not {' x '.join(map(str, shape))} numbers")
    if not (np.abs(array) < LARGEST).all():
        raise Malformed(f"{path}: {what} holds something that is no finite number")
    return array.astype(np.float64).reshape(shape)


def keypoints(annotation: Entry, joints: int, path: Path) -> Doubles:
    """(joints, 2) pixels; NaN where v = 0: not labelled. Raises Malformed."""
    values = numbers(annotation.get("keypoints"), (joints, 3), "keypoints", path)
    return np.where(values[:, 2:] > 0, values[:, :2], np.nan)


def boxes(annotations: Sequence[Entry], path: Path) -> Doubles:
    """(G, 4) x0 y0 x1 y1 of each annotation's `bbox`: x, y, width, height. Raises Malformed."""
    corners = np.zeros((len(annotations), 4))
    for i, annotation in enumerate(annotations):
        corners[i] = numbers(annotation.get("bbox"), (4,), "bbox", path)
    corners[:, 2:] += corners[:, :2]
    return corners
