"""The sheet of a picture that came out badly: whatever its size, its name and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from wholebody.benchmarks.accuracy.measuring import Ranked
from wholebody.benchmarks.accuracy.worst import Panel, draw_worst, side_by_side
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally, Truth
from wholebody.runtime.media import Image, read_image, write_image
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.skeletons import COCO17, DOPE, Skeleton

SHARE = Metric("found", "found", "share", "higher")


class Nobody(DopePose):
    def __init__(self) -> None: ...

    def __call__(self, image_bgr: Image) -> People:
        return People.empty(DOPE, with_3d=True)


@dataclass(frozen=True)
class Photographs:
    """A `Dataset` of one grey picture."""

    pictures: Sequence[Picture]
    name: str = "made"
    sha256: str = ""
    notes: str = ""
    metrics: Sequence[Metric] = (SHARE,)

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None: ...

    def tally(self, people: People, picture: Picture) -> Tally:
        return {}


@dataclass(frozen=True)
class OfCoco(Photographs):
    skeleton: Skeleton = COCO17


def truth(joints: int) -> Truth:
    """One person at (20, 30), with a joint that is not labelled and one that is far away."""
    keypoints = np.full((1, joints, 2), (20.0, 30.0))
    keypoints[0, 1], keypoints[0, 2] = np.nan, 1e12
    return Truth(keypoints, None, np.ones((1, joints), np.bool_), np.array([[0, 0, 40, 60.0]]))


@pytest.mark.parametrize(("kind", "joints"), [(Photographs, 19), (OfCoco, 17)])
def test_the_truth_is_drawn(kind: type[Photographs], joints: int, tmp_path: Path) -> None:
    """As limbs, or as points where its skeleton is not known."""
    write_image(tmp_path / "grey.png", np.full((60, 80, 3), 128, np.uint8))
    dataset = kind([Picture("größe ✓.png", tmp_path / "grey.png", truth(joints))])
    (path,) = draw_worst(tmp_path, dataset, SHARE, [Ranked(0, 0.25, None)], Nobody(), Nobody(), "run")
    assert path == tmp_path / "run-01.png"
    sheet = read_image(path)
    first, second, third = np.split(sheet[60:300, :968], [320, 644], axis=1)
    np.testing.assert_array_equal(second[:, 4:320], third[:, 4:320])  # nobody and nobody
    assert (first[:, :320] != 128).any()
    assert (second[:, 4:320] == 128).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2000, 10), (480, 480)])
def test_any_size(size: tuple[int, int]) -> None:
    panels = [
        Panel("truth", np.zeros((*size, 3), np.uint8)),
        Panel("student", np.zeros((*size, 3), np.uint8)),
    ]
    sheet = side_by_side(panels, "1. a name that is much longer than one tiny picture is wide" * 3)
    assert sheet.shape[0] <= 60 + 480
    assert sheet.shape[1] > 600
    assert (sheet[60:] == 0).any()
