"""Rendered scenes kept on disk, and the samples a training draws from them.

A shard is one .npz of JPEG-coded pictures and exact truth, named by its first seed; a training resumes with
the shards it finds and renders the missing ones.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic import render_scene
from wholebody.runtime.skeletons import DOPE, WHOLEBODY133, Skeleton
from wholebody.runtime.whole import whole

__all__ = ["SHARD", "Sample", "Scenes", "augment", "render_shard", "rendering", "wait_for_scenes"]

SHARD = 250  # scenes a file
SIDE = 384
JPEG_QUALITY = 92
Floats = NDArray[np.float32]
ARRAYS = {  # of a synthetic person, by skeleton
    DOPE.name: ("keypoints", "keypoints3d", "visible"),
    WHOLEBODY133.name: ("keypoints133", "keypoints3d133", "visible133"),
}


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and its people of K keypoints.

    image (H, W, 3) uint8 BGR; keypoints (P, K, 2) pixels; keypoints3d (P, K, 3) metres in the camera's
    axes; visible (P, K) bool.
    """

    image: NDArray[np.uint8]
    keypoints: Floats
    keypoints3d: Floats
    visible: NDArray[np.bool_]
    skeleton: Skeleton


def render_shard(folder: Path, first_seed: int) -> Path:
    """Render SHARD scenes from `first_seed` on into one file, unless it is there."""
    path = folder / f"{first_seed:08d}.npz"
    if path.exists():
        return path
    arrays: dict[str, NDArray[np.generic]] = {}
    for i in range(SHARD):
        scene = render_scene(first_seed + i, (SIDE, SIDE))
        _, code = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        arrays[f"image_{i}"] = code
        for name in (name for names in ARRAYS.values() for name in names):
            arrays[f"{name}_{i}"] = np.stack([getattr(person, name) for person in scene.people])
    with whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


class Scenes:
    """The samples of a folder of shards, coded in memory; `refresh` takes in shards that came since."""

    def __init__(self, folder: Path, skeleton: Skeleton) -> None:
        self._folder = folder
        self._skeleton = skeleton
        self._read: set[Path] = set()
        self._coded: list[tuple[NDArray[Any], ...]] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._coded)

    def refresh(self) -> None:
        for path in sorted(set(self._folder.glob("*.npz")) - self._read):
            with np.load(path) as shard:
                names = ("image", *ARRAYS[self._skeleton.name])
                self._coded += [tuple(shard[f"{name}_{i}"] for name in names) for i in range(SHARD)]
            self._read.add(path)

    def __getitem__(self, index: int) -> Sample:
        code, keypoints, keypoints3d, visible = self._coded[index]
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
        assert image is not None
        return Sample(image.astype(np.uint8, copy=False), keypoints, keypoints3d, visible, self._skeleton)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


@contextmanager
def rendering(folder: Path, scenes: int, processes: int = 1) -> Iterator[None]:
    """Processes that render `scenes` scenes, seeds from 0 on, as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    renderers = [
        context.Process(target=_render, args=(folder, scenes, i, processes), daemon=True)
        for i in range(processes)
    ]
    for renderer in renderers:
        renderer.start()
    try:
        yield
    finally:
        for renderer in renderers:
            renderer.terminate()


def wait_for_scenes(folder: Path, scenes: int) -> None:
    """Return once there are as many."""
    while len(list(folder.glob("*.npz"))) * SHARD < scenes:
        time.sleep(1)


def _render(folder: Path, scenes: int, process: int, processes: int) -> None:
    cv2.setNumThreads(1)
    os.nice(10)  # the training goes first
    for first in range(process * SHARD, scenes, processes * SHARD):
        render_shard(folder, first)


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample mirrored, scaled, moved and recoloured at random; truth follows exactly."""
    if rng.random() < 0.5:
        sample = _mirrored(sample)
    if rng.random() < 0.7:
        sample = _moved(sample, rng)
    image = sample.image
    if rng.random() < 0.5:
        gain, lift = rng.uniform(0.75, 1.25, 3), rng.uniform(-18, 18)
        levels = np.clip(np.arange(256)[:, None] * gain + lift, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, levels[None]).astype(np.uint8, copy=False)
    return replace(sample, image=image)


def _mirrored(sample: Sample) -> Sample:
    flip = list(sample.skeleton.flip_index)
    last_column = np.array([sample.image.shape[1] - 1, 0], np.float32)
    keypoints = sample.keypoints[:, flip] * np.array([-1, 1], np.float32) + last_column
    keypoints3d = sample.keypoints3d[:, flip] * np.array([-1, 1, 1], np.float32)
    image = np.ascontiguousarray(sample.image[:, ::-1])
    return replace(
        sample,
        image=image,
        keypoints=keypoints,
        keypoints3d=keypoints3d,
        visible=sample.visible[:, flip],
    )


def _moved(sample: Sample, rng: np.random.Generator) -> Sample:
    height, width = sample.image.shape[:2]
    scale = float(rng.uniform(1.0, 1.35))  # never smaller: beyond the border nothing is known
    slack = np.abs(1 - scale) * np.array([width, height])
    shift = (1 - scale) / 2 * np.array([width, height]) + rng.uniform(-0.5, 0.5, 2) * slack
    affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    image = cv2.warpAffine(sample.image, affine, (width, height), flags=cv2.INTER_LINEAR)
    keypoints = (sample.keypoints * scale + shift).astype(np.float32)
    inside = ((keypoints >= 0) & (keypoints <= (width - 1, height - 1))).all(axis=-1)
    visible = sample.visible & inside
    return replace(sample, image=image.astype(np.uint8, copy=False), keypoints=keypoints, visible=visible)
