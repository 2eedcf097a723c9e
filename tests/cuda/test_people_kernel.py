"""people.cu against the last steps of pipelines/top_down.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels import people_gpu
from wholebody.runtime.kernels.crop import crop_affines, to_source
from wholebody.runtime.kernels.oks import oks_nms
from wholebody.runtime.kernels.people_gpu import GpuPeople, KeptPeople
from wholebody.runtime.pipelines.top_down import mean_above
from wholebody.runtime.skeletons import COCO17, WHOLEBODY133, Skeleton

SIZE = 192, 256  # of a crop


class Crowd:
    """People in a picture, every third one the one before it seen a second time."""

    def __init__(self, people: int, skeleton: Skeleton, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, people, len(skeleton)])
        corners = rng.uniform(0, 500, (people, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 300, (people, 2))], axis=1)
        self.skeleton = skeleton
        self.keypoints = rng.uniform(0, 190, (people, len(skeleton), 2)).astype(np.float32)
        self.scores = rng.uniform(-0.2, 1.5, (people, len(skeleton))).astype(np.float32).clip(min=0)
        for i in range(1, people, 3):
            boxes[i], self.keypoints[i] = boxes[i - 1], self.keypoints[i - 1] + np.float32(0.1)
        self.keypoints[self.scores == 0] = np.nan
        self.affines = crop_affines(boxes, SIZE)
        self.found = rng.uniform(0.3, 1, people).astype(np.float32)
        self.areas = (SIZE[0] * SIZE[1] / self.affines[:, 0, 0] ** 2).astype(np.float32)
        self.depths = rng.normal(size=self.scores.shape).astype(np.float32)

    def expected(self) -> KeptPeople:
        keypoints = to_source(self.keypoints, self.affines)
        score = self.found * mean_above(0.2, self.scores)
        kept = oks_nms(keypoints, self.scores, score, self.areas, self.skeleton.sigmas, 0.9)
        return KeptPeople(kept, score[kept], keypoints[kept], self.scores[kept], self.depths[kept])

    def on_gpu(self, gpu: Gpu, batch: int, *, with_depths: bool = True, most: int = 60) -> KeptPeople:
        people = GpuPeople(gpu, self.skeleton, most, with_depths=with_depths)
        given: list[Any] = [self.keypoints, self.scores, self.affines, self.found]
        arrays = [gpu.upload(a) for a in [*given, *[self.depths] * with_depths]]
        for at in range(0, len(self.found), batch):
            people.place(at, *(array[at : at + batch] for array in arrays))
        people.keep(len(self.found), gpu.upload(self.areas))
        return people.unpack(gpu.download(people.first))


def check(got: KeptPeople, expected: KeptPeople) -> None:
    np.testing.assert_array_equal(got.number, expected.number)
    np.testing.assert_array_equal(got.keypoints, expected.keypoints)
    np.testing.assert_array_equal(got.scores, expected.scores)
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-6)


@pytest.mark.parametrize("people", [0, 1, 2, 7, 16, 17, 40])
@pytest.mark.parametrize("skeleton", [COCO17, WHOLEBODY133], ids=lambda skeleton: skeleton.name)
def test_any_number_of_people(gpu: Gpu, people: int, skeleton: Skeleton) -> None:
    crowd = Crowd(people, skeleton)
    got, expected = crowd.on_gpu(gpu, 16), crowd.expected()
    check(got, expected)
    np.testing.assert_array_equal(got.depths, expected.depths)
    assert len(got.number) < people or people < 2


@pytest.mark.parametrize("batch", [1, 5, 40])
def test_any_batches(gpu: Gpu, batch: int, order: str) -> None:
    crowd = Crowd(23, COCO17)
    check(crowd.on_gpu(gpu, batch), crowd.expected())


def test_without_depths(gpu: Gpu) -> None:
    crowd = Crowd(9, COCO17)
    got = crowd.on_gpu(gpu, 16, with_depths=False)
    check(got, crowd.expected())
    assert got.depths is None


def test_nobody_is_seen(gpu: Gpu) -> None:
    crowd = Crowd(5, COCO17)
    crowd.scores[:] = 0
    crowd.keypoints[:] = np.nan
    got = crowd.on_gpu(gpu, 16)
    check(got, crowd.expected())
    np.testing.assert_array_equal(got.score, np.zeros(5))


def test_a_grid_smaller_than_the_data(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(items: int, threads: int, most: int = 0) -> int:
        return 2

    monkeypatch.setattr(people_gpu, "blocks", two)
    crowd = Crowd(30, COCO17)
    check(crowd.on_gpu(gpu, 30), crowd.expected())


def test_memory_that_is_used_again(gpu: Gpu) -> None:
    """What a larger crowd left does not come back."""
    people = GpuPeople(gpu, COCO17, 40)
    for count in (40, 3, 0):
        crowd = Crowd(count, COCO17, seed=count)
        arrays: list[Any] = [crowd.keypoints, crowd.scores, crowd.affines, crowd.found]
        people.place(0, *map(gpu.upload, arrays))
        people.keep(count, gpu.upload(crowd.areas))
        check(people.unpack(gpu.download(people.first)), crowd.expected())


def test_expected_is_what_it_seems() -> None:
    areas: NDArray[Any] = Crowd(4, COCO17).areas
    assert len(Crowd(4, COCO17).expected().number) == 3
    assert (areas > 0).all()
