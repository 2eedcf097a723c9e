"""Drift: an altered student is measured as altered, and judged; what cannot be compared is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.export.certificate import Budget, Certificate, Matching, PartDrift, Spread
from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.dope_drift import compare
from wholebody.export.noise import noise_pictures
from wholebody.export.onnx import export_dope
from wholebody.export.reference import PyTorch
from wholebody.export.student_file import save_student
from wholebody.export.students.dope import JOINTS, PARTS, Dope
from wholebody.export.verify import verify, verify_dope
from wholebody.runtime.artefact import read_artefact
from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Frame, write_image
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

HEIGHT, WIDTH = 96, 128
SCALE = 1.5  # of the source picture to the network's input
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(scope="module")
def checkpoint(tiny_dope: Callable[..., Dope], folder: Path) -> DopeCheckpoint:
    save_student(tiny_dope(), folder / "tiny.safetensors", {}, half=False)
    return load_checkpoint(folder / "tiny.safetensors", DopeCheckpoint)


@pytest.fixture(scope="module")
def pictures() -> list[Frame]:
    """Two pictures one and a half times as large as the network's input."""
    return [replace(noise_pictures(HEIGHT, WIDTH)[1], name=f"/somewhere/{name}.jpg") for name in ("a", "b")]


def spec_of(checkpoint: DopeCheckpoint, **ppi: Any) -> StudentSpec:
    options = {"K": 2, **ppi}
    return StudentSpec(
        name="tiny",
        input=InputSpec(HEIGHT, WIDTH, HEIGHT, WIDTH, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        parts={part: PartSpec(JOINTS[part], checkpoint.config.classes[part], options) for part in PARTS},
        weights=WeightsSpec(checkpoint.source, checkpoint.sha256, "Apache-2.0"),
    )


class Altered:
    """PyTorch's own answers, altered."""

    def __init__(self, checkpoint: DopeCheckpoint, alter: Callable[[Answer], None]) -> None:
        self._torch = PyTorch(checkpoint, (HEIGHT, WIDTH), checkpoint.config.proposals)
        self._alter = alter
        self.name = "altered"
        self.inputs: tuple[TensorSpec, ...] = self._torch.inputs
        self.outputs: tuple[TensorSpec, ...] = self._torch.outputs

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        answer = {s.name: a.copy() for s, a in zip(self.outputs, self._torch(*inputs), strict=True)}
        self._alter(answer)
        return tuple(answer.values())


@pytest.fixture(scope="module")
def measure(checkpoint: DopeCheckpoint, pictures: list[Frame]) -> Callable[..., Certificate]:
    """`measure(alter, score_th=…)`: the certificate of an altered student."""

    def measure(alter: Callable[[Any], None], budget: Budget | None = None, **ppi: Any) -> Certificate:
        student = Altered(checkpoint, alter)
        return compare(student, checkpoint, spec_of(checkpoint, **ppi), pictures, budget or Budget())

    return measure


Measure = Callable[..., Certificate]


# --- what is measured -----------------------------------------------------------------------------


def test_an_unaltered_student_does_not_drift(measure: Measure) -> None:
    certificate = measure(lambda answer: None)
    assert certificate.passed
    assert certificate.failures() == []
    assert certificate.pictures == 2
    assert certificate.proposals.matched > 4
    assert certificate.proposals.share == 1
    assert certificate.people.matched > 0
    assert certificate.people.share == 1
    for part in PARTS:
        assert certificate.parts[part].candidates.matched > 0
        assert [spread.max for spread in certificate.parts[part].judged.values()] == [0, 0, 0]


def test_pixels_are_those_of_the_source_picture(measure: Measure) -> None:
    def shift(answer: Answer) -> None:
        answer["hand_pose2d"] += np.array([0.3, 0.4], np.float32)

    certificate = measure(shift)
    spread = certificate.parts["hand"].of_pairs["pixels"]
    assert spread.median == pytest.approx(0.5 * SCALE, rel=1e-3)
    assert spread.max == pytest.approx(0.5 * SCALE, rel=1e-3)
    assert certificate.parts["hand"].of_pairs["millimetres"].max == 0
    assert certificate.parts["body"].of_pairs["pixels"].max == 0
    assert not certificate.passed
    assert len(certificate.failures()) == 1
    assert certificate.failures()[0].startswith("hand: pixels drift by 0.75 px on ")


def test_metres_become_millimetres_and_the_worst_joint_counts(measure: Measure) -> None:
    def bend(answer: Answer) -> None:
        answer["face_pose3d"][:, 1, 83, 2] += 0.002

    drift = measure(bend).parts["face"].of_pairs["millimetres"]
    assert drift.max == pytest.approx(2, rel=1e-3)
    assert drift.median == 0  # one class of three


def test_the_worst_picture_is_named(measure: Measure) -> None:
    seen: list[int] = []

    def second(answer: Answer) -> None:
        seen.append(1)
        answer["body_pose3d"] += 0.001 * len(seen)

    assert measure(second).parts["body"].of_pairs["millimetres"].worst == "b.jpg"


def test_order_does_not_matter(measure: Measure) -> None:
    def reverse(answer: Answer) -> None:
        for name in answer:
            answer[name] = answer[name][::-1].copy()

    certificate = measure(reverse)
    assert certificate.passed
    assert certificate.parts["body"].of_pairs["pixels"].max == 0


def test_scores_count_too(measure: Measure) -> None:
    def shuffle(answer: Answer) -> None:
        answer["body_scores"] = answer["body_scores"][:, ::-1].copy()

    assert any(failure.startswith("body: score drift by") for failure in measure(shuffle).failures())


# --- what cannot be compared ----------------------------------------------------------------------


def drop(share: float) -> Callable[[Answer], None]:
    def alter(answer: Answer) -> None:
        real = np.flatnonzero(answer["boxes"][:, 2] > 0)
        for name in answer:
            answer[name][real[: round(len(real) * share)]] = 0

    return alter


def test_lost_proposals_are_counted_and_refused(measure: Measure) -> None:
    certificate = measure(drop(0.5))
    assert certificate.proposals.lost > 0
    assert certificate.proposals.gained == 0
    assert certificate.proposals.share == pytest.approx(0.5, abs=0.1)
    assert certificate.parts["body"].of_pairs["pixels"].max == 0
    assert certificate.people.lost > 0
    assert any("of candidates are the reference's" in failure for failure in certificate.failures())


@pytest.mark.parametrize(("pixels", "swapped"), [(0.12, 0), (0.15, 1)])
def test_a_moved_box_is_another_proposal(measure: Measure, pixels: float, swapped: int) -> None:
    """Beyond four budgets of 0.05 px, in pixels of the source picture."""

    def move(answer: Answer) -> None:
        answer["boxes"][0] += pixels

    proposals = measure(move).proposals
    assert (proposals.lost, proposals.gained) == (2 * swapped, 2 * swapped)  # one a picture
    assert proposals.total == proposals.matched + 2 * swapped


def test_no_proposal_is_matched_twice(measure: Measure) -> None:
    proposals = measure(drop(0.5), Budget(px=1000)).proposals  # any box is near enough
    assert proposals.gained == 0
    assert proposals.lost > 0


def test_nothing_to_compare_is_no_pass(measure: Measure) -> None:
    certificate = measure(drop(1))
    assert not certificate.passed
    assert "nothing can be compared" in certificate.failures()[0]
    assert certificate.parts["body"].judged["pixels"].max == 0


def test_a_candidate_of_either_network_is_one(measure: Measure) -> None:
    def promote(answer: Answer) -> None:
        answer["body_scores"][:, 1] = 0.9999

    certificate = measure(promote, score_th=0.999)
    assert certificate.parts["body"].candidates.matched == certificate.proposals.matched
    assert certificate.parts["body"].of_candidates["score"].max > 0.1


def test_lost_proposals_without_candidates_are_judged_as_proposals(measure: Measure) -> None:
    certificate = measure(drop(0.5), score_th=2.0)
    assert any("of proposals are the reference's" in failure for failure in certificate.failures())


def test_pictures_without_candidates_are_ordinary(measure: Measure) -> None:
    certificate = measure(lambda answer: None, score_th=2.0)
    assert certificate.passed
    for part in PARTS:
        drift = certificate.parts[part]
        assert drift.candidates.total == 0
        assert drift.candidates.share == 1
        assert drift.judged is drift.of_pairs
        assert drift.of_candidates["pixels"] == Spread()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("output", ["body_scores", "hand_pose2d", "face_pose3d", "boxes"])
def test_what_is_no_number_fails(measure: Measure, output: str, value: float) -> None:
    def spoil(answer: Answer) -> None:
        answer[output][:] = value

    certificate = measure(spoil)
    assert not certificate.passed
    json.dumps(certificate.to_dict(), allow_nan=False)
    assert certificate.table()


def test_one_nan_is_enough_and_its_picture_is_named(measure: Measure) -> None:
    calls: list[int] = []

    def spoil(answer: Answer) -> None:
        calls.append(1)
        if len(calls) == 2:
            answer["hand_pose3d"][0, 0, 0, 0] = np.nan

    failures = measure(spoil).failures()
    assert failures == ["hand: millimetres drift by not a number on b.jpg (budget 0.1 mm)"]


def test_a_score_that_is_no_number_is_a_candidate(measure: Measure) -> None:
    def spoil(answer: Answer) -> None:
        real = answer["boxes"][:, 2] > 0
        row, column = np.argwhere((answer["body_scores"][:, 1:] < 0.3) & real[:, None])[-1]
        answer["body_scores"][row, column + 1] = np.nan

    assert measure(lambda answer: None, score_th=0.3).parts["body"].candidates.total > 0
    assert any("not a number" in failure for failure in measure(spoil, score_th=0.3).failures())


# --- spreads and shares ---------------------------------------------------------------------------


def test_spread_of_known_numbers() -> None:
    spread = Spread.of([np.arange(101.0), np.zeros(0), np.array([7.0])], ["a", "b", "c"])
    assert spread.max == 100
    assert spread.worst == "a"
    assert spread.median == pytest.approx(49.5, abs=1)
    assert Spread.of([], []) == Spread.of([np.zeros(0)], ["a"]) == Spread()


def test_a_swap_counts_once() -> None:
    assert Matching(98, 2, 2).share == pytest.approx(0.98)
    assert Matching(97, 0, 3).share == pytest.approx(0.97)
    assert Matching().share == 1


def certificate_of(matching: Matching, worst: float = 0.0) -> Certificate:
    spreads: dict[str, Spread] = {m: Spread(max=worst) for m in ("pixels", "millimetres", "score")}
    part = PartDrift(matching, spreads, spreads)
    return Certificate({"runtime": "r"}, "s", 1, Matching(), Matching(10, 0, 0), dict.fromkeys(PARTS, part))


@pytest.mark.parametrize(("lost", "passed"), [(0, True), (3, True), (4, False)])
def test_least_share_that_passes(lost: int, passed: bool) -> None:
    assert certificate_of(Matching(100 - lost, lost, 0)).passed is passed


@pytest.mark.parametrize(("worst", "passed"), [(0.0019, True), (0.06, False), (float("nan"), False)])
def test_budget_applies_to_the_maximum(worst: float, passed: bool) -> None:
    assert certificate_of(Matching(10, 0, 0), worst).passed is passed


# --- shown and stored -----------------------------------------------------------------------------


def test_table_and_dictionary(measure: Measure) -> None:
    def shift(answer: Answer) -> None:
        answer["body_pose3d"] += 1.0

    certificate = measure(shift)
    text = certificate.table()
    for word in ("body", "hand", "face", "millimetres", "p99", "100.0%", "a.jpg", "over budget: body"):
        assert word in text
    assert "within budget" in measure(lambda answer: None).table()
    stored = json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    assert stored["pass"] is False
    assert stored["budget"] == {"px": 0.05, "mm": 0.1, "score": 0.002, "matched": 0.97}
    assert stored["parts"]["body"]["millimetres"]["max"] == pytest.approx(1000 * 3**0.5, rel=1e-3)
    assert stored["reference"]["runtime"].startswith("pytorch:")
    assert "are the same, 0 lost, 0 gained" in text
    assert "/somewhere" not in text + json.dumps(stored)


# --- from files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(checkpoint: DopeCheckpoint, folder: Path) -> Path:
    return export_dope(checkpoint, folder / "tiny.onnx", input_size=(HEIGHT, WIDTH)).path


@pytest.fixture(scope="module")
def images(folder: Path, pictures: list[Frame]) -> Path:
    (folder / "images").mkdir()
    for i, picture in enumerate(pictures):
        write_image(folder / "images" / f"{i}.png", picture.image)
    return folder / "images"


def test_verify_a_student_with_and_without_naming_its_checkpoint(student: Path, images: Path) -> None:
    named = verify(student, images=images, reference=student.with_name("tiny.safetensors"))
    found = verify(student, images=images)
    assert named == found
    assert isinstance(named, Certificate)
    assert named.passed
    assert named.pictures == 2
    assert not verify(student, images=images, budget_mm=0).passed
    single = verify(student, images=images / "0.png")
    assert isinstance(single, Certificate)
    assert single.pictures == 1


def test_the_student_must_come_from_that_checkpoint(
    student: Path, images: Path, tiny_dope: Callable[..., Dope], tmp_path: Path
) -> None:
    save_student(tiny_dope(seed=1), tmp_path / "other.safetensors", {})
    with pytest.raises(
        ArtefactError, match=r"was exported from tiny\.safetensors .*not from other\.safetensors"
    ):
        verify(student, images=images, reference=tmp_path / "other.safetensors")


def test_a_checkpoint_that_is_not_beside(student: Path, images: Path, tmp_path: Path) -> None:
    for name in ("tiny.onnx", "tiny.json"):
        (tmp_path / name).write_bytes(student.with_name(name).read_bytes())
    with pytest.raises(ArtefactError, match="--reference"):
        verify(tmp_path / "tiny.onnx", images=images)


def test_dope_needs_no_boxes(student: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="finds people by itself: leave out the boxes"):
        verify(student, images=images, boxes=tmp_path / "people.jsonl")


def test_no_pictures(student: Path, checkpoint: DopeCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture"):
        verify(student, images=tmp_path)
    with pytest.raises(SourceError, match="no picture"):
        verify_dope(read_artefact(student), checkpoint, [])


def test_a_student_without_a_fixed_number_of_proposals(
    checkpoint: DopeCheckpoint, pictures: list[Frame]
) -> None:
    student = Altered(checkpoint, lambda answer: None)
    student.outputs = (replace(student.outputs[0], shape=(None, 4)), *student.outputs[1:])
    with pytest.raises(ArtefactError, match="not fixed"):
        compare(student, checkpoint, spec_of(checkpoint), pictures, Budget())


def test_the_reference_answers_for_any_number_of_proposals(checkpoint: DopeCheckpoint) -> None:
    inputs: Mapping[str, Array] = {
        "image": np.zeros((1, 3, HEIGHT, WIDTH), np.float32), "size": np.array([HEIGHT, WIDTH], np.float32),
    }  # fmt: skip
    for proposals in (1, 33):
        torch = PyTorch(checkpoint, (HEIGHT, WIDTH), proposals)
        answer = torch(*inputs.values())
        assert [a.shape for a in answer] == [s.shape for s in torch.outputs]
        assert [a.dtype for a in answer] == [s.dtype for s in torch.outputs]
