"""Scene cuts: other pictures are cuts; pans, flashes and noise are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wholebody.runtime.video.scenes import SceneCuts


@pytest.fixture(scope="module")
def photographs(shared: Path) -> list[np.ndarray]:
    """Eight of 640 x 480 pixels."""
    files = sorted((shared / "data" / "images" / "coco_people").glob("*.jpg"))[:8]
    return [cv2.resize(_read(file), (640, 480)) for file in files]


def _read(file: Path) -> np.ndarray:
    image = cv2.imread(str(file))
    assert image is not None
    return np.asarray(image, np.uint8)


def cuts(*frames: np.ndarray) -> list[bool]:
    is_cut = SceneCuts()
    return [is_cut(frame) for frame in frames]


def test_other_pictures_are_cuts(photographs: list[np.ndarray]) -> None:
    assert cuts(*photographs) == [True] * 8


def test_the_same_scene_is_none(photographs: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for image in photographs:
        noisy = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        flash = np.clip(image * 1.8, 0, 255).astype(np.uint8)
        dark = (image * 0.4).astype(np.uint8)
        assert cuts(image, image, noisy, flash, dark, image) == [True] + [False] * 5


@pytest.mark.parametrize("pixels", [5, 30, 80])
def test_pans_are_none(photographs: list[np.ndarray], pixels: int) -> None:
    for image in photographs:
        wide = np.concatenate([image, image[:, ::-1], image], axis=1)
        views = [wide[:, x : x + 640] for x in range(0, 1200, pixels)][:10]
        assert cuts(*views) == [True] + [False] * (len(views) - 1)


def test_the_first_frame_and_another_size() -> None:
    grey = np.full((48, 64, 3), 90, np.uint8)
    assert cuts(grey, grey, grey[:40], grey[:40], grey) == [True, False, True, False, True]


def test_the_smallest_picture() -> None:
    white = np.full((1, 1, 3), 255, np.uint8)
    assert cuts(white, white, white * 0) == [True, False, True]
