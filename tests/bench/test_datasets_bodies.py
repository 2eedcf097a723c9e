"""Human3.6M and MPI-INF-3DHP: real samples, the converters' layout, and the protocol of bodies in space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.arrays import Column, read_npz
from wholebody.benchmarks.datasets.bodies import Bodies, boxes_around
from wholebody.benchmarks.datasets.body_joints import (
    BODY13,
    H36M17,
    LIMBS12,
    MPI14,
    MPI17,
    MPI_PARENTS,
    arranged,
    given,
    names_of,
)
from wholebody.benchmarks.datasets.dataset import Picture, Truth
from wholebody.benchmarks.datasets.registry import reader
from wholebody.benchmarks.metrics.joint_errors import known
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import DOPE, DOPE_BODY, DOPE_FACE, DOPE_TO_WHOLEBODY, WHOLEBODY133, Skeleton

Doubles = NDArray[np.float64]
LAYOUTS = {
    "h36m": ("annotation_body3d/fps10/h36m_test.npz", "h36m", "test_h36m_body3d.npz", H36M17),
    "mpi-inf-3dhp": ("annotations/mpi_inf_3dhp_test_valid.npz", "mpi_inf_3dhp", "test_3dhp_test.npz", MPI17),
}


def lay_out(folder: Path, dataset: str, annotations: Path, images: Path) -> Path:
    """The folder that the converters make, of links."""
    place = folder / LAYOUTS[dataset][0]
    place.parent.mkdir(parents=True)
    place.symlink_to(annotations)
    (folder / "images").symlink_to(images)
    return folder


def write(folder: Path, dataset: str, **changes: Any) -> Path:
    """A folder of two random people."""
    joints, rng = len(LAYOUTS[dataset][3]), np.random.default_rng(0)
    names = {
        "h36m": [
            "S9/S9_Eating_1.54138969/S9_Eating_1.54138969_000001.jpg",
            "S11/S11_Eating.55011271_000006.jpg",
        ],
        "mpi-inf-3dhp": ["TS1_000001.jpg", "TS6_000002.jpg"],
    }[dataset]
    arrays: dict[str, Any] = {
        "imgname": np.array(names),
        "part": np.concatenate([rng.uniform(0, 900, (2, joints, 2)), np.ones((2, joints, 1))], axis=2),
        "S": rng.normal(size=(2, joints, 4)),
    }
    path = folder / LAYOUTS[dataset][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    for name in names:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).touch()
    return folder


def found(truth: Truth, names: Sequence[str], skeleton: Skeleton = DOPE_BODY) -> People:
    """The true people as a student of this skeleton would tell them, were it perfect."""
    assert truth.keypoints3d is not None
    flat, solid = (
        arranged(array, names, names_of(skeleton)) for array in (truth.keypoints, truth.keypoints3d)
    )
    return People(
        flat.astype(np.float32),
        known(flat).astype(np.float32),
        solid.astype(np.float32),
        truth.boxes.astype(np.float32),
        np.ones(len(flat), np.float32),
        skeleton,
    )


def moved(people: People, by: Any, joint: str = "") -> People:
    """The same people, all joints or one of them elsewhere in space."""
    assert people.keypoints3d is not None
    solid = people.keypoints3d.copy()
    solid[:, people.skeleton.joints.index(joint) if joint else slice(None)] += np.asarray(by, np.float32)
    arrays = people.keypoints, people.scores, solid, people.boxes, people.score
    return People(*arrays, people.skeleton)


def value(dataset: Bodies, people: People, picture: Picture) -> dict[str, float]:
    """Each metric of one picture; NaN where nothing counts."""
    tally = dataset.tally(people, picture)
    assert list(tally) == [metric.name for metric in dataset.metrics]
    return {name: float(s.sum() / c.sum()) if c.sum() else float("nan") for name, (s, c) in tally.items()}


PERFECT = {"mpjpe": 0, "pa_mpjpe": 0, "pck3d": 1, "auc": 30 / 31, "found": 1}


@pytest.fixture(params=LAYOUTS)
def dataset(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Bodies:
    """The real samples."""
    _, source, annotations, _ = LAYOUTS[request.param]
    images = shared / "data" / "annotated" / source
    read = reader(request.param)(lay_out(tmp_path, request.param, images / annotations, images))
    assert isinstance(read, Bodies)
    return read


def test_other_annotations(shared: Path) -> None:
    folder = shared / "data" / "annotated" / "mpi_inf_3dhp"
    dataset = reader("mpi-inf-3dhp")(folder, annotations=folder / "test_3dhp_train.npz")
    assert [picture.group for picture in dataset.pictures] == ["S4", "S8"]


def test_real_samples(dataset: Bodies) -> None:
    actions = ["Directions", "SittingDown", "Greeting", "WalkDog"]
    groups = {"h36m": actions, "mpi-inf-3dhp": ["TS1", "TS2"]}[dataset.name]
    assert [picture.group for picture in dataset.pictures] == groups
    assert dict(dataset.cells) == (
        {name: i for i, name in enumerate(sorted(actions))} if groups is actions else {}
    )
    for picture in dataset.pictures:
        assert picture.path.is_file()
        solid = picture.truth.keypoints3d
        assert solid is not None
        assert 2 < solid[0, :, 2].mean() < 8  # metres from the camera
        # In space x and y go as in the picture, and depth grows away from the camera.
        for axis in (0, 1):
            flat = picture.truth.keypoints[0, :, axis]
            assert np.corrcoef(solid[0, :, axis] / solid[0, :, 2], flat)[0, 1] > 0.99
        (x0, y0, x1, y1) = picture.truth.boxes[0]
        assert 80 < x1 - x0 < 1500
        assert 150 < y1 - y0 < 1500


def test_left_is_left_in_real_samples(dataset: Bodies) -> None:
    """Of who faces the camera, the right is on the left."""
    picture = dataset.pictures[{"h36m": 3, "mpi-inf-3dhp": 0}[dataset.name]]
    for part in ("hip", "shoulder", "wrist"):
        right, left = arranged(picture.truth.keypoints, dataset.joints, (f"right_{part}", f"left_{part}"))[0]
        assert right[0] < left[0]


@pytest.mark.parametrize("skeleton", [DOPE_BODY, DOPE, WHOLEBODY133], ids=lambda skeleton: skeleton.name)
def test_the_truth_is_perfect_wherever_it_is(dataset: Bodies, skeleton: Skeleton) -> None:
    for picture in dataset.pictures:
        people = moved(found(picture.truth, dataset.joints, skeleton), [5, -7, 9])
        result = value(dataset, people, picture)
        if dataset.name == "mpi-inf-3dhp":  # its pelvis and neck are joints of their own, not middles
            assert result["mpjpe"] < 40
            assert result["pck3d"] == 1
        else:
            assert result == pytest.approx(PERFECT, abs=2e-2)


def test_errors_by_hand(dataset: Bodies) -> None:
    picture = dataset.pictures[0]
    joints = len(given(BODY13, dataset.judged))
    people = found(picture.truth, dataset.joints)
    before, after = (value(dataset, moved(people, [0, 0, d], "left_wrist"), picture) for d in (0, 10))
    assert after["pck3d"] == pytest.approx(before["pck3d"] - 1 / joints)
    assert after["mpjpe"] > 9000 / joints
    assert after["found"] == 1
    assert people.keypoints3d is not None
    doubled = moved(people, people.keypoints3d)
    assert value(dataset, doubled, picture)["mpjpe"] > 100
    assert value(dataset, doubled, picture)["pa_mpjpe"] == pytest.approx(before["pa_mpjpe"], abs=1e-2)


def test_nobody_found(dataset: Bodies) -> None:
    for picture in dataset.pictures:
        result = value(dataset, People.empty(DOPE_BODY, with_3d=True), picture)
        nothing = {"mpjpe": float("nan"), "pa_mpjpe": float("nan"), "pck3d": 0, "auc": 0, "found": 0}
        assert result == pytest.approx(nothing, nan_ok=True)


def test_nobody_there(dataset: Bodies) -> None:
    picture = dataset.pictures[0]
    truth = picture.truth
    assert truth.keypoints3d is not None
    nobody = Truth(truth.keypoints[:0], truth.keypoints3d[:0], truth.visible[:0], truth.boxes[:0])
    empty = Picture(picture.name, picture.path, nobody, picture.group)
    for people in (People.empty(DOPE_BODY, with_3d=True), found(truth, dataset.joints)):
        assert not any(counts.any() or sums.any() for sums, counts in dataset.tally(people, empty).values())


def test_predictions_of_nan(dataset: Bodies) -> None:
    picture = dataset.pictures[0]
    people = found(picture.truth, dataset.joints)
    perfect = value(dataset, people, picture)
    joints = len(given(BODY13, dataset.judged))
    result = value(dataset, moved(people, [np.nan] * 3, "left_knee"), picture)
    assert result["pck3d"] == pytest.approx(perfect["pck3d"] - 1 / joints)
    assert np.isfinite(result["mpjpe"])
    result = value(dataset, moved(people, [np.nan] * 3), picture)  # seen in the picture, nowhere in space
    assert (result["pck3d"], result["auc"], result["found"]) == (0, 0, 1)
    assert np.isnan(result["mpjpe"])


def test_the_best_of_two_people_is_taken(dataset: Bodies) -> None:
    picture = dataset.pictures[0]
    people = found(picture.truth, dataset.joints)
    assert people.keypoints3d is not None
    two = People(
        np.concatenate([people.keypoints + 2000, people.keypoints]),
        np.concatenate([people.scores] * 2),
        np.concatenate([people.keypoints3d * 9, people.keypoints3d]),
        np.concatenate([people.boxes] * 2),
        np.array([0.9, 0.1], np.float32),
        DOPE_BODY,
    )
    assert value(dataset, two, picture) == value(dataset, people, picture)


def test_means_over_actions(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "annotated" / "h36m"
    dataset = reader("h36m")(lay_out(tmp_path, "h36m", folder / "test_h36m_body3d.npz", folder))
    sums, counts = dataset.tally(People.empty(DOPE_BODY, with_3d=True), dataset.pictures[1])["pck3d"]
    assert counts.tolist() == [0, 0, 13, 0]  # SittingDown
    assert sums.tolist() == [0] * 4
    assert "mean over 4 actions" in dataset.notes


@pytest.mark.parametrize("dataset_name", LAYOUTS)
def test_made_files(dataset_name: str, tmp_path: Path) -> None:
    dataset = reader(dataset_name)(write(tmp_path, dataset_name))
    groups = {"h36m": ["Eating", "Eating"], "mpi-inf-3dhp": ["TS1", "TS6"]}[dataset_name]
    assert [picture.group for picture in dataset.pictures] == groups
    assert len(dataset.sha256) == 64


@pytest.mark.parametrize("dataset_name", LAYOUTS)
def test_a_folder_that_lacks_files(dataset_name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"lacks annotation.*npz, images of .* is had at http.*licence"):
        reader(dataset_name)(tmp_path)
    folder = write(tmp_path, dataset_name)
    next(folder.glob("images/**/*01.jpg")).unlink()
    with pytest.raises(SourceError, match=r"lacks .*000001.jpg of .* is had at http"):
        reader(dataset_name)(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"S": None}, "has no array S; it has imgname, part"),
        ({"S": np.zeros((2, 5, 4))}, r"S is \(2, 5, 4\) of float64, not rows x 17 x 4, each a number"),
        ({"S": np.zeros((3, 17, 4))}, r"different lengths \(imgname 2, part 2, S 3\)"),
        ({"imgname": np.zeros(2)}, r"imgname is \(2,\) of float64, not rows, each a text"),
        ({"imgname": np.array(["a", None], object)}, "holds Python objects, which are never unpickled"),
        ({"imgname": np.array(["../a.jpg", "b.jpg"])}, "no name of a picture inside a folder"),
    ],
)
def test_damaged_arrays(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = write(tmp_path, "h36m", **change)
    with pytest.raises(SourceError, match=message):
        reader("h36m")(folder)


def test_what_is_no_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(SourceError, match=r"cannot read .*a.npz: No such file"):
        read_npz(path, {"a": Column("number")})
    np.savez(path, a=np.arange(1000))
    whole = path.read_bytes()
    for content in (b"", b"PK", b"\x80\x04.", whole[:300], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"a.npz is no .npz file, or is cut short"):
            read_npz(path, {"a": Column("number")})


def test_which_students_can_be_judged(tmp_path: Path) -> None:
    dataset = reader("h36m")(write(tmp_path, "h36m"))
    for skeleton in (DOPE_BODY, DOPE, WHOLEBODY133):
        dataset.require(skeleton, with_3d=True)
    with pytest.raises(ArtefactError, match="h36m judges joints in space"):
        dataset.require(WHOLEBODY133, with_3d=False)
    with pytest.raises(ArtefactError, match="dope_face84 has no"):
        dataset.require(DOPE_FACE, with_3d=True)


def test_names_of_joints() -> None:
    assert set(LIMBS12) < set(WHOLEBODY133.joints)
    assert set(BODY13) < set(H36M17)
    assert set(BODY13) < set(MPI17)
    assert set(names_of(DOPE)) - set(WHOLEBODY133.joints) == {"head_top", ""}
    dope = names_of(DOPE)
    assert len({name for name in dope if name}) == len([name for name in dope if name]) == 13 + 68 + 42
    for ours, theirs in DOPE_TO_WHOLEBODY:
        assert dope[ours] == WHOLEBODY133.joints[theirs]
    assert given(names_of(WHOLEBODY133), MPI14) == MPI14[1:]
    assert given(names_of(DOPE), MPI17) == (*MPI14, "pelvis")
    assert set(MPI_PARENTS) == {*MPI14, "pelvis"}
    assert given(DOPE_FACE.joints, MPI17) == ()


def test_joints_in_another_order() -> None:
    points = np.arange(26, dtype=np.float64).reshape(1, 13, 2)
    left, right = BODY13.index("left_hip"), BODY13.index("right_hip")
    out = arranged(points, BODY13, ("head_top", "pelvis", "spine", "left_hip"))[0]
    np.testing.assert_array_equal(out[0], points[0, 12])
    np.testing.assert_array_equal(out[1], (points[0, left] + points[0, right]) / 2)
    assert np.isnan(out[2]).all()
    np.testing.assert_array_equal(out[3], points[0, left])
    assert arranged(points[:0], BODY13, MPI17).shape == (0, 17, 2)
    points[0, left] = np.nan
    assert np.isnan(arranged(points, BODY13, ("pelvis",))).all()


def test_boxes_around_labelled_joints() -> None:
    joints = np.array([[[0.0, 0], [10, 20], [np.nan, 99]]])
    np.testing.assert_allclose(boxes_around(joints), [[-1, -2, 11, 22]], rtol=1e-6)
    assert boxes_around(joints[:0]).shape == (0, 4)
