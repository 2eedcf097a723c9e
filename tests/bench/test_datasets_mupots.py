"""MuPoTS-3D: files in the published layout, and its publishers' evaluation written again in plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from wholebody.benchmarks.datasets.dataset import Picture
from wholebody.benchmarks.datasets.mupots import Mupots
from wholebody.benchmarks.datasets.registry import reader
from wholebody.benchmarks.metrics.joint_errors import known
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import COCO17, COCO_HAND21, DOPE, DOPE_BODY, WHOLEBODY133, Skeleton

Doubles = NDArray[np.float64]

# Where each joint of MuPoTS stands in DOPE's body: head's top, then right arm, left arm, right leg, left leg.
DOPE_OF_MPI = {0: 12, 2: 10, 3: 8, 4: 6, 5: 11, 6: 9, 7: 7, 8: 4, 9: 2, 10: 0, 11: 5, 12: 3, 13: 1}
PARENTS = [
    1,
    14,
    1,
    2,
    3,
    1,
    5,
    6,
    14,
    8,
    9,
    14,
    11,
    12,
    14,
]  # the neck on the pelvis, without spine and head
ORDER = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]


def write(folder: Path, people: Sequence[Sequence[dict[str, Any] | None]], seed: int = 0) -> Path:
    """A sequence: for each frame its people, None where an annotation is not valid."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    cells = np.empty((len(people), len(people[0]) if people else 0), object)
    hidden = np.empty_like(cells)
    for at in np.ndindex(cells.shape):
        person = people[at[0]][at[1]]
        blank = {"annot2": np.zeros((2, 17)), "annot3": np.zeros((3, 17)), "univ_annot3": np.zeros((3, 17))}
        cells[at] = (person or blank) | {"isValidFrame": float(person is not None)}
        hidden[at] = (rng.random((1, 17)) < 0.3).astype(np.float64)
    savemat(folder / "annot.mat", {"annotations": cells})
    savemat(folder / "occlusion.mat", {"occlusion_labels": hidden})
    for frame in range(len(people)):
        (folder / f"img_{frame:06d}.jpg").touch()
    return folder


def person(rng: np.random.Generator, at: float) -> dict[str, Any]:
    """A person of random joints, mm, seen about x = `at` pixels."""
    solid = rng.normal(0, 300, (3, 17))
    solid[:, 1], solid[:, 14] = solid[:, [2, 5]].mean(axis=1), solid[:, [8, 11]].mean(axis=1)
    return {"annot2": at + solid[:2] / 10, "annot3": solid + 1, "univ_annot3": solid}


def like(rng: np.random.Generator, true: dict[str, Any], noise: float) -> tuple[Doubles, Doubles]:
    """DOPE's body (13, 2) pixels and (13, 3) metres, about as true, of other bones and elsewhere in space."""
    flat, solid = np.zeros((13, 2)), np.zeros((13, 3))
    for mpi, dope in DOPE_OF_MPI.items():
        flat[dope] = true["annot2"][:, mpi] + rng.normal(0, noise / 5, 2)
        solid[dope] = 1.3 * true["univ_annot3"][:, mpi] / 1000 + rng.normal(0, noise / 1000, 3) + [1, 2, 3]
    return flat, solid


def people_of(bodies: Sequence[tuple[Doubles, Doubles]], skeleton: Skeleton = DOPE_BODY) -> People:
    n, k = len(bodies), len(skeleton)
    flat, solid = np.full((n, k, 2), np.nan), np.full((n, k, 3), np.nan)
    for i, (a, b) in enumerate(bodies):
        flat[i, :13], solid[i, :13] = a, b
    seen = known(flat)
    keypoints, keypoints3d = flat.astype(np.float32), solid.astype(np.float32)
    boxes, score = np.zeros((n, 4), np.float32), np.ones(n, np.float32)
    return People(keypoints, seen.astype(np.float32), keypoints3d, boxes, score, skeleton)


def figures(dataset: Mupots, found: Sequence[People]) -> dict[str, float]:
    """Each metric over all pictures, as `Tally` says."""
    totals: dict[str, Any] = {}
    for people, picture in zip(found, dataset.pictures, strict=True):
        for name, (sums, counts) in dataset.tally(people, picture).items():
            a, b = totals.get(name, (0, 0))
            totals[name] = a + sums, b + counts
    assert list(totals) == [metric.name for metric in dataset.metrics]
    return {
        name: float((sums[counts > 0] / counts[counts > 0]).mean()) for name, (sums, counts) in totals.items()
    }


def in_loops(folder: Path, found: Sequence[People], pictures: Sequence[Picture]) -> dict[str, float]:
    """`mpii_mupots_multiperson_eval.m`, relative to the root, with 15 joints of 17 (no spine, no head)."""
    from scipy.io import loadmat

    by_sequence: dict[str, dict[str, list[float]]] = {}
    for people, picture in zip(found, pictures, strict=True):
        lists = by_sequence.setdefault(
            picture.group, {"all": [], "matched": [], "visible": [], "occluded": []}
        )
        frame = int(picture.path.stem.removeprefix("img_"))
        cells = loadmat(folder / picture.group / "annot.mat")["annotations"][frame]
        hidden = loadmat(folder / picture.group / "occlusion.mat")["occlusion_labels"][frame]
        assert people.keypoints3d is not None
        flat: list[Doubles] = []
        solid: list[Doubles] = []
        for a, b in zip(people.keypoints.astype(float), 1000 * people.keypoints3d.astype(float), strict=True):
            for points, out in ((a, flat), (b, solid)):
                pose = np.zeros((15, points.shape[1]))
                for mpi, dope in DOPE_OF_MPI.items():
                    pose[mpi] = points[dope]
                pose[1], pose[14] = (pose[2] + pose[5]) / 2, (pose[8] + pose[11]) / 2
                out.append(pose)
        taken: set[int] = set()
        for k, cell in enumerate(cells):
            if not cell["isValidFrame"][0, 0]:
                continue
            counts = [0] * len(flat)
            for p, pose in enumerate(flat):
                for joint in range(1, 14):
                    apart = np.abs(pose[joint] - cell["annot2"][0, 0][:, joint])
                    counts[p] += p not in taken and bool((apart < 40).all())
            best = int(np.argmax(counts)) if counts else -1
            matched = best >= 0 and counts[best] > 0
            truth = cell["univ_annot3"][0, 0].T
            truth = truth - truth[14]
            if matched:
                taken.add(best)
                pose = solid[best] - solid[best][14]
                placed = pose.copy()
                for joint in ORDER:
                    bone = pose[joint] - pose[PARENTS[joint]]
                    length = np.linalg.norm(truth[joint] - truth[PARENTS[joint]])
                    placed[joint] = placed[PARENTS[joint]] + bone * length / np.linalg.norm(bone)
            else:
                placed = np.full((15, 3), 1e5)
            for joint in range(14):
                error = float(np.linalg.norm(placed[joint] - truth[joint]))
                lists["all"].append(error)
                lists["occluded" if hidden[k].ravel()[joint] else "visible"].append(error)
                if matched:
                    lists["matched"].append(error)

    def mean(of: str, limits: Sequence[int]) -> float:
        shares = [[np.mean([e < t for e in lists[of]]) for t in limits] for lists in by_sequence.values()]
        return float(np.mean(shares))

    limits = range(0, 151, 5)
    return {
        "pck3d_all": mean("all", [150]),
        "pck3d_matched": mean("matched", [150]),
        "auc_all": mean("all", limits),
        "auc_matched": mean("matched", limits),
        "pck3d_visible": mean("visible", [150]),
        "pck3d_occluded": mean("occluded", [150]),
    }


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, list[People]]:
    """Two sequences, and what was found: people moved, missing, twice, far away and of nobody."""
    rng = np.random.default_rng(5)
    found: list[People] = []
    for name, frames in (("TS2", 3), ("TS10", 4)):
        truth = [
            [person(rng, 300), person(rng, 420), None if i == 1 else person(rng, 900)] for i in range(frames)
        ]
        write(tmp_path / name, truth, seed=frames)
        for i, people in enumerate(truth):
            bodies = [like(rng, true, 60) for true in people if true is not None]
            bodies = bodies[::-1] if i % 2 else [*bodies[1:], bodies[-1], like(rng, person(rng, 2000), 10)]
            found.append(people_of(bodies))
    return tmp_path, found


def test_it_is_the_publishers_evaluation(scene: tuple[Path, list[People]]) -> None:
    folder, found = scene
    dataset = reader("mupots")(folder)
    assert isinstance(dataset, Mupots)
    assert [picture.group for picture in dataset.pictures] == ["TS2"] * 3 + ["TS10"] * 4
    ours, theirs = figures(dataset, found), in_loops(folder, found, dataset.pictures)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value), name
        assert 0.02 < value < 0.98  # neither all right nor all wrong, or nothing is tested
    assert theirs["pck3d_matched"] > theirs["pck3d_all"]
    assert "2 of 20 sequences" in dataset.notes


def test_what_is_read(tmp_path: Path) -> None:
    true = person(np.random.default_rng(0), 300)
    write(tmp_path / "TS1", [[true, None], [None, None]])
    dataset = reader("mupots")(tmp_path)
    (picture,) = dataset.pictures  # nobody is annotated in the second
    truth = picture.truth
    assert picture.name == "TS1/img_000000.jpg"
    np.testing.assert_allclose(truth.keypoints[0], true["annot2"].T)
    assert truth.keypoints3d is not None
    np.testing.assert_allclose(truth.keypoints3d[0], true["univ_annot3"].T / 1000)
    assert truth.visible.shape == (1, 17)
    low, high = true["annot2"].min(axis=1), true["annot2"].max(axis=1)
    grown = [*(low - 0.1 * (high - low)), *(high + 0.1 * (high - low))]
    np.testing.assert_allclose(truth.boxes[0], grown, rtol=1e-6)
    assert dataset.sha256 != reader("mupots")(write(tmp_path / "b" / "TS1", [[true, true]]).parent).sha256


def test_all_of_dope_is_judged_as_its_body(scene: tuple[Path, list[People]]) -> None:
    folder, found = scene
    dataset = reader("mupots")(folder)
    whole = [
        people_of(list(zip(p.keypoints, p.keypoints3d, strict=True)), DOPE)  # type: ignore[arg-type]
        for p in found
    ]
    assert isinstance(dataset, Mupots)
    assert figures(dataset, whole) == figures(dataset, found)


def test_nobody_found_and_nobody_there(tmp_path: Path) -> None:
    write(tmp_path / "TS1", [[person(np.random.default_rng(0), 300)]])
    dataset = reader("mupots")(tmp_path)
    tally = dataset.tally(People.empty(DOPE_BODY, with_3d=True), dataset.pictures[0])
    assert [tally[name][0][0] for name in ("pck3d_all", "auc_all", "found")] == [0, 0, 0]
    assert [tally[name][1][0] for name in ("pck3d_all", "pck3d_matched", "found")] == [14, 0, 1]
    write(tmp_path / "b" / "TS3", [[None]])
    assert reader("mupots")(tmp_path / "b").pictures == ()


def test_joints_that_are_nan_are_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = person(rng, 300)
    write(tmp_path / "TS1", [[true]])
    dataset = reader("mupots")(tmp_path)
    flat, solid = like(rng, true, 0)
    right = dataset.tally(people_of([(flat, solid)]), dataset.pictures[0])
    assert [float(right[name][0][0]) for name in ("pck3d_all", "pck3d_matched", "found")] == [14, 14, 1]
    solid[0] = np.nan  # an ankle
    some = dataset.tally(people_of([(flat, solid)]), dataset.pictures[0])
    assert [float(some[name][0][0]) for name in ("pck3d_all", "pck3d_matched", "found")] == [13, 13, 1]
    assert some["pck3d_matched"][1][0] == 14
    none = dataset.tally(people_of([(flat * np.nan, solid * np.nan)]), dataset.pictures[0])
    assert float(none["pck3d_all"][0][0]) == float(none["found"][0][0]) == 0


def test_the_top_of_the_head_matches_nobody(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = person(rng, 300)
    write(tmp_path / "TS1", [[true]])
    dataset = reader("mupots")(tmp_path)
    for joint, matched in ((12, 0), (0, 1)):
        flat, solid = like(rng, true, 0)
        flat[[i for i in range(13) if i != joint]] += 1000
        assert dataset.tally(people_of([(flat, solid)]), dataset.pictures[0])["found"][0][0] == matched


def test_a_student_without_a_top_of_the_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = person(rng, 300)
    write(tmp_path / "TS1", [[true]])
    dataset = reader("mupots")(tmp_path)
    flat, solid = like(rng, true, 0)
    names = [DOPE_BODY.joints.index(name) for name in WHOLEBODY133.joints[5:17]]
    keypoints, keypoints3d = np.full((1, 133, 2), np.nan), np.full((1, 133, 3), np.nan)
    keypoints[0, 5:17], keypoints3d[0, 5:17] = flat[names], solid[names]
    people = People(
        keypoints.astype(np.float32),
        np.ones((1, 133), np.float32),
        keypoints3d.astype(np.float32),
        np.zeros((1, 4), np.float32),
        np.ones(1, np.float32),
        WHOLEBODY133,
    )
    tally = dataset.tally(people, dataset.pictures[0])
    assert [float(value[0]) for value in tally["pck3d_all"]] == [13, 13]


def test_which_students_can_be_judged(tmp_path: Path) -> None:
    write(tmp_path / "TS1", [[person(np.random.default_rng(0), 300)]])
    dataset = reader("mupots")(tmp_path)
    for skeleton in (DOPE, DOPE_BODY, WHOLEBODY133):
        dataset.require(skeleton, with_3d=True)
    with pytest.raises(
        ArtefactError, match="mupots judges joints in space, of which this student gives none"
    ):
        dataset.require(COCO17, with_3d=False)
    with pytest.raises(ArtefactError, match="coco_hand21 has no right_ankle"):
        dataset.require(COCO_HAND21, with_3d=True)


def test_a_folder_that_lacks_files(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"lacks TS\*/annot.mat, TS\*/img_\*.jpg of MuPoTS-3D; .* is had at http"
    ):
        reader("mupots")(tmp_path)
    folder = write(tmp_path / "TS1", [[person(np.random.default_rng(0), 300)]] * 2)
    (folder / "img_000001.jpg").unlink()
    with pytest.raises(SourceError, match=r"lacks img_000001.jpg of MuPoTS-3D"):
        reader("mupots")(tmp_path)
    (folder / "occlusion.mat").unlink()
    with pytest.raises(SourceError, match=r"lacks occlusion.mat"):
        reader("mupots")(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "TS1", [[person(np.random.default_rng(0), 300)]])
    whole = (folder / "annot.mat").read_bytes()
    for content in (b"", b"no MATLAB file", whole[:200], whole[: len(whole) // 2]):
        (folder / "annot.mat").write_bytes(content)
        with pytest.raises(
            SourceError, match=r"annot.mat (is no MATLAB file|has no cells|holds no annotations)"
        ):
            reader("mupots")(tmp_path)
    savemat(folder / "annot.mat", {"annotations": np.zeros((1, 1))})
    with pytest.raises(SourceError, match="has no cells named annotations"):
        reader("mupots")(tmp_path)
    cells = np.empty((1, 1), object)
    cells[0, 0] = {"isValidFrame": 1.0, "annot2": np.zeros((2, 5))}
    savemat(folder / "annot.mat", {"annotations": cells})
    with pytest.raises(SourceError, match="holds no annotations of MuPoTS-3D"):
        reader("mupots")(tmp_path)
    write(tmp_path / "b" / "TS1", [[None], [None]])
    (tmp_path / "b" / "TS1" / "annot.mat").write_bytes(whole)
    with pytest.raises(SourceError, match=r"tells \(1, 1\) frames and people, .* \(2, 1\)"):
        reader("mupots")(tmp_path / "b")
