"""The accuracy benchmark: a student that knows the truth, one that finds nobody, and what is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wholebody.benchmarks import accuracy
from wholebody.benchmarks.accuracy import FIRST_SEED, AccuracyReport, measure
from wholebody.benchmarks.synthetic import render_scene
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import DOPE

PICTURES = 3
Pose = Callable[[Image], People]


@pytest.fixture
def report_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AccuracyReport]:
    """`report_of(pose, json=…)`: what `measure` says of a student that answers as `pose` does."""

    def report(answer: Pose, json: Path | None = None) -> AccuracyReport:
        def pose(image: Image) -> People:
            return answer(image)

        pose.backend = SimpleNamespace(name="fake")  # type: ignore[attr-defined]
        spec = SimpleNamespace(name="tiny", precision="fp32")
        artefact = SimpleNamespace(spec=spec, sha256="0123456789abcdef")
        monkeypatch.setattr(accuracy, "load_dope", lambda student, threads: pose)
        monkeypatch.setattr(accuracy, "read_artefact", lambda student: artefact)
        return measure(Path("tiny.onnx"), pictures=PICTURES, json=json)

    return report


def nobody(image: Image) -> People:
    return People.empty(DOPE, with_3d=True)


def oracle(score: float = 1.0) -> Pose:
    """Answers with everybody who can be seen at all, in the order of the pictures."""
    scenes = (render_scene(FIRST_SEED + i) for i in range(PICTURES))

    def pose(image: Image) -> People:
        scene = next(scenes)
        np.testing.assert_array_equal(image, scene.image)
        keypoints, keypoints3d, visible = (
            np.stack([getattr(p, name) for p in scene.people])
            for name in ("keypoints", "keypoints3d", "visible")
        )
        n = len(keypoints)
        scores, boxes = np.zeros((n, len(DOPE)), np.float32), np.zeros((n, 4), np.float32)
        for part in DOPE.parts.values():
            scores[:, part] = score * visible[:, part].any(axis=1, keepdims=True)
        return People(keypoints, scores, keypoints3d + 7, boxes, np.full(n, score, np.float32), DOPE)

    return pose


def test_nobody_is_found(report_of: Callable[..., AccuracyReport]) -> None:
    report = report_of(nobody)
    assert [part.metrics["recall"] for part in report.parts.values()] == [0, 0, 0]
    assert [part.predictions for part in report.parts.values()] == [0, 0, 0]
    assert "| precision | – | – | – |" in report.markdown()


def test_the_truth_is_perfect(report_of: Callable[..., AccuracyReport]) -> None:
    """Ignored instances are predicted, too, and do not count."""
    report = report_of(oracle())
    assert sum(part.ignored_truths for part in report.parts.values()) > 0
    for part in report.parts.values():
        assert part.truths == part.found == part.predictions > 0
        shares = {"recall", "precision", "ap_50", "ap_50_95", "pck", "side_accuracy", "pck3d_150mm"}
        errors = {"nme", "mpjpe_mm", "pa_mpjpe_mm"}
        assert set(part.metrics) <= shares | errors
        assert {part.metrics[name] for name in shares & set(part.metrics)} == {1.0}
        assert max(part.metrics[name] for name in errors & set(part.metrics)) < 1e-2


def test_left_for_right(report_of: Callable[..., AccuracyReport]) -> None:
    truth = oracle()

    def mirrored(image: Image) -> People:
        people = truth(image)
        swapped = np.arange(len(DOPE))
        left, right = DOPE.parts["left_hand"], DOPE.parts["right_hand"]
        swapped[left], swapped[right] = np.arange(139)[right], np.arange(139)[left]
        assert people.keypoints3d is not None
        return People(
            people.keypoints[:, swapped], people.scores[:, swapped], people.keypoints3d[:, swapped],
            people.boxes, people.score, DOPE,
        )  # fmt: skip

    report = report_of(mirrored)
    hand = report.parts["hand"].metrics
    assert (hand["recall"], hand["precision"], hand["side_accuracy"]) == (0, 0, 0)
    assert report.parts["body"].metrics["recall"] == 1


def test_the_report_as_json(report_of: Callable[..., AccuracyReport], tmp_path: Path) -> None:
    report = report_of(nobody, json=tmp_path / "accuracy.json")
    written = json.loads((tmp_path / "accuracy.json").read_text())
    assert written == report.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy.json"]
    assert (written["pictures"], written["first_seed"]) == (PICTURES, FIRST_SEED)
    assert written["parts"]["body"]["precision"] is None
    assert written["parts"]["body"]["recall"] == 0
    assert written["machine"]["versions"]["numpy"] == np.__version__


def test_the_report_as_markdown(report_of: Callable[..., AccuracyReport]) -> None:
    text = report_of(oracle()).markdown()
    assert "SHA-256 0123456789ab" in text
    assert f"seeds {FIRST_SEED} to {FIRST_SEED + PICTURES - 1}" in text
    assert "| recall | 100.0 % | 100.0 % | 100.0 % |" in text
    assert "| NME | – | – | 0.0 % |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pictures is 0"):
        measure(tmp_path / "x.onnx", pictures=0)
    with pytest.raises(ArtefactError):
        measure(tmp_path / "x.onnx", pictures=1)
    with pytest.raises(SourceError, match=r"cannot write .*x\.json: No such file"):
        measure(tmp_path / "x.onnx", pictures=1, json=tmp_path / "nowhere" / "x.json")


def test_a_file_that_cannot_be_written(report_of: Callable[..., AccuracyReport], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot write"):
        report_of(nobody, json=tmp_path)
    assert not list(tmp_path.iterdir())
