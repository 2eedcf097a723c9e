"""`run` says once which networks no certificate answers for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from wholebody.runtime.artefact import read_artefact, write_artefact
from wholebody.runtime.run import run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((48, 64, 3), np.uint8))
    return folder


def student(original: Path, folder: Path, certificate: dict[str, Any] | None) -> Path:
    path = shutil.copy(original, folder / "student.onnx")
    write_artefact(path, replace(read_artefact(original).spec, certificate=certificate))
    return Path(path)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [({"pass": True}, []), (None, ["has no certificate"]), ({"pass": False}, ["is over its budget"])],
)
def test_a_student_without_a_passed_certificate_is_told_once(
    constant_student: Path,
    pictures: Path,
    tmp_path: Path,
    certificate: dict[str, Any] | None,
    said: list[str],
) -> None:
    path = student(constant_student, tmp_path, certificate)
    summary = run(path, pictures, json=tmp_path / "people.jsonl")
    assert summary.frames == 2
    assert len(summary.warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, summary.warnings, strict=True))
    assert all(warning.startswith(str(path)) for warning in summary.warnings)
