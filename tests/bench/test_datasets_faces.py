"""Data sets of faces: how they judge, real samples, tiny folders in the published layouts, bad folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from wholebody.benchmarks.datasets.aflw2000 import YAWS, Aflw2000, read_aflw2000
from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.datasets.faces import FaceDataset, face_truth
from wholebody.benchmarks.datasets.found_parts import labelled
from wholebody.benchmarks.datasets.registry import DATASETS, reader
from wholebody.benchmarks.datasets.w300 import W300, read_w300
from wholebody.benchmarks.datasets.w300lp import W300Lp, read_w300lp
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, DOPE, DOPE_FACE, WHOLEBODY133, Skeleton

NAN = np.nan
FACES = ("300w", "300w-lp", "aflw2000")


def landmarks(seed: int = 0, side: float = 100) -> np.ndarray:
    """(68, 2) pixels, as MATLAB counts them, in a square."""
    return np.random.default_rng(seed).random((68, 2)) * side + 50


def picture(points: np.ndarray, group: str = "") -> Picture:
    return Picture(group, Path(f"{group}.png"), face_truth(points.reshape(-1, 68, 2)), group)


def people_of(skeleton: Skeleton, *faces: np.ndarray) -> People:
    """A person for each face, given by all points of the skeleton's face."""
    keypoints = np.full((len(faces), len(skeleton), 2), NAN)
    keypoints[:, skeleton.parts["face"]] = np.array(faces).reshape(len(faces), -1, 2)
    pixels, count = keypoints.astype(np.float32), len(faces)
    scores = labelled(keypoints).astype(np.float32)
    ones = np.ones(count, np.float32)
    return People(pixels, scores, None, np.zeros((count, 4), np.float32), ones, skeleton)


def figures(dataset: FaceDataset, people: Sequence[People]) -> dict[str, float]:
    """Each metric: the mean, over the cells that count anything, of sum / count."""
    tallies = [dataset.tally(p, pic) for p, pic in zip(people, dataset.pictures, strict=True)]
    values = {}
    for name in [metric.name for metric in dataset.metrics]:
        sums, counts = (np.asarray(sum(t[name][i] for t in tallies if name in t)) for i in (0, 1))
        known = counts > 0
        values[name] = float(np.mean(sums[known] / counts[known])) if known.any() else NAN
    return values


# --- how they judge -----------------------------------------------------------------------------------------


def test_300w_over_the_outer_eyes() -> None:
    """Every landmark 5 pixels off, eyes 50 and 100 pixels apart; the third face is not found."""
    faces = [landmarks(seed) for seed in range(3)]
    for face, away in zip(faces, (50, 100, 50), strict=True):
        face[45] = face[36] + [away, 0]
    groups = ("common", "challenge", "common")
    dataset = W300("", "", tuple(map(picture, faces, groups)))
    people = [people_of(WHOLEBODY133, face - 1 + [3, 4]) for face in faces[:2]]
    found = figures(dataset, [*people, People.empty(WHOLEBODY133)])
    assert found["nme"] == pytest.approx((0.1 + 0.05) / 2, rel=1e-4)
    assert found["nme common"] == pytest.approx(0.1, rel=1e-4)
    assert found["nme challenge"] == pytest.approx(0.05, rel=1e-4)
    assert found["found"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx((1 - 0.05 / 0.08) / 3, rel=1e-4)
    names = [metric.name for metric in dataset.metrics]
    assert names == ["auc", "nme", "nme common", "nme challenge", "found"]


def test_aflw2000_is_the_mean_of_three_bins() -> None:
    """As 3DDFA: distance over √(w·h) of each face, mean of a bin's faces, mean of the bins."""
    rng = np.random.default_rng(0)
    groups = [YAWS[i] for i in (0, 0, 0, 0, 1, 1, 2)]
    faces = [landmarks(i, side=80 + 40 * i) for i in range(7)]
    guesses = [face - 1 + rng.normal(size=(68, 2)) * 4 for face in faces]
    dataset = Aflw2000("", "", tuple(map(picture, faces, groups)))
    found = figures(dataset, [people_of(WHOLEBODY133, guess) for guess in guesses])
    nmes: dict[str, list[float]] = {yaw: [] for yaw in YAWS}
    for face, guess, group in zip(faces, guesses, groups, strict=True):
        (left, top), (right, bottom) = face.min(axis=0), face.max(axis=0)
        apart = [float(np.hypot(*(a - b))) for a, b in zip(face - 1, guess, strict=True)]
        nmes[group].append(sum(apart) / 68 / float(np.sqrt((right - left) * (bottom - top))))
    for yaw in YAWS:
        assert found[f"nme {yaw}"] == pytest.approx(np.mean(nmes[yaw]), rel=1e-4)
    assert found["nme"] == pytest.approx(np.mean([np.mean(nmes[yaw]) for yaw in YAWS]), rel=1e-4)
    over_faces = np.mean([nme for bin_ in nmes.values() for nme in bin_])
    assert found["nme"] != pytest.approx(over_faces, rel=1e-2)


def test_a_bin_without_faces_does_not_count() -> None:
    dataset = Aflw2000("", "", (picture(landmarks(), YAWS[2]),))
    found = figures(dataset, [people_of(WHOLEBODY133, landmarks() - 1 + [3, 4])])
    assert found["nme"] == pytest.approx(found[f"nme {YAWS[2]}"])
    assert np.isnan(found[f"nme {YAWS[0]}"])


@pytest.mark.parametrize("skeleton", [DOPE, DOPE_FACE])
def test_every_second_contour_point_of_dope(skeleton: Skeleton) -> None:
    """A face of 84 points of which the 16 others lie anywhere."""
    face = landmarks()
    dense = np.full((84, 2), 1e5)
    dense[0:33:2], dense[33:] = face[:17] - 1, face[17:] - 1
    for kind in (W300, W300Lp, Aflw2000):
        found = figures(kind("", "", (picture(face),)), [people_of(skeleton, dense)])
        assert found["nme"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", [W300, W300Lp, Aflw2000])
def test_nobody(kind: type[FaceDataset]) -> None:
    none, one = picture(np.zeros((0, 68, 2))), picture(landmarks())
    dataset = kind("", "", (none, one))
    for people in (People.empty(DOPE, with_3d=True), people_of(WHOLEBODY133, landmarks())):
        for sums, counts in dataset.tally(people, none).values():
            assert not sums.any()
            assert not counts.any()
    missed = dataset.tally(People.empty(DOPE), one)
    assert [cell.tolist() for cell in missed["found"]] == [[0], [1]]
    assert [cell.tolist() for cell in missed["auc"]] == [[0], [1]]
    assert missed["nme"][1].sum() == 0


def test_a_face_that_lacks_a_landmark_is_missed() -> None:
    face = landmarks()
    guess = face - 1
    guess[30] = NAN
    cells = W300("", "", (picture(face),)).tally(people_of(WHOLEBODY133, guess), picture(face))
    assert [cell.tolist() for cell in cells["found"]] == [[0], [1]]
    assert cells["nme"][1].tolist() == [0]
    assert cells["auc"][0].tolist() == [0]


def test_the_nearest_of_several_faces() -> None:
    face = landmarks()
    people = people_of(WHOLEBODY133, face + 500, face + 20, face - 1)
    found = figures(dataset := W300Lp("", "", (picture(face),)), [people])
    assert found["nme"] == pytest.approx(0, abs=1e-6)
    assert "300W-LP has no protocol of its own" in dataset.notes


def test_who_can_be_judged() -> None:
    for skeleton in (DOPE, DOPE_FACE, WHOLEBODY133):
        W300("300w", "", ()).require(skeleton, with_3d=False)
    for skeleton in (COCO17, COCO_HAND21):
        with pytest.raises(ArtefactError, match=f"300w judges faces, which {skeleton.name} does not have"):
            W300("300w", "", ()).require(skeleton, with_3d=True)


# --- real samples -------------------------------------------------------------------------------------------


def test_real_samples(shared: Path) -> None:
    """The person's right eye is left in the picture, the chin below the brows, all inside the box."""
    folder = shared / "data" / "annotated"
    w300, w300lp = read_w300(folder / "300w"), read_w300lp(folder / "300wlp")
    assert [pic.group for pic in w300.pictures] == ["indoor", "indoor"]
    assert [len(dataset.pictures) for dataset in (w300, w300lp)] == [2, 2]
    for pic in (*w300.pictures, *w300lp.pictures):
        assert pic.path.is_file()
        (face,), (box,) = pic.truth.keypoints, pic.truth.boxes
        assert face[36, 0] < face[39, 0] < face[42, 0] < face[45, 0]
        assert face[8, 1] > face[17:27, 1].max()
        assert ((face >= box[:2] - 2) & (face <= box[2:] + 2)).all()


# --- tiny folders in the published layouts ------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def coco(folder: Path, name: str, *pictures: str, **more: Any) -> None:
    flat = [v for x, y in landmarks() for v in (x, y, 1)]
    images = [{"id": i, "file_name": picture} for i, picture in enumerate(pictures)]
    faces = [
        {"image_id": i, "keypoints": flat, "bbox": [1, 1, 200, 100], **more} for i in range(len(pictures))
    ]
    path = folder / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": faces}))


def test_300w_as_mmpose(tmp_path: Path) -> None:
    names = ("ibug/image_003_1.jpg", "helen/testset/1.jpg", "lfpw/testset/image_0001.png")
    coco(tmp_path, "face_landmarks_300w_valid.json", *names)
    touch(tmp_path, *(f"images/{name}" for name in names))
    dataset = read_w300(tmp_path)
    assert [pic.group for pic in dataset.pictures] == ["challenge", "common", "common"]
    assert dataset.groups == ("common", "challenge")
    truth = dataset.pictures[0].truth
    assert truth.keypoints[0] == pytest.approx(landmarks() - 1)  # MATLAB's first pixel is 1
    assert truth.boxes.tolist() == [[0, 0, 200, 100]]


def test_300w_as_published(tmp_path: Path) -> None:
    points = "\n".join(f"{x} {y}" for x, y in landmarks())
    touch(tmp_path, "01_Indoor/indoor_001.png", "02_Outdoor/outdoor_002.png")
    for name in ("01_Indoor/indoor_001.pts", "02_Outdoor/outdoor_002.pts"):
        (tmp_path / name).write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    dataset = read_w300(tmp_path)
    assert dataset.groups == ("indoor", "outdoor")
    assert dataset.pictures[1].path.name == "outdoor_002.png"
    assert dataset.pictures[1].truth.keypoints[0] == pytest.approx(landmarks() - 1)


def test_300w_lp_as_mmpose_and_as_published(tmp_path: Path) -> None:
    coco(tmp_path / "a", "face_landmarks_300wlp_test.json", "x.jpg")
    touch(tmp_path / "a", "x.jpg")
    folder = tmp_path / "b"
    touch(folder, "AFW/AFW_1_0.jpg")
    (folder / "landmarks" / "AFW").mkdir(parents=True)
    savemat(folder / "landmarks" / "AFW" / "AFW_1_0_pts.mat", {"pts_2d": landmarks()})
    for root in (tmp_path / "a", folder):
        (pic,) = read_w300lp(root).pictures
        assert pic.truth.keypoints[0] == pytest.approx(landmarks() - 1)


def aflw2000(folder: Path, *degrees: float, **more: Any) -> None:
    for i, yaw in enumerate(degrees):
        touch(folder, f"image{i:05d}.jpg")
        solid = np.concatenate([landmarks(i).T, np.ones((1, 68))])
        pose = np.array([[0.1, np.radians(yaw), 0.2, 0, 0, 0, 1e-3]])
        savemat(folder / f"image{i:05d}.mat", {"pt3d_68": solid, "Pose_Para": pose, **more})


def test_aflw2000(tmp_path: Path) -> None:
    aflw2000(tmp_path / "AFLW2000", 0, -29.9, 30.1, -60.1, 89)
    for root in (tmp_path, tmp_path / "AFLW2000"):
        dataset = read_aflw2000(root)
        assert [YAWS.index(pic.group) for pic in dataset.pictures] == [0, 0, 1, 2, 2]
        assert dataset.pictures[3].name == "image00003.jpg"
        assert dataset.pictures[3].truth.keypoints[0] == pytest.approx(landmarks(3) - 1)


# --- folders and files that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize("name", FACES)
def test_an_empty_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError) as caught:
        reader(name)(tmp_path)
    assert "lacks" in str(caught.value)
    assert DATASETS[name].url in str(caught.value)
    assert DATASETS[name].licence in str(caught.value)


def test_pictures_that_are_missing(tmp_path: Path) -> None:
    aflw2000(tmp_path, 0, 10)
    (tmp_path / "image00001.jpg").unlink()
    with pytest.raises(SourceError, match=r"lacks image00001\.jpg of AFLW2000-3D"):
        read_aflw2000(tmp_path)


@pytest.mark.parametrize("text", ["", "version: 1\n{\n1 2\n}", "{ a b }", "{" + "1 nan\n" * 68 + "}"])
def test_no_points(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "01_Indoor/indoor_001.png")
    (tmp_path / "01_Indoor" / "indoor_001.pts").write_text(text)
    with pytest.raises(SourceError, match=r"indoor_001\.pts"):
        read_w300(tmp_path)


def test_matlab_files_of_something_else(tmp_path: Path) -> None:
    aflw2000(tmp_path, 0, pt3d_68=np.zeros((3, 21)))
    with pytest.raises(SourceError, match="no 3 x 68 numbers named pt3d_68"):
        read_aflw2000(tmp_path)
    aflw2000(tmp_path, 0, Pose_Para="none")
    with pytest.raises(SourceError, match="no 1 x 7 numbers named Pose_Para"):
        read_aflw2000(tmp_path)


def test_too_few_landmarks(tmp_path: Path) -> None:
    coco(tmp_path, "face_landmarks_300w_valid.json", "a.jpg", keypoints=[1] * 63)
    touch(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match="keypoints is not 68 x 3 numbers"):
        read_w300(tmp_path)
