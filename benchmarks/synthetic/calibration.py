"""The calibration set: rendered JPEG pictures and a manifest that tells how to make them again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes, worth_a_crop
from wholebody.benchmarks.synthetic.scene import Scene, render_scene
from wholebody.runtime.whole import whole

__all__ = ["FIRST_SEED", "GENERATOR_VERSION", "write_calibration_set"]

GENERATOR_VERSION = 1
FIRST_SEED = 20_000_000
_SIZES = ((384, 384), (384, 384), (480, 640), (384, 384), (640, 480), (384, 384), (360, 640), (384, 384))
_QUALITY = 88


def write_calibration_set(folder: Path, count: int = 64, first_seed: int = FIRST_SEED) -> Path:
    """Render `count` pictures into the folder, which is made if need be, and answer with the manifest's path.

    The manifest lists for each picture its file, SHA-256, seed, size (height, width), number of people, boxes
    x0 y0 x1 y1 around those worth a crop, and the SHA-256 of its pixels before compression. Every file
    appears whole or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [_write_picture(folder, first_seed + i, _SIZES[i % len(_SIZES)]) for i in range(count)]
    manifest = {
        "generator": "wholebody.benchmarks.synthetic",
        "version": GENERATOR_VERSION,
        "pictures": pictures,
    }
    path = folder / "manifest.json"
    _write_whole(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return path


def _write_picture(folder: Path, seed: int, size: tuple[int, int]) -> dict[str, object]:
    scene = render_scene(seed, size)
    encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    name = f"{seed}.jpg"
    _write_whole(folder / name, encoded)
    return {
        "file": name,
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "pixels_sha256": hashlib.sha256(scene.image.tobytes()).hexdigest(),
        "seed": seed,
        "size": list(size),
        "people": len(scene.people),
        "boxes": _boxes(scene),
    }


def _boxes(scene: Scene) -> list[list[float]]:
    height, width = scene.image.shape[:2]
    true = np.stack([person.keypoints133 for person in scene.people])
    boxes = people_boxes(true, inside(true, width, height))
    visible = np.stack([person.visible133 for person in scene.people])
    return [[round(float(side), 1) for side in box] for box in boxes[worth_a_crop(boxes, visible)]]


def _write_whole(path: Path, content: bytes) -> None:
    with whole(path) as partial:
        partial.write_bytes(content)
