"""The data sets by name, and what a folder is told to lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from wholebody.benchmarks.datasets.registry import DATASETS, reader, require_files, source
from wholebody.runtime.errors import SourceError


def test_names() -> None:
    assert list(DATASETS) == [
        "synthetic", "coco", "coco-wholebody", "mupots", "h36m", "mpi-inf-3dhp", "h3wb", "smply", "freihand",
        "rhd", "stb", "interhand", "onehand10k", "panoptic", "300w", "300w-lp", "aflw2000",
    ]  # fmt: skip
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.licence
        assert name == "synthetic" or entry.url.startswith("http")


def test_an_unknown_name() -> None:
    with pytest.raises(SourceError, match=r"no data set 'coca'; there are: synthetic, coco, "):
        source("coca")


def test_what_a_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "val2017").mkdir()
    with pytest.raises(SourceError) as caught:
        require_files(tmp_path, "coco")
    text = str(caught.value)
    assert "lacks annotations/person_keypoints_val2017.json of COCO keypoints" in text
    assert "https://cocodataset.org" in text
    assert "CC BY 4.0" in text
    assert "\n" not in text
    with pytest.raises(
        SourceError, match=r"nowhere is no folder: give that of MuPoTS-3D with TS.*; it is had"
    ):
        require_files(tmp_path / "nowhere", "mupots")


def test_what_a_folder_holds(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).touch()
    assert require_files(tmp_path, "stb", ["*.txt"]) == {"*.txt": [tmp_path / "a.txt", tmp_path / "b.txt"]}
    assert require_files(tmp_path, "stb", []) == {}


def test_readers_are_imported_by_name() -> None:
    assert reader("coco").__name__ == "read_coco"
