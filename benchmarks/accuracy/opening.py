"""The data set of a name, for students of a skeleton."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

from wholebody.benchmarks.accuracy.asking import Boxes
from wholebody.benchmarks.datasets.dataset import Dataset
from wholebody.benchmarks.datasets.registry import reader, source
from wholebody.runtime.errors import SourceError, WholebodyError
from wholebody.runtime.skeletons import DOPE, WHOLEBODY133, Skeleton

__all__ = ["Asked", "open_dataset", "title_of"]

COCO = ("coco", "coco-wholebody")
PICTURES = 500  # rendered ones
SIZE = (384, 384)


@dataclass(frozen=True)
class Asked:
    """A data set as it is asked for.

    folder        as it was published
    annotations   another annotation file than the one in the folder
    images        the folder of that file's pictures; None: its own
    pictures      how many: rendered ones, or the first ones of a data set; None: 500, or all
    size          (height, width) of rendered pictures
    """

    name: str
    folder: Path | None = None
    annotations: Path | None = None
    images: Path | None = None
    pictures: int | None = None
    size: tuple[int, int] | None = None


def open_dataset(asked: Asked, student: Skeleton, *, with_3d: bool, boxes: Boxes | None) -> Dataset:
    """Read it, without opening its pictures.

    Raises SourceError where a folder lacks files or has no picture, ArtefactError where students of this
    skeleton cannot be judged by it, WholebodyError for what does not belong to it.
    """
    dataset = _opened(asked, student, boxes)
    dataset.require(student, with_3d=with_3d)
    if not len(dataset.pictures):
        raise SourceError(f"{asked.annotations or asked.folder} names no picture: nothing can be measured")
    return dataset


def title_of(asked: Asked) -> str:
    """What was measured on, for a heading."""
    title = source(asked.name).title
    return title if asked.annotations is None else f"{asked.annotations.name} ({title.partition(',')[0]})"


def _opened(asked: Asked, student: Skeleton, boxes: Boxes | None) -> Dataset:
    entry = source(asked.name)
    if asked.name == "synthetic":
        return _synthetic(asked, student)
    if asked.size is not None:
        raise WholebodyError("--picture-size is for --dataset synthetic; other pictures have theirs")
    if asked.pictures is not None:
        raise WholebodyError(f"--pictures is for --dataset synthetic; {entry.title} is taken whole")
    if asked.name in COCO:
        return _coco(asked, student, boxes)
    if asked.folder is None:
        raise WholebodyError(
            f"--dataset {asked.name} needs --data: the folder of {entry.title}, which is had at {entry.url} "
            f"(licence: {entry.licence})"
        )
    read = reader(asked.name)
    if asked.annotations is None and asked.images is None:
        return read(asked.folder)
    if asked.images is not None or "annotations" not in inspect.signature(read).parameters:
        raise WholebodyError(f"{entry.title} is told by its folder alone: give --data")
    return read(asked.folder, annotations=asked.annotations)


def _synthetic(asked: Asked, student: Skeleton) -> Dataset:
    from wholebody.benchmarks.datasets.synthetic import Scenes
    from wholebody.benchmarks.datasets.synthetic_dope import SyntheticDope
    from wholebody.benchmarks.datasets.synthetic_top_down import SyntheticTopDown

    if asked.folder or asked.annotations or asked.images:
        raise WholebodyError(
            "--data, --annotations and --images are for photographs, not for --dataset synthetic"
        )
    scenes = Scenes(PICTURES if asked.pictures is None else asked.pictures, asked.size or SIZE)
    if student is DOPE:
        return SyntheticDope(scenes)
    return SyntheticTopDown(scenes, student if len(student) == 17 else WHOLEBODY133)


def _coco(asked: Asked, student: Skeleton, boxes: Boxes | None) -> Dataset:
    from wholebody.benchmarks.datasets.coco import read_coco, read_coco_folder
    from wholebody.benchmarks.datasets.coco_protocol import CocoProtocol

    wholebody = asked.name == "coco-wholebody"
    if asked.annotations is not None:
        images = asked.images or asked.folder or asked.annotations.parent
        photographs = read_coco(asked.annotations, images, wholebody=wholebody)
    elif asked.folder is not None:
        photographs = read_coco_folder(asked.folder, asked.name)
    else:
        entry = source(asked.name)
        raise WholebodyError(
            f"--dataset {asked.name} needs --data, the folder with {' and '.join(entry.files)}, or "
            f"--annotations and --images; {entry.title} is had at {entry.url} (licence: {entry.licence})"
        )
    return CocoProtocol(photographs, student, name=asked.name, detected=boxes == "detected")
