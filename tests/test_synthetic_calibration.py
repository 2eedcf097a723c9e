"""The calibration set: its manifest tells the truth, and its pictures can be made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from wholebody.benchmarks.synthetic import render_scene, write_calibration_set
from wholebody.benchmarks.synthetic.calibration import GENERATOR_VERSION

FOLDER = Path(__file__).resolve().parents[1] / "calibration_data"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text())
    return loaded


def test_manifest_lists_exactly_the_pictures(manifest: dict[str, Any]) -> None:
    assert manifest["version"] == GENERATOR_VERSION
    assert {p["file"] for p in manifest["pictures"]} == {p.name for p in FOLDER.glob("*.jpg")}
    assert len(manifest["pictures"]) == 64
    for picture in manifest["pictures"]:
        assert hashlib.sha256((FOLDER / picture["file"]).read_bytes()).hexdigest() == picture["sha256"]


def test_pictures_are_small_enough_to_carry(manifest: dict[str, Any]) -> None:
    assert sum((FOLDER / p["file"]).stat().st_size for p in manifest["pictures"]) < 6e6
    assert len({tuple(p["size"]) for p in manifest["pictures"]}) >= 3


@pytest.mark.parametrize("place", [0, 2, 37])
def test_a_seed_of_the_manifest_renders_the_same_picture(manifest: dict[str, Any], place: int) -> None:
    """Pixel for pixel where sines and square roots round alike; a grey level on average elsewhere."""
    entry = manifest["pictures"][place]
    scene = render_scene(entry["seed"], tuple(entry["size"]))
    assert len(scene.people) == entry["people"]
    if hashlib.sha256(scene.image.tobytes()).hexdigest() != entry["pixels_sha256"]:
        stored = cv2.imread(str(FOLDER / entry["file"]))
        again = cv2.imdecode(cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1], 1)
        assert stored is not None
        assert np.abs(stored.astype(int) - again).mean() < 1


def test_writing_twice_gives_the_same_files(tmp_path: Path) -> None:
    first = write_calibration_set(tmp_path / "a", 2).read_bytes()
    assert write_calibration_set(tmp_path / "b", 2).read_bytes() == first
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "20000000.jpg", "20000001.jpg", "manifest.json",
    ]  # fmt: skip


def test_an_empty_set_has_an_empty_manifest(tmp_path: Path) -> None:
    assert json.loads(write_calibration_set(tmp_path, 0).read_text())["pictures"] == []
