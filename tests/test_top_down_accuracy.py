"""Accuracy of top-down students on rendered people: perfect, blind and off answers are told apart."""

from __future__ import annotations

import math
from json import dumps

import numpy as np
import pytest

from wholebody.benchmarks import top_down_accuracy as module
from wholebody.benchmarks.synthetic import Scene, render_scene
from wholebody.benchmarks.synthetic.people_boxes import inside, people_boxes
from wholebody.benchmarks.top_down_accuracy import FIRST_SEED, TopDownAccuracy, evaluate
from wholebody.runtime.media import Image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import WHOLEBODY133

PICTURES = 3
SCENES = {FIRST_SEED + i: render_scene(FIRST_SEED + i, (384, 384)) for i in range(PICTURES)}


class Knowing:
    """Answers with the truth of whose box it is given, moved by `off` box sides; unsure where unseen."""

    def __init__(self, off: float = 0.0, phantoms: bool = False, blind: bool = False) -> None:
        self.off, self.phantoms, self.blind = off, phantoms, blind

    def __call__(self, image_bgr: Image, boxes: Floats | None = None) -> People:
        assert boxes is not None
        assert boxes.shape == (1, 4)
        if self.blind:
            return People.empty(WHOLEBODY133)
        scene = next(scene for scene in SCENES.values() if scene.image is image_bgr)
        true = np.stack([person.keypoints133 for person in scene.people])
        shown = inside(true, 384, 384)
        own = int(np.abs(people_boxes(true, shown) - boxes).sum(axis=1).argmin())
        side = (boxes[0, 2:] - boxes[0, :2]).max()
        scores = np.where(shown[own] | self.phantoms, 0.9, 0.1)
        keypoints = true[own] + np.array([self.off * side, 0], np.float32)
        return People(keypoints[None], scores[None], None, boxes, np.ones(1, np.float32), WHOLEBODY133)


@pytest.fixture(autouse=True)
def rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    def scene(seed: int, size: tuple[int, int]) -> Scene:
        return SCENES[seed]

    monkeypatch.setattr(module, "render_scene", scene)


def report(**how: float) -> TopDownAccuracy:
    return evaluate(Knowing(**how), pictures=PICTURES)  # type: ignore[arg-type]


def test_the_truth_is_perfect() -> None:
    parts = report().parts
    assert list(parts) == [*WHOLEBODY133.parts, "whole"]
    for name, part in parts.items():
        assert (part.oks, part.pck_person, part.shown) == pytest.approx((1, 1, 1)), name
        assert part.guessed == 1 or math.isnan(part.guessed)
        assert part.phantoms == 0 or math.isnan(part.phantoms)
    assert parts["face"].nme == pytest.approx(0, abs=1e-6)
    assert parts["left_hand"].pck_hand == 1
    assert math.isnan(parts["body"].pck_hand)
    assert 0 < parts["face"].people <= parts["whole"].people


def test_nobody_found_is_all_wrong() -> None:
    parts = report(blind=True).parts
    for part in parts.values():
        assert (part.oks, part.pck_person, part.shown) == (0, 0, 0)
    assert math.isnan(parts["face"].nme)


def test_misses_by_their_size() -> None:
    near, far = report(off=0.05).parts, report(off=0.15).parts
    assert near["body"].pck_person == 1
    assert far["body"].pck_person == 0
    assert 0 < far["whole"].oks < near["whole"].oks < 1
    assert near["left_hand"].pck_hand < 1
    assert 0 < near["face"].nme < far["face"].nme


def test_what_is_said_of_keypoints_outside_is_counted() -> None:
    assert report(phantoms=True).parts["whole"].phantoms == 1


def test_the_report() -> None:
    found = report(blind=True)
    table = found.markdown()
    assert "| people judged |" in table
    assert "NaN" not in table
    assert "nan" not in table
    assert dumps(found.to_dict(), allow_nan=False)
    assert found.to_dict()["parts"]["face"]["nme"] is None


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="pictures is 0; it must be 1 or more"):
        evaluate(Knowing(), pictures=0)
