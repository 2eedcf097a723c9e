"""Rendered people: students that know the truth, that find nobody, that are off or see no numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from wholebody.benchmarks.accuracy.measuring import Evaluation, evaluate
from wholebody.benchmarks.datasets.synthetic import FIRST_SEED, Scenes
from wholebody.benchmarks.datasets.synthetic_dope import SyntheticDope
from wholebody.benchmarks.datasets.synthetic_top_down import SyntheticTopDown
from wholebody.benchmarks.synthetic import render_scene
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import Rows, TopDownPose
from wholebody.runtime.skeletons import COCO17, DOPE, WHOLEBODY133, Skeleton

PICTURES, SIZE = 3, (384, 384)
SCENES = [render_scene(FIRST_SEED + i, SIZE) for i in range(PICTURES)]
DATASET = SyntheticDope(Scenes(PICTURES, SIZE))


def scene_of(image: Image):  # type: ignore[no-untyped-def]
    return next(scene for scene in SCENES if np.array_equal(scene.image, image))


class Answers(DopePose):
    """A student that answers what it is told to."""

    def __init__(self, answer: Callable[[Image], People]) -> None:
        self.answer = answer

    def __call__(self, image_bgr: Image) -> People:
        return self.answer(image_bgr)


def everybody(image: Image) -> People:
    """Everybody who can be seen at all."""
    people = scene_of(image).people
    keypoints, keypoints3d, visible = (
        np.stack([getattr(person, name) for person in people])
        for name in ("keypoints", "keypoints3d", "visible")
    )
    scores = np.zeros(visible.shape, np.float32)
    for part in DOPE.parts.values():
        scores[:, part] = visible[:, part].any(axis=1, keepdims=True)
    n = len(people)
    return People(keypoints, scores, keypoints3d + 7, np.zeros((n, 4)), np.ones(n), DOPE)  # type: ignore[arg-type]


def nobody(image: Image) -> People:
    return People.empty(DOPE, with_3d=True)


def no_numbers(image: Image) -> People:
    people = everybody(image)
    assert people.keypoints3d is not None
    return replace(
        people, keypoints=np.full_like(people.keypoints, np.nan), keypoints3d=people.keypoints3d * np.nan
    )


def infinite(image: Image) -> People:
    people = no_numbers(image)
    assert people.keypoints3d is not None
    return replace(
        people,
        keypoints=np.full_like(people.keypoints, np.inf),
        keypoints3d=np.full_like(people.keypoints3d, -np.inf),
    )


def figures(evaluation: Evaluation) -> dict[str, float | None]:
    return {
        each.metric.name: None if each.value is None else each.value.value for each in evaluation.estimates
    }


# --- DOPE ---------------------------------------------------------------------------------------------------


def test_the_truth_is_perfect() -> None:
    """Ignored instances are predicted, too, and do not count."""
    evaluation = evaluate(DATASET, Answers(everybody), Answers(everybody))
    for each in evaluation.estimates:
        if each.value is not None:
            perfect = each.metric.better == "higher"
            assert each.value.value == pytest.approx(float(perfect), abs=1e-2), each.metric.name
            assert each.difference is not None
            assert (each.difference.value, each.difference.low, each.difference.high) == (0, 0, 0)
    assert evaluation.size == SIZE
    assert len(evaluation.worst) == PICTURES


@pytest.mark.parametrize("answer", [nobody, no_numbers, infinite])
def test_nobody_is_found(answer: Callable[[Image], People]) -> None:
    """Nor do coordinates that are no numbers count as anybody."""
    evaluation = evaluate(DATASET, Answers(answer), Answers(everybody))
    values = figures(evaluation)
    for part in ("body", "hand", "face"):
        assert values[f"{part}/recall"] == 0
        assert values[f"{part}/mpjpe"] is None
    assert values["all/f1"] == values["body/ap"] == 0
    recall = next(each for each in evaluation.estimates if each.metric.name == "body/recall")
    assert recall.difference is not None
    assert (recall.reference, recall.difference.value, recall.difference.high) == (1, -1, -1)


def test_left_for_right() -> None:
    swapped = np.arange(len(DOPE))
    left, right = DOPE.parts["left_hand"], DOPE.parts["right_hand"]
    swapped[left], swapped[right] = np.arange(139)[right], np.arange(139)[left]

    def mirrored(image: Image) -> People:
        people = everybody(image)
        assert people.keypoints3d is not None
        return replace(
            people,
            keypoints=people.keypoints[:, swapped],
            scores=people.scores[:, swapped],
            keypoints3d=people.keypoints3d[:, swapped],
        )

    values = figures(evaluate(DATASET, Answers(mirrored), None))
    assert (values["hand/recall"], values["hand/precision"], values["hand/side"]) == (0, 0, 0)
    assert values["body/recall"] == 1


def test_the_worst_come_first_and_of_equals_those_the_reference_does_better_on() -> None:
    def but_the_second(image: Image) -> People:
        return nobody(image) if np.array_equal(image, SCENES[1].image) else everybody(image)

    worst = evaluate(DATASET, Answers(but_the_second), Answers(everybody)).worst
    assert (worst[0].index, worst[0].figure, worst[0].reference) == (1, 0, 1)
    assert [each.index for each in evaluate(DATASET, Answers(everybody), None).worst] == [0, 1, 2]
    lost = evaluate(DATASET, Answers(nobody), Answers(but_the_second)).worst
    assert [each.index for each in lost] == [0, 2, 1]


def test_whom_it_judges() -> None:
    DATASET.require(DOPE, with_3d=True)
    with pytest.raises(ArtefactError, match="keypoints are coco17; here it must be dope139"):
        DATASET.require(COCO17, with_3d=True)
    with pytest.raises(ArtefactError, match="keypoints are dope139; rendered people judge coco17"):
        SyntheticTopDown(DATASET.scenes, WHOLEBODY133).require(DOPE, with_3d=True)


def test_pictures_of_any_size() -> None:
    scenes = Scenes(2, (96, 160))
    assert scenes.scene(1).image.shape == (96, 160, 3)
    assert scenes.seeds == f"seeds {FIRST_SEED} to {FIRST_SEED + 1}"
    assert scenes.sha256 == Scenes(2, (96, 160)).sha256
    assert len({scenes.sha256, Scenes(3, (96, 160)).sha256, Scenes(2, (160, 96)).sha256}) == 3
    pictures = SyntheticDope(scenes).pictures
    assert len(pictures) == 2
    assert [picture.name for picture in pictures] == [f"seed-{FIRST_SEED}", f"seed-{FIRST_SEED + 1}"]
    assert pictures[-1].name == pictures[1:][0].name == f"seed-{FIRST_SEED + 1}"
    with pytest.raises(IndexError):
        pictures[2]


@pytest.mark.parametrize(("count", "size", "told"), [(0, SIZE, "0 rendered"), (1, (63, 99), "of 63x99")])
def test_no_pictures(count: int, size: tuple[int, int], told: str) -> None:
    with pytest.raises(SourceError, match=told):
        Scenes(count, size)


# --- top-down -----------------------------------------------------------------------------------------------


class Knowing(TopDownPose):
    """Answers with the truth of whose box it is given, moved by `off` box sides; unsure outside."""

    def __init__(
        self, skeleton: Skeleton, *, off: float = 0.0, phantoms: bool = False, blind: bool = False
    ) -> None:
        self.skeleton, self.detector = skeleton, None
        self.off, self.phantoms, self.blind = off, phantoms, blind

    def estimate(self, image_bgr: Image, boxes: Floats, score: Floats) -> tuple[People, Rows]:
        if self.blind or not len(boxes):
            return People.empty(self.skeleton), np.zeros(0, np.intp)
        true = np.stack([person.keypoints133 for person in scene_of(image_bgr).people])
        shown = inside(true, SIZE[1], SIZE[0])
        own = np.abs(people_boxes(true, shown)[None] - boxes[:, None]).sum(axis=2).argmin(axis=1)
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        joints = slice(0, len(self.skeleton))
        scores = np.where(shown[own, joints] | self.phantoms, 0.9, 0.1).astype(np.float32)
        moved = np.stack([self.off * side, np.zeros_like(side)], axis=1)
        keypoints = true[own, joints] + moved[:, None].astype(np.float32)
        return People(keypoints, scores, None, boxes, score, self.skeleton), np.arange(len(boxes))


def top_down(skeleton: Skeleton = WHOLEBODY133, **how: float) -> dict[str, float | None]:
    dataset = SyntheticTopDown(DATASET.scenes, skeleton)
    return figures(evaluate(dataset, Knowing(skeleton, **how), None))  # type: ignore[arg-type]


@pytest.mark.parametrize("skeleton", [WHOLEBODY133, COCO17])
def test_the_truth_in_crops_is_perfect(skeleton: Skeleton) -> None:
    values = top_down(skeleton)
    parts = ["whole", *WHOLEBODY133.parts] if skeleton is WHOLEBODY133 else ["body"]
    assert [name.removesuffix("/oks") for name in values if name.endswith("/oks")] == parts
    for part in parts:
        for figure in ("oks", "pck", "shown", "guessed"):
            assert values[f"{part}/{figure}"] in (None, pytest.approx(1))
        assert values[f"{part}/phantoms"] in (None, 0)
    if skeleton is WHOLEBODY133:
        assert values["face/nme"] == pytest.approx(0, abs=1e-6)
        assert values["left_hand/pck_hand"] == 1
        assert "body/pck_hand" not in values


def test_nobody_found_in_crops_is_all_wrong() -> None:
    values = top_down(blind=True)
    for part in ("whole", *WHOLEBODY133.parts):
        assert [values[f"{part}/{figure}"] for figure in ("oks", "pck", "shown")] == [0, 0, 0]
    assert values["face/nme"] is None


def test_misses_by_their_size() -> None:
    near, far = top_down(off=0.05), top_down(off=0.15)
    assert (near["body/pck"], far["body/pck"]) == (1, 0)
    assert 0 < (far["whole/oks"] or 0) < (near["whole/oks"] or 0) < 1
    assert (near["left_hand/pck_hand"] or 0) < 1
    assert 0 < (near["face/nme"] or 0) < (far["face/nme"] or 0)


def test_what_is_said_of_keypoints_outside_is_counted() -> None:
    assert top_down(phantoms=True)["whole/phantoms"] == 1
