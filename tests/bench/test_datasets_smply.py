"""SMPLy: its fits, MannequinChallenge's cameras, coverage, and people that are cut off or hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.body_joints import BODY13, LIMBS12, arranged, names_of
from wholebody.benchmarks.datasets.mannequin_cameras import read_cameras
from wholebody.benchmarks.datasets.registry import reader
from wholebody.benchmarks.datasets.smply import Smply
from wholebody.benchmarks.metrics.joint_errors import known
from wholebody.benchmarks.metrics.space import pa_mpjpe
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, DOPE_BODY, WHOLEBODY133, Skeleton

Doubles = NDArray[np.float64]
JOINTS = ("pelvis", *LIMBS12, "head_top")
SIZE = np.array([1280, 720])
TIMES = {"aa": (1000, 2000), "bb": (5005,)}
# Of each row of the fits: scene, time, truncated, occluded.
ROWS = (("aa", 1000, 0, 0), ("aa", 1000, 1, 1), ("aa", 2000, 0, 1), ("bb", 5005, 0, 0))
FOCAL, MIDDLE = np.array([0.9, 1.6]), np.array([0.5, 0.5])


def pose_of(scene: str, time: int) -> tuple[Doubles, Doubles]:
    """A camera's rotation and translation, of its own for each frame."""
    rng = np.random.default_rng(time)
    return cv2.Rodrigues(rng.normal(0, 0.2, 3))[0].astype(np.float64), rng.normal((0, 0, 3), 0.1)


def camera_line(scene: str, time: int) -> str:
    turn, shift = pose_of(scene, time)
    numbers = [*FOCAL, *MIDDLE, 0.0, 0.0, *np.column_stack([turn, shift]).ravel()]
    return " ".join([str(time), *(repr(float(number)) for number in numbers)])


def fits(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    scene, time, truncated, occluded = zip(*ROWS, strict=True)
    arrays = {
        "joints": np.array(JOINTS),
        "scene": np.array(scene),
        "timestamp": np.array(time),
        "size": np.tile(SIZE, (len(ROWS), 1)),
        "joints3d": rng.normal(0, 0.2, (len(ROWS), len(JOINTS), 3)) + [[[-1, 0, 0]], [[1, 0, 0]]] * 2,
        "metres": np.array([2.0, 2.0, 2.0, 0.5]),
        "truncated": np.array(truncated, np.bool_),
        "occluded": np.array(occluded, np.bool_),
    }
    return arrays | changes


def write(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "smply.npz", **{n: a for n, a in fits(**changes).items() if a is not None})
    for split, (scene, times) in zip(("train", "test"), TIMES.items(), strict=True):
        (folder / "cameras" / split).mkdir(parents=True, exist_ok=True)
        lines = [
            "https://www.youtube.com/watch?v=x",
            *(camera_line(scene, time) for time in reversed(times)),
            "",
        ]
        (folder / "cameras" / split / f"{scene}.txt").write_text("\n".join(lines))
        (folder / "images" / scene).mkdir(parents=True, exist_ok=True)
        for time in times:
            (folder / "images" / scene / f"{time}.jpg").touch()
    return folder


def found(dataset: Smply, number: int, skeleton: Skeleton = DOPE_BODY) -> People:
    """The people of a frame as a perfect student tells them."""
    truth = dataset.pictures[number].truth
    assert truth.keypoints3d is not None
    flat, solid = (
        arranged(array, dataset.joints, names_of(skeleton)).astype(np.float32)
        for array in (truth.keypoints, truth.keypoints3d)
    )
    boxes, score = truth.boxes.astype(np.float32), np.ones(len(flat), np.float32)
    return People(flat, known(flat).astype(np.float32), solid, boxes, score, skeleton)


def value(dataset: Smply, people: People, number: int) -> dict[str, float]:
    tally = dataset.tally(people, dataset.pictures[number])
    assert list(tally) == [metric.name for metric in dataset.metrics]
    return {name: float(s[0] / c[0]) if c[0] else float("nan") for name, (s, c) in tally.items()}


@pytest.fixture
def dataset(tmp_path: Path) -> Smply:
    read = reader("smply")(write(tmp_path))
    assert isinstance(read, Smply)
    return read


def test_truth_is_what_opencv_projects(dataset: Smply) -> None:
    assert [p.name for p in dataset.pictures] == ["aa/1000.jpg", "aa/2000.jpg", "bb/5005.jpg"]
    assert [p.group for p in dataset.pictures] == ["aa", "aa", "bb"]
    arrays, row = fits(), 0
    for picture, people in zip(dataset.pictures, (2, 1, 1), strict=True):
        assert len(picture.truth.boxes) == people
        assert picture.truth.keypoints3d is not None
        for i in range(people):
            scene, time, *_ = ROWS[row]
            turn, shift = pose_of(scene, time)
            focal, middle = FOCAL * SIZE, MIDDLE * SIZE - 0.5  # the centre of the top left pixel is (0, 0)
            matrix = np.array([[focal[0], 0, middle[0]], [0, focal[1], middle[1]], [0, 0, 1]])
            turned = cv2.Rodrigues(turn)[0]
            pixels, _ = cv2.projectPoints(arrays["joints3d"][row], turned, shift, matrix, np.zeros(5))
            np.testing.assert_allclose(picture.truth.keypoints[i], pixels[:, 0], atol=1e-6)
            metres = arrays["metres"][row] * (arrays["joints3d"][row] @ turn.T + shift)
            np.testing.assert_allclose(picture.truth.keypoints3d[i], metres)
            inside = ((pixels[:, 0] >= -0.5) & (pixels[:, 0] <= SIZE - 0.5)).all(axis=1)
            assert picture.truth.visible[i].tolist() == inside.tolist()
            row += 1


def test_the_truth_is_perfect(dataset: Smply) -> None:
    for number in range(3):
        result = value(dataset, found(dataset, number), number)
        for metric in dataset.metrics:
            if not np.isnan(result[metric.name]):
                assert result[metric.name] == pytest.approx(1 if metric.unit == "share" else 0, abs=1e-2)


def test_figures_by_hand(dataset: Smply) -> None:
    """One person of two is missed, one joint of the other is 200 mm off, the top of its head 300 mm."""
    people = found(dataset, 0)
    assert people.keypoints3d is not None
    solid = people.keypoints3d[:1].copy()
    solid[0, BODY13.index("left_wrist"), 2] += 0.2
    solid[0, BODY13.index("head_top"), 2] += 0.3
    one = People(
        people.keypoints[:1], people.scores[:1], solid, people.boxes[:1], people.score[:1], DOPE_BODY
    )
    result = value(dataset, one, 0)
    expected = {
        "mpjpe": 500 / 13,
        "pck3d_limbs": 11 / 24,
        "head_error": 300,
        "found": 1 / 2,
        "mpjpe_clear": 500 / 13,
        "pck3d_limbs_clear": 11 / 12,
        "found_clear": 1,
        "mpjpe_truncated": float("nan"),
        "pck3d_limbs_truncated": 0,
        "found_truncated": 0,
        "mpjpe_occluded": float("nan"),
        "pck3d_limbs_occluded": 0,
        "found_occluded": 0,
    }
    for name, figure in expected.items():
        assert result[name] == pytest.approx(figure, rel=1e-3, nan_ok=True), name
    truth = dataset.pictures[0].truth.keypoints3d
    assert truth is not None
    expected_pa = pa_mpjpe(solid, arranged(truth[:1], dataset.joints, BODY13))
    assert result["pa_mpjpe"] == pytest.approx(expected_pa, rel=1e-3)


def test_a_student_without_a_top_of_the_head(dataset: Smply) -> None:
    result = value(dataset, found(dataset, 0, WHOLEBODY133), 0)
    assert np.isnan(result["head_error"])
    assert result["pck3d_limbs"] == 1
    assert dataset.tally(found(dataset, 0, WHOLEBODY133), dataset.pictures[0])["mpjpe"][1][0] == 24


def test_fits_without_a_top_of_the_head(tmp_path: Path) -> None:
    dataset = reader("smply")(write(tmp_path, joints=np.array([*JOINTS[:-1], "Head"])))
    assert isinstance(dataset, Smply)
    truth = dataset.pictures[2]
    assert np.isnan(value(dataset, found(dataset, 2), 2)["head_error"])
    assert dataset.tally(found(dataset, 2), truth)["mpjpe"][1][0] == 12


def test_nobody_found_and_predictions_of_nan(dataset: Smply) -> None:
    people = found(dataset, 0)
    assert people.keypoints3d is not None
    nowhere = People(
        people.keypoints * np.float32("nan"),
        people.scores,
        people.keypoints3d,
        people.boxes,
        people.score,
        DOPE_BODY,
    )
    for nobody in (People.empty(DOPE_BODY, with_3d=True), nowhere):
        result = value(dataset, nobody, 0)
        assert [result[name] for name in ("pck3d_limbs", "found", "found_truncated")] == [0, 0, 0]
        assert np.isnan(result["mpjpe"])


def test_coverage(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert "3 of 3 frames (100.0%), 2 of 2 scenes" in reader("smply")(folder).notes
    (folder / "images/aa/1000.jpg").unlink()
    (folder / "images/bb/5005.jpg").unlink()
    dataset = reader("smply")(folder)
    assert "Coverage: 1 of 3 frames (33.3%), 1 of 2 scenes (its publishers name 24,428" in dataset.notes
    assert [picture.name for picture in dataset.pictures] == ["aa/2000.jpg"]
    (folder / "images/aa/2000.jpg").rename(folder / "images/aa/2001.jpg")
    with pytest.raises(SourceError, match=r"none of the 3 frames is under .*images, as aa/1000.jpg"):
        reader("smply")(folder)


def test_what_cannot_be_scored_is_told(dataset: Smply) -> None:
    for words in ("Own protocol", "vertices (PVE)", "shape", "hands and faces"):
        assert words in dataset.notes


def test_a_point_behind_the_camera_is_not_in_the_picture(tmp_path: Path) -> None:
    joints3d = fits()["joints3d"]
    joints3d[3, 2] = -50 * pose_of("bb", 5005)[0][2]  # along the axis, backwards
    dataset = reader("smply")(write(tmp_path, joints3d=joints3d))
    truth = dataset.pictures[2].truth
    assert np.isnan(truth.keypoints[0, 2]).all()
    assert not truth.visible[0, 2]
    assert np.isfinite(truth.boxes).all()


def test_cameras(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("url\n" + camera_line("aa", 2000) + "\n" + camera_line("aa", 1000) + "\n")
    cameras = read_cameras(path)
    assert cameras.timestamps.tolist() == [1000, 2000]
    turn, shift = pose_of("aa", 2000)
    np.testing.assert_allclose(cameras.pose[1], np.column_stack([turn, shift]))
    np.testing.assert_allclose(cameras.focal, [FOCAL, FOCAL])
    np.testing.assert_allclose(cameras.middle, [MIDDLE, MIDDLE])
    path.write_text("url\n")
    assert read_cameras(path).pose.shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"url\n1 2 3\n", "every line must be the 19 numbers"),
        (b"url\n" + b"x " * 19, "every line must be the 19 numbers"),
        (b"\xff\xfe\x00", "is no text file of cameras"),
        (b"url\n5 1 1 0 0 0.1 0 " + b"0 " * 12, "a camera is distorted"),
    ],
)
def test_damaged_cameras(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_cameras(tmp_path / "c.txt")
    with pytest.raises(SourceError, match="cannot read"):
        read_cameras(tmp_path / "d.txt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": np.array(JOINTS[:5])}, "joints lacks .*left_shoulder; it has pelvis"),
        (
            {"joints3d": np.zeros((4, 3, 3))},
            r"joints3d is \(4, 3, 3\) of float64, not rows x 14 x 3, each a number",
        ),
        ({"metres": None}, "has no array metres"),
        ({"metres": np.ones(3)}, "different lengths"),
        ({"truncated": np.zeros(4)}, r"truncated is \(4,\) of float64, not rows, each a yes or no"),
        ({"scene": np.array(["aa", "cc", "aa", "bb"])}, r"lacks cc.txt"),
        ({"scene": np.array(["aa", "../b", "aa", "bb"])}, "is no name of a scene"),
        ({"timestamp": np.array([1000, 1000, 2001, 5005])}, "frames of aa that are not in its camera file"),
        ({"scene": np.array([{}, {}, {}, {}])}, "holds Python objects, which are never unpickled"),
    ],
)
def test_damaged_fits(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        reader("smply")(write(tmp_path, **change))


def test_a_folder_that_lacks_files(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"lacks smply.npz, cameras/\*\*/\*.txt, images/\*/\*.jpg of .* is had at"
    ):
        reader("smply")(tmp_path)


def test_which_students_can_be_judged(dataset: Smply) -> None:
    for skeleton in (DOPE_BODY, WHOLEBODY133):
        dataset.require(skeleton, with_3d=True)
    with pytest.raises(ArtefactError, match="smply judges joints in space"):
        dataset.require(COCO17, with_3d=False)
