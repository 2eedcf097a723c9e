"""What contenders are shown, and what must agree before two runs may be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic import Scene as Rendered
from wholebody.benchmarks.synthetic import render_scene
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes, worth_a_crop
from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Image, open_source

__all__ = ["MOST_PEOPLE", "Scene", "crops_of", "crowd", "folder", "paced", "rendered"]

Boxes = NDArray[np.float32]

FIRST_SEED, PICTURES, PICTURE_HW = 20_000_000, 20, (480, 640)
MOST_PICTURES = 50  # of a folder or video
TILE_HW, GRID, CROWDS = (240, 320), 4, 5
TILE_SEEDS = tuple(  # of scenes with one person
    20_500_000 + i for i in (4, 5, 9, 12, 13, 23, 25, 26, 28, 29, 30, 31, 34, 37, 39, 40)
)
MOST_PEOPLE = GRID * GRID
QUALITY = 95  # of the JPEGs that are decoded


@dataclass(frozen=True, eq=False)
class Scene:
    """Pictures in the order in which they are shown, again and again.

    pictures   (H, W, 3) uint8 BGR
    boxes      of the people in each, which a top-down student without a detector is given; None: nobody knows
    encoded    each as a JPEG, which is decoded before it is shown; None: they are shown as they are
    given      whether the boxes are given although there is a detector, whose answer is then not used
    """

    title: str
    pictures: tuple[Image, ...]
    boxes: tuple[Boxes, ...] | None
    encoded: tuple[bytes, ...] | None = None
    given: bool = False
    people: int | None = None
    batch: int | None = None
    pace_hz: float | None = None

    def settings(self, proposals: int | None) -> dict[str, Any]:
        """As in docs/runs.md."""
        sizes = {picture.shape[:2] for picture in self.pictures}
        return {
            "pictures": self._digest(),
            "size": list(next(iter(sizes))) if len(sizes) == 1 else None,
            "people": self.people,
            "batch": self.batch,
            "proposals": proposals,
            "pace_hz": self.pace_hz,
        }

    def _digest(self) -> str:
        digest = hashlib.sha256()
        arrays: list[NDArray[Any]] = [*self.pictures, *(self.boxes or ())]
        for array in arrays:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@cache
def rendered() -> Scene:
    """Twenty rendered pictures of one to six people, 640 x 480, with the boxes of those who are in sight."""
    scenes = [render_scene(FIRST_SEED + i, PICTURE_HW) for i in range(PICTURES)]
    return _decoded("whole frames", [s.image for s in scenes], [_boxes(s) for s in scenes])


def folder(images: Path) -> Scene:
    """The first 50 frames of a folder, picture or video. Raises SourceError where there is none."""
    with open_source(images) as source:
        pictures = [frame.image for frame in islice(source.frames(), MOST_PICTURES)]
    if not pictures:
        raise SourceError(f"{images} has no picture: name a folder, picture or video that has")
    return _decoded("whole frames", pictures, None)


def _decoded(title: str, pictures: Sequence[Image], boxes: Sequence[Boxes] | None) -> Scene:
    encoded = tuple(_jpeg(picture) for picture in pictures)
    shown = tuple(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in encoded)
    return Scene(title, shown, None if boxes is None else tuple(boxes), encoded)  # type: ignore[arg-type]


def _jpeg(picture: Image) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def paced(scene: Scene, hertz: float) -> Scene:
    """The same pictures, as a camera brings them."""
    return Scene(f"{hertz:g} frames a second", scene.pictures, scene.boxes, pace_hz=hertz)


def crowd(people: int) -> Scene:
    """Five pictures, 1280 x 960, with so many people each, 0 to 16; the boxes are exact.

    Each is a grid of sixteen rendered tiles with one person or none, so that nothing but the number changes.
    """
    tiles, empty = _tiles(), _empty_tile()
    pictures, boxes = [], []
    for k in range(CROWDS):
        chosen = [tiles[(3 * k + i) % len(tiles)] for i in range(people)]
        grid = [*(image for image, _ in chosen), *[empty] * (MOST_PEOPLE - people)]
        rows = [np.concatenate(grid[r * GRID : (r + 1) * GRID], axis=1) for r in range(GRID)]
        pictures.append(np.concatenate(rows))
        moved = [
            box + np.tile([i % GRID * TILE_HW[1], i // GRID * TILE_HW[0]], 2)
            for i, (_, box) in enumerate(chosen)
        ]
        boxes.append(np.array(moved, np.float32).reshape(-1, 4))
    title = f"{people} {'person' if people == 1 else 'people'}"
    return Scene(title, tuple(pictures), tuple(boxes), given=True, people=people)


def crops_of(count: int) -> Scene:
    """For a batch of so many crops: pictures with sixteen people to cut them from."""
    full = crowd(MOST_PEOPLE)
    return Scene(f"batch of {count}, the network alone", full.pictures, full.boxes, given=True, batch=count)


@cache
def _tiles() -> tuple[tuple[Image, Boxes], ...]:
    """Sixteen rendered tiles with one person each, and the box (4,)."""
    found = (render_scene(seed, TILE_HW) for seed in TILE_SEEDS)
    return tuple((scene.image, _boxes(scene)[0]) for scene in found)


def _empty_tile() -> Image:
    """A quiet slope of grey."""
    height, width = TILE_HW
    slope = np.linspace(70, 150, height, dtype=np.float32)[:, None, None]
    return np.broadcast_to(slope, (height, width, 3)).astype(np.uint8)


def _boxes(scene: Rendered) -> Boxes:
    """(N, 4) around what can be seen of each person that is worth a crop, within the picture."""
    height, width = scene.image.shape[:2]
    joints = np.stack([person.keypoints133 for person in scene.people])
    seen = np.stack([person.visible133 for person in scene.people]) & inside(joints, width, height)
    boxes = people_boxes(joints, seen)
    return boxes[worth_a_crop(boxes, seen)]
