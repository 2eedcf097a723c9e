"""Scenes on disk and samples drawn from them: nothing half-written, and truth that follows its picture."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.benchmarks.synthetic import render_scene
from wholebody.distill import scenes
from wholebody.distill.scenes import (
    Sample,
    Scenes,
    augment,
    render_shard,
    rendering,
    wait_for_scenes,
)
from wholebody.runtime.skeletons import DOPE, WHOLEBODY133, Skeleton

HEIGHT, WIDTH = 90, 120
both = pytest.mark.parametrize("skeleton", [DOPE, WHOLEBODY133], ids=lambda skeleton: skeleton.name)


def sample(seed: int, people: int = 2, skeleton: Skeleton = DOPE) -> Sample:
    rng = np.random.default_rng([seed, len(skeleton)])
    image = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    shape = people, len(skeleton)
    pixels = rng.uniform(-20, 140, (*shape, 2)).astype(np.float32)
    metres = rng.normal(0, 1, (*shape, 3)).astype(np.float32)
    return Sample(image, pixels, metres, rng.random(shape) < 0.7, skeleton)


def spot(x: float, y: float) -> Sample:
    """A soft white spot on black with every keypoint at its middle."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bright = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
    image = np.repeat(bright[..., None], 3, axis=2).round().astype(np.uint8)
    pixels = np.tile(np.array([x, y], np.float32), (1, 139, 1))
    return Sample(image, pixels, np.zeros((1, 139, 3), np.float32), np.ones((1, 139), bool), DOPE)


def middle(image: Any, around: Any) -> tuple[float, float]:
    """The centre of mass of a spot within 10 pixels of `around`, against its surroundings."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    near = np.hypot(columns - around[0], rows - around[1]) < 10
    mass = np.where(near, image[..., 0].astype(float), 0)
    return float((mass * columns).sum() / mass.sum()), float((mass * rows).sum() / mass.sum())


# --- mirror, move, recolour -------------------------------------------------------------------------


@given(st.integers(0, 20), st.sampled_from([DOPE, WHOLEBODY133]))
def test_mirrored_twice_is_the_same(seed: int, skeleton: Skeleton) -> None:
    before = sample(seed, skeleton=skeleton)
    after = scenes._mirrored(scenes._mirrored(before))
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_allclose(after.keypoints, before.keypoints, atol=1e-4)
    np.testing.assert_array_equal(after.keypoints3d, before.keypoints3d)
    np.testing.assert_array_equal(after.visible, before.visible)


@both
def test_mirroring_swaps_the_hands_and_turns_x(skeleton: Skeleton) -> None:
    before = sample(3, skeleton=skeleton)
    after = scenes._mirrored(before)
    mirror = np.array([-1, 1, 1])
    right, left = skeleton.parts["right_hand"], skeleton.parts["left_hand"]
    np.testing.assert_array_equal(after.keypoints3d[:, right], before.keypoints3d[:, left] * mirror)
    np.testing.assert_array_equal(after.visible[:, left], before.visible[:, right])
    np.testing.assert_allclose(
        after.keypoints[:, right, 0], WIDTH - 1 - before.keypoints[:, left, 0], atol=1e-4
    )
    right_wrist, left_wrist = (skeleton.joints.index(name) for name in ("right_wrist", "left_wrist"))
    np.testing.assert_array_equal(
        after.keypoints3d[:, right_wrist], before.keypoints3d[:, left_wrist] * mirror
    )


@pytest.mark.parametrize("seed", range(8))
def test_keypoints_stay_on_what_they_mark(seed: int) -> None:
    """Mirrored and moved, to a twentieth of a pixel: pixel (0, 0) is the centre of the top-left pixel."""
    before = spot(61.25, 40.75)
    moved = scenes._moved(before, np.random.default_rng(seed))
    border = moved.image[0, 0, 0] if moved.image[0, 0, 0] == moved.image[0, 1, 0] else 0
    lit = replace(moved, image=np.where(moved.image == border, 0, moved.image))
    for after in (scenes._mirrored(before), lit):
        np.testing.assert_allclose(
            middle(after.image, after.keypoints[0, 0]), after.keypoints[0, 0], atol=0.05
        )


@given(st.integers(0, 200))
def test_moving_scales_distances_alike_and_hides_what_it_moves_out(seed: int) -> None:
    before = sample(seed)
    after = scenes._moved(before, np.random.default_rng(seed))
    apart = [s.keypoints[0, :10] - s.keypoints[1, :10] for s in (before, after)]
    scale = float((apart[0] * apart[1]).sum() / (apart[0] ** 2).sum())
    assert 0.69 < scale < 1.41
    np.testing.assert_allclose(apart[1], scale * apart[0], atol=1e-2)
    inside = np.all((after.keypoints >= 0) & (after.keypoints <= (WIDTH - 1, HEIGHT - 1)), axis=2)
    np.testing.assert_array_equal(after.visible, before.visible & inside)
    np.testing.assert_array_equal(after.keypoints3d, before.keypoints3d)


def test_a_seed_augments_in_one_way_and_leaves_the_sample_as_it_was() -> None:
    before = sample(0)
    untouched = before.image.copy()
    for seed in range(12):
        once, again = (augment(before, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(once.image, again.image)
        np.testing.assert_array_equal(once.keypoints, again.keypoints)
        assert (once.image.shape, once.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert once.keypoints.dtype == once.keypoints3d.dtype == np.float32
    np.testing.assert_array_equal(before.image, untouched)


def test_a_recoloured_picture_has_a_gain_a_channel_and_one_lift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off at black and white."""
    monkeypatch.setattr(scenes, "_mirrored", lambda sample: sample)
    monkeypatch.setattr(scenes, "_moved", lambda sample, rng: sample)
    before = sample(0)
    kinds = set()
    for seed in range(12):
        after = augment(before, np.random.default_rng(seed))
        np.testing.assert_array_equal(after.keypoints, before.keypoints)
        lifts = []
        for was, now in zip(before.image.reshape(-1, 3).T, after.image.reshape(-1, 3).T, strict=True):
            between = (now > 0) & (now < 255)
            gain, lift = np.polyfit(was[between], now[between], 1)
            assert 0.74 < gain < 1.26
            np.testing.assert_allclose(now, np.clip(was * gain + lift, 0, 255), atol=1)
            lifts.append(lift)
        assert np.ptp(lifts) < 0.1
        kinds.add(bool(np.array_equal(after.image, before.image)))
    assert kinds == {True, False}


def test_augmentations_differ() -> None:
    images = [augment(sample(0), np.random.default_rng(seed)).image for seed in range(20)]
    assert len({image.tobytes() for image in images}) >= 18


@both
def test_nobody_augmented_is_nobody(skeleton: Skeleton) -> None:
    for seed in range(12):
        after = augment(sample(0, people=0, skeleton=skeleton), np.random.default_rng(seed))
        assert after.keypoints.shape == (0, len(skeleton), 2)
        assert after.visible.shape == (0, len(skeleton))
        assert after.skeleton is skeleton


# --- shards -----------------------------------------------------------------------------------------


def scene(*samples: Sample) -> SimpleNamespace:
    """What `render_scene` gives, of the same people in every skeleton."""
    dope, wholebody = samples
    people = [
        SimpleNamespace(
            keypoints=k, keypoints3d=k3, visible=v, keypoints133=w, keypoints3d133=w3, visible133=wv
        )
        for k, k3, v, w, w3, wv in zip(
            dope.keypoints, dope.keypoints3d, dope.visible,
            wholebody.keypoints, wholebody.keypoints3d, wholebody.visible, strict=True,
        )
    ]  # fmt: skip
    return SimpleNamespace(image=dope.image, people=people)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Shards of two small scenes; the list holds the seeds that were rendered."""
    seeds: list[int] = []

    def render_scene(seed: int, size: tuple[int, int]) -> SimpleNamespace:
        seeds.append(seed)
        return scene(*(sample(seed, 1 + seed % 3, skeleton) for skeleton in (DOPE, WHOLEBODY133)))

    monkeypatch.setattr(scenes, "render_scene", render_scene)
    monkeypatch.setattr(scenes, "SHARD", 2)
    return seeds


@both
def test_a_shard_holds_its_scenes(rendered: list[int], tmp_path: Path, skeleton: Skeleton) -> None:
    path = render_shard(tmp_path, 4)
    assert rendered == [4, 5]
    assert list(tmp_path.iterdir()) == [path]
    stock = Scenes(tmp_path, skeleton)
    assert len(stock) == 2
    for seed, drawn in zip((4, 5), stock, strict=True):
        expected = sample(seed, 1 + seed % 3, skeleton)
        np.testing.assert_array_equal(drawn.keypoints, expected.keypoints)
        np.testing.assert_array_equal(drawn.keypoints3d, expected.keypoints3d)
        np.testing.assert_array_equal(drawn.visible, expected.visible)
        assert drawn.skeleton is skeleton
        assert (drawn.image.shape, drawn.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


@both
def test_a_shard_of_the_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skeleton: Skeleton) -> None:
    """The real one: one person's truth is the same in either skeleton."""
    monkeypatch.setattr(scenes, "SHARD", 1)
    render_shard(tmp_path, 7)
    (drawn,), (person, *_) = Scenes(tmp_path, skeleton), render_scene(7, (scenes.SIDE, scenes.SIDE)).people
    assert drawn.image.shape == (scenes.SIDE, scenes.SIDE, 3)
    kind = "" if skeleton is DOPE else "133"
    for name in ("keypoints", "keypoints3d", "visible"):
        np.testing.assert_array_equal(getattr(drawn, name)[0], getattr(person, f"{name}{kind}"))
        assert getattr(drawn, name).dtype == (bool if name == "visible" else np.float32)


def test_a_picture_survives_its_coding(
    rendered: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smooth = spot(60, 40)
    monkeypatch.setattr(scenes, "render_scene", lambda seed, size: scene(smooth, sample(0, 1, WHOLEBODY133)))
    render_shard(tmp_path, 0)
    difference = np.abs(Scenes(tmp_path, DOPE)[1].image.astype(int) - smooth.image)
    assert difference.mean() < 1


def test_a_shard_that_is_there_is_not_rendered_again(rendered: list[int], tmp_path: Path) -> None:
    first = render_shard(tmp_path, 0)
    before = first.read_bytes()
    assert render_shard(tmp_path, 0) == first
    assert rendered == [0, 1]
    assert first.read_bytes() == before


def test_a_shard_appears_only_when_whole(
    rendered: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="disk full"):
        render_shard(tmp_path, 0)
    assert not list(tmp_path.glob("*.npz"))
    assert len(Scenes(tmp_path, DOPE)) == 0


def test_new_shards_are_taken_in_once_and_behind_the_old(rendered: list[int], tmp_path: Path) -> None:
    stock = Scenes(tmp_path, DOPE)
    assert len(stock) == 0
    for first, count in ((2, 2), (0, 4)):
        render_shard(tmp_path, first)
        stock.refresh()
        stock.refresh()
        assert len(stock) == count
    np.testing.assert_array_equal(stock[0].keypoints, sample(2, people=3).keypoints)
    np.testing.assert_array_equal(Scenes(tmp_path, DOPE)[0].keypoints, sample(0, people=1).keypoints)


def test_waiting_ends_when_enough_scenes_are_there(
    rendered: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        render_shard(tmp_path, 2 * len(naps))

    monkeypatch.setattr(time, "sleep", sleep)
    wait_for_scenes(tmp_path, 5)
    assert len(naps) == 3
    wait_for_scenes(tmp_path, 5)
    assert len(naps) == 3


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_renderers_go_through_all_seeds_and_give_way(
    rendered: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """Each scene is one renderer's, the first scenes first."""
    given_way: list[int] = []
    monkeypatch.setattr(os, "nice", given_way.append)
    monkeypatch.setattr(cv2, "setNumThreads", lambda count: None)
    for process in range(processes):
        share = len(rendered)
        scenes._render(tmp_path, 5, process, processes)
        assert rendered[share:] == sorted(rendered[share:])
        assert rendered[share : share + 1] == ([2 * process] if 2 * process < 5 else [])
    assert sorted(rendered) == [0, 1, 2, 3, 4, 5]
    assert len(given_way) == processes
    assert min(given_way) > 0


def test_renderers_work_as_long_as_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Process:
        def __init__(self, target: Any, args: tuple[Any, ...], daemon: bool) -> None:
            assert target is scenes._render
            assert daemon
            self.args = args

        def start(self) -> None:
            told.append(("start", *self.args))

        def terminate(self) -> None:
            told.append(("terminate", *self.args))

    context = SimpleNamespace(Process=Process)
    monkeypatch.setattr(scenes.multiprocessing, "get_context", lambda method: context)
    folder = tmp_path / "new" / "scenes"

    def stopped() -> None:
        with rendering(folder, 500, processes=2):
            assert folder.is_dir()
            assert told == [("start", folder, 500, 0, 2), ("start", folder, 500, 1, 2)]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert told[2:] == [("terminate", folder, 500, 0, 2), ("terminate", folder, 500, 1, 2)]
