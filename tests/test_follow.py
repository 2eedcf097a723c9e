"""A pipeline on the frames of a video: boxes carried along, ids and smoothing, in a made-up world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from wholebody.runtime.backends.backend import TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.errors import WholebodyError
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.skeletons import COCO17
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec
from wholebody.runtime.video.follow import Follow

HEIGHT, WIDTH, SIDE = 240, 480, 64.0  # of pictures, and of a person in them
JOINTS = np.random.default_rng(6).uniform(-0.4, 0.4, (17, 2)) * SIDE
WALLS = [np.random.default_rng(seed).integers(0, 256, (24, 48, 3)).astype(np.uint8) for seed in range(2)]
WALLS = [WALLS[0] // 4, 255 - WALLS[1] // 4]

SURE = {"ann": 0.9, "bob": 0.7, "cyd": 0.6}  # how well the detector likes them

Places = Mapping[str, tuple[float, float]]


@dataclass
class World:
    """Where people are in each frame; the detector and the student see no more of it than they are allowed.

    missed  (frame, who) that the detector does not find
    faint   (frame, who) of whom the student is not sure, and how sure it is
    scenes  frames that begin another scene
    """

    frames: Sequence[Places]
    missed: set[tuple[int, str]] = field(default_factory=set)
    faint: dict[tuple[int, str], float] = field(default_factory=dict)
    scenes: set[int] = field(default_factory=set)
    noise: float = 0.0

    def images(self) -> list[np.ndarray]:
        """Each with its number in the first pixel."""
        images = []
        for number in range(len(self.frames)):
            wall = WALLS[len([at for at in self.scenes if at <= number]) % 2]
            image = cv2.resize(wall, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
            image[0, 0] = number
            images.append(np.asarray(image, np.uint8))
        return images


class Seer(TopDownPose):
    """A top-down pipeline that looks the answers up in its world."""

    def __init__(self, world: World, *, max_people: int | None = None) -> None:
        self.world = world
        self.skeleton = COCO17
        self.max_people = max_people
        self.detector = cast("PersonDetector", object())
        self.looks: list[int] = []
        self.crops: list[int] = []

    def detect(self, image_bgr: Pixels) -> tuple[Floats, Floats]:
        number = int(image_bgr[0, 0, 0])
        self.looks.append(number)
        found = [
            item for item in self.world.frames[number].items() if (number, item[0]) not in self.world.missed
        ]
        boxes = np.array([[x - 32, y - 32, x + 32, y + 32] for _, (x, y) in found], np.float32).reshape(-1, 4)
        score = np.array([SURE[who] for who, _ in found], np.float32)
        return boxes[: self.max_people], score[: self.max_people]

    def estimate(
        self, image_bgr: Pixels, boxes: Floats, score: Floats
    ) -> tuple[People, np.ndarray[Any, np.dtype[np.intp]]]:
        number = int(image_bgr[0, 0, 0])
        self.crops.append(len(boxes))
        found = [self._in(box, number) for box in boxes]
        points = np.array([points for points, _ in found], np.float32).reshape(-1, 17, 2)
        scores = np.array([[sure] * 17 for _, sure in found], np.float32).reshape(-1, 17)
        kept = np.arange(len(boxes))[::-1]  # in an order of its own, as suppression has
        people = People(points[kept], scores[kept], None, boxes[kept], score[kept], COCO17)
        times = {"detect": 0.0, "preprocess": 1.0, "network": 1.0, "postprocess": 1.0}
        return people.with_metadata(times_ms=times), kept

    def _in(self, box: Floats, number: int) -> tuple[np.ndarray, float]:
        """Whoever is nearest to the middle of the box, surely if in it."""
        rng = np.random.default_rng([number, *box.clip(min=0).astype(int)])
        x, y = (box[:2] + box[2:]) / 2
        there = self.world.frames[number]
        for who in sorted(there, key=lambda who: (there[who][0] - x) ** 2 + (there[who][1] - y) ** 2):
            at = there[who]
            if box[0] < at[0] < box[2] and box[1] < at[1] < box[3]:
                sure = self.world.faint.get((number, who), 0.8)
                return JOINTS + at + rng.normal(0, self.world.noise, JOINTS.shape), sure
            break
        return rng.uniform(box[:2], box[2:], (17, 2)), 0.05


def walk(frames: int, **people: Callable[[int], tuple[float, float]]) -> list[Places]:
    return [{who: at(frame) for who, at in people.items()} for frame in range(frames)]


def two_walk(frames: int) -> list[Places]:
    return walk(frames, ann=lambda t: (60 + 4 * t, 80), bob=lambda t: (400 - 3 * t, 160))


def centres(people: People) -> list[tuple[float, float]]:
    """Where the people are, in steps of half a pixel, from left to right."""
    middles = np.round(2 * (people.keypoints - JOINTS).mean(axis=1)) / 2
    return sorted((float(x), float(y)) for x, y in middles)


def equal(a: People, b: People) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
        for name in ("keypoints", "scores", "boxes", "score")
    )


# --- nothing asked for ----------------------------------------------------------------------------


def test_with_nothing_on_it_is_the_bare_pipeline() -> None:
    world = World(two_walk(10), missed={(3, "ann"), (4, "bob")}, scenes={6}, noise=1.0)
    pose, bare = Seer(world), Seer(world)
    follow = Follow(pose)
    for image in world.images():
        people = follow(image)
        assert equal(people, bare(image))
        assert people.ids is None
    assert pose.looks == bare.looks


def test_pictures_and_options_that_are_none() -> None:
    pose = Seer(World([{}]))
    for follow in (Follow(pose, ids=True), Follow(pose, smooth=True), Follow(pose, detect_every=3)):
        with pytest.raises(ValueError, match="the picture is a NoneType"):
            follow(cast("Any", None))
    for number in (0, 2.5, np.inf, np.nan):
        with pytest.raises(WholebodyError, match=f"detect_every is {number}; allowed is a whole number, 1"):
            Follow(pose, detect_every=cast("Any", number))
    with pytest.raises(
        WholebodyError, match=r"detect_every is 5, but this Pose has no detector to spare: leave it at 1"
    ):
        Follow(Pose(), detect_every=5)
    crop = CropInput(64, 48, (0, 0, 0), (1, 1, 1), "rgb")
    spec = TopDownSpec("blind", "heatmap", crop, "coco17", WeightsSpec("made up", "0" * 64, "none"))
    image = TensorSpec("image", (1, 3, 64, 48), np.dtype(np.float32))
    blind = TopDownPose(FakeBackend((image,), {"heatmaps": np.zeros((1, 17, 16, 12))}), spec, full_frame=True)
    with pytest.raises(WholebodyError, match="this TopDownPose has no detector"):
        Follow(blind, detect_every=2)


class Pose:
    """A pipeline that finds people itself, as DOPE does; one keypoint trembles by two pixels."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image_bgr: Pixels) -> People:
        self.calls += 1
        points = (JOINTS + 100.0)[None].astype(np.float32)
        points[0, 0, 0] += 2 * (self.calls % 2)
        score = np.ones((1, 17), np.float32)
        box = np.array([[68, 68, 132, 132]], np.float32)
        return People(
            points, score, np.ones((1, 17, 3), np.float32) * points[:, :, :1], box, score[:, 0], COCO17
        )


# --- boxes carried along --------------------------------------------------------------------------


@pytest.mark.parametrize("every", [2, 5])
def test_people_are_followed_without_the_detector(every: int) -> None:
    world = World(two_walk(20))
    pose = Seer(world)
    follow = Follow(pose, detect_every=every)
    for number, image in enumerate(world.images()):
        people = follow(image)
        assert centres(people) == sorted(world.frames[number].values())
        by_height = people.score[np.argsort(people.keypoints[:, 0, 1])]
        assert by_height.tolist() == pytest.approx([SURE["ann"], SURE["bob"]])
        assert (people.metadata["times_ms"]["detect"] > 0) == (number % every == 0)
    assert pose.looks == list(range(0, 20, every))
    assert pose.crops == [2] * 20


def test_newcomers_wait_for_the_next_detection_and_nobody_appears_twice() -> None:
    world = World([{"ann": (60, 80)}] * 3 + [{"ann": (60, 80), "bob": (200, 80)}] * 5)
    follow = Follow(Seer(world), detect_every=5)
    assert [len(follow(image)) for image in world.images()] == [1, 1, 1, 1, 1, 2, 2, 2]


def test_whoever_leaves_is_lost_at_once() -> None:
    world = World([{"ann": (60, 80), "bob": (200, 80)}] * 3 + [{"bob": (200, 80)}] * 3)
    follow = Follow(Seer(world), detect_every=10)
    assert [len(follow(image)) for image in world.images()] == [2, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("sure", [[0.25], [0.55, 0.35], [0.05]])
def test_whoever_fades_is_lost(sure: list[float]) -> None:
    """At once or little by little, until a detection: there a faint person is a person."""
    faint = {(3 - len(sure) + 1 + at, "ann"): value for at, value in enumerate(sure)}
    faint |= {(number, "ann"): 0.25 for number in (5, 6, 7)}
    follow = Follow(Seer(world := World([{"ann": (60, 80)}] * 8, faint=faint)), detect_every=5)
    assert [len(follow(image)) for image in world.images()] == [1, 1, 1, 0, 0, 1, 1, 1]


def test_whoever_was_never_clear_is_not_carried() -> None:
    faint = {(number, "ann"): 0.1 for number in range(6)}
    world = World([{"ann": (60, 80), "bob": (200, 80)}] * 6, faint=faint)
    follow = Follow(Seer(world), detect_every=5)
    assert [len(follow(image)) for image in world.images()] == [2, 1, 1, 1, 1, 2]


def test_the_detector_may_miss_somebody_once() -> None:
    world = World([{"ann": (60, 80), "bob": (200, 80)}] * 9, missed={(n, "ann") for n in (2, 4, 5, 6, 7)})
    follow = Follow(Seer(world), detect_every=2)
    assert [len(follow(image)) for image in world.images()] == [2, 2, 2, 2, 1, 1, 1, 1, 2]


def test_people_walk_out_of_the_picture() -> None:
    world = World(walk(12, ann=lambda t: (400 + 20 * t, 80)))
    follow = Follow(Seer(world), detect_every=20)
    found = [len(follow(image)) for image in world.images()]
    assert found[:4] == [1] * 4
    assert found[-1] == 0


def test_carried_people_count_towards_the_most() -> None:
    two: Places = {"ann": (60, 80), "bob": (200, 80)}
    world = World([two, two, {**two, "cyd": (350, 80)}, two], missed={(2, "ann"), (2, "bob")})
    follow = Follow(Seer(world, max_people=2), detect_every=2)
    assert [len(follow(image)) for image in world.images()] == [2, 2, 2, 1]


def test_a_scene_cut_calls_the_detector() -> None:
    world = World([{"ann": (60, 80)}] * 4 + [{"bob": (300, 150)}] * 4, scenes={4})
    pose = Seer(world)
    follow = Follow(pose, detect_every=10)
    for number, image in enumerate(world.images()):
        assert centres(follow(image)) == sorted(world.frames[number].values())
    assert pose.looks == [0, 4]


def test_empty_frames_and_another_video() -> None:
    world = World([{}] * 3 + [{"ann": (60, 80)}] * 3 + [{}] * 2)
    pose = Seer(world)
    follow = Follow(pose, detect_every=3, ids=True, smooth=True)
    assert [len(follow(image)) for image in world.images()] == [0, 0, 0, 1, 1, 1, 0, 0]
    follow.reset()
    assert follow(world.images()[4]).ids is not None
    assert pose.looks == [0, 3, 6, 4]


# --- ids and smoothing ----------------------------------------------------------------------------


def test_ids_persist_whatever_the_order() -> None:
    world = World(two_walk(20), missed={(number, "ann") for number in (3, 7, 8)}, noise=0.5)
    follow = Follow(Seer(world), ids=True)
    for number, image in enumerate(world.images()):
        people = follow(image)
        rows = {
            int(y): who
            for (_, y), who in zip(people.keypoints.mean(axis=1), cast("Any", people.ids), strict=True)
        }
        middle = int(JOINTS[:, 1].mean())
        assert all(rows[y] == (2 if abs(y - 80 - middle) < 4 else 1) for y in rows)
        assert len(rows) == (1 if number in (3, 7, 8) else 2)


def test_a_scene_cut_ends_every_id() -> None:
    world = World([{"ann": (60, 80)}] * 6, scenes={3})
    follow = Follow(Seer(world), ids=True)
    ids = [cast("Any", follow(image).ids).tolist() for image in world.images()]
    assert ids == [[1]] * 3 + [[2]] * 3
    follow.reset()
    assert cast("Any", follow(world.images()[0]).ids).tolist() == [1]


def test_any_pipeline_can_have_ids_and_be_smoothed() -> None:
    image = World([{}]).images()[0]
    pose = Pose()
    follow = Follow(pose, ids=True, smooth=True)
    answers = [follow(image, time_s=number / 25) for number in range(30)]
    assert all(cast("Any", people.ids).tolist() == [1] for people in answers)
    x = np.array([people.keypoints[0, 0, 0] for people in answers[5:]])
    x3d = np.array([cast("Floats", people.keypoints3d)[0, 0, 0] for people in answers[5:]])
    assert np.abs(np.diff(x)).max() < 2 / 3
    assert np.abs(np.diff(x3d)).max() < 2
    np.testing.assert_allclose(answers[-1].keypoints[0, 1:], JOINTS[1:] + 100, atol=1e-3)


def test_smoothing_alone_gives_no_ids_and_begins_anew_at_a_cut() -> None:
    world = World([{"ann": (60, 80)}] * 3 + [{"ann": (72, 80)}] * 3, scenes={3})
    follow = Follow(Seer(world), smooth=True)
    answers = [follow(image) for image in world.images()]
    assert all(people.ids is None for people in answers)
    assert centres(answers[3]) == [(72, 80)]
    calm = World(world.frames)
    follow = Follow(Seer(calm), smooth=True)
    assert 60 < centres([follow(image) for image in calm.images()][3])[0][0] < 72


@pytest.mark.parametrize("later", [False, True])
def test_time_that_runs_backwards_is_another_video(later: bool) -> None:
    world = World([{"ann": (60, 80)}, {"ann": (72, 80)}])
    follow = Follow(Seer(world), smooth=True, ids=True)
    follow(world.images()[0], time_s=10.0)
    people = follow(world.images()[1], time_s=10.02 if later else 0.0)
    assert (centres(people) == [(72, 80)]) != later


@pytest.mark.parametrize("time_s", [np.nan, np.inf])
def test_times_that_are_none(time_s: float) -> None:
    world = World([{"ann": (60, 80)}, {"ann": (72, 80)}])
    follow = Follow(Seer(world), smooth=True, ids=True)
    follow(world.images()[0], time_s=0.0)
    with pytest.raises(ValueError, match=f"time_s is {time_s}; allowed is a finite number"):
        follow(world.images()[1], time_s=time_s)
    assert follow(world.images()[1], time_s=0.04).ids == [1]  # as if nothing had been asked


def test_another_video_begins_anew() -> None:
    image, bare = World([{}]).images()[0], Pose()
    follow = Follow(Pose(), smooth=True)
    for _ in range(2):
        expected, people = bare(image), follow(image)
        np.testing.assert_array_equal(people.keypoints, expected.keypoints)
        np.testing.assert_array_equal(
            cast("Floats", people.keypoints3d), cast("Floats", expected.keypoints3d)
        )
        follow.reset()


# --- a real moving picture ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def footballers(shared: Path) -> TopDownPose:
    """A real detector and a real student, one thread each."""
    from wholebody.runtime.backends.onnxrt import OnnxRuntime
    from wholebody.runtime.published import describe_detector, describe_student

    models = shared / "data" / "models"
    finder, student = models / "rtmdet_nano_mmpose.onnx", models / "ultralight_simplepose_coco17.onnx"
    detector = PersonDetector(
        OnnxRuntime(finder, threads=1),
        describe_detector(finder, kind="rtmdet", size=(320, 320)),
        min_score=0.5,
    )
    spec = describe_student(student, color="rgb", norm="imagenet", udp=False)
    return TopDownPose(OnnxRuntime(student, threads=1), spec, detector)


def test_a_pan_over_a_photograph(shared: Path, footballers: TopDownPose) -> None:
    """People who stand still in a picture that moves by 8 pixels a frame and trembles by one.

    A pixel of the student's heatmaps is about 12 of the picture for them.
    """
    photograph = cv2.imread(str(shared / "data" / "images" / "rtmlib_demo.jpg"))
    assert photograph is not None
    tremble = np.random.default_rng(0).normal(0, 1, (16, 2))
    shifts = np.array([[8.0 * number, 0.0] for number in range(16)]) + tremble
    follow = Follow(footballers, detect_every=5, ids=True)
    calm = Follow(footballers, detect_every=5, ids=True, smooth=True)
    bare, followed, smoothed = [], [], []
    for shift in shifts:
        moved = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]])
        image = np.asarray(cv2.warpAffine(photograph, moved, (800, 640)), np.uint8)
        for answers, pipeline in ((bare, footballers), (followed, follow), (smoothed, calm)):
            answers.append(pipeline(image))
    for who in (1, 2):
        path, smooth = _path(followed, who), _path(smoothed, who)
        for people, at in zip(bare, path, strict=True):
            assert np.abs(people.keypoints - at).max(axis=2).mean(axis=1).min() < 12
        still = path + shifts[:, None]
        assert np.median(np.linalg.norm(still - np.median(still, axis=0), axis=2)) < 6
        assert np.abs(np.diff(smooth, n=2, axis=0)).mean() < 0.6 * np.abs(np.diff(path, n=2, axis=0)).mean()


def _path(answers: list[People], who: int) -> np.ndarray:
    """(T, 17, 2) where somebody was in each frame."""
    return np.stack([people.keypoints[cast("Any", people.ids) == who][0] for people in answers])
