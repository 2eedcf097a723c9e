"""Readers of hands: real samples, tiny folders in the published layouts, and folders that are not whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from wholebody.benchmarks.datasets.dataset import Dataset, Truth
from wholebody.benchmarks.datasets.freihand import read_freihand
from wholebody.benchmarks.datasets.interhand import read_interhand
from wholebody.benchmarks.datasets.onehand10k import read_onehand10k
from wholebody.benchmarks.datasets.panoptic import read_panoptic
from wholebody.benchmarks.datasets.registry import DATASETS, reader
from wholebody.benchmarks.datasets.rhd import read_rhd
from wholebody.benchmarks.datasets.stb import read_stb
from wholebody.runtime.errors import SourceError
from wholebody.runtime.skeletons import COCO_HAND21

HANDS = ("freihand", "rhd", "stb", "interhand", "onehand10k", "panoptic")
JOINT = {name: number for number, name in enumerate(COCO_HAND21.joints)}


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def bone_length(points: np.ndarray, order: list[int] | None = None) -> float:
    """The bones of (21, d) joints, end to end, were they in this order."""
    hand = points if order is None else points[order]
    return float(sum(np.linalg.norm(hand[a] - hand[b]) for a, b in COCO_HAND21.limbs))


def in_order(points: np.ndarray) -> bool:
    """A hand's bones are shorter than those between the joints of fingers that are taken for reversed."""
    reversed_fingers = [0, *(j for base in range(1, 21, 4) for j in range(base + 3, base - 1, -1))]
    return bone_length(points) < bone_length(points, reversed_fingers)


# --- real samples -------------------------------------------------------------------------------------------

SAMPLES: Mapping[str, tuple[str, Callable[[Path], Dataset], tuple[str, ...]]] = {
    "freihand": ("freihand", read_freihand, ("right",) * 8),
    "rhd": ("rhd", read_rhd, ("left", "left", "right")),
    "panoptic": ("panoptic", read_panoptic, ("left", "right", "left", "right")),
    "interhand": (
        "interhand2.6m", read_interhand, ("right", "left", "right", "left", "left", "right"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples(shared: Path, name: str) -> None:
    folder, read, sides = SAMPLES[name]
    dataset = read(shared / "data" / "annotated" / folder)
    assert dataset.name == name
    assert len(dataset.sha256) == 64
    truths = [picture.truth for picture in dataset.pictures]
    assert all(picture.path.is_file() for picture in dataset.pictures)
    assert tuple(side for truth in truths for side in truth.sides) == sides
    for hand in (hand for truth in truths for hand in truth.keypoints):
        assert in_order(hand)
    for truth in truths:
        inside = (truth.keypoints >= truth.boxes[:, None, :2]) & (truth.keypoints <= truth.boxes[:, None, 2:])
        assert inside.mean() > 0.9


def test_real_depths(shared: Path) -> None:
    """Adults' hands: 6 to 16 cm from the wrist to the tip of the middle finger, in front of the camera."""
    for name in ("rhd", "interhand"):
        folder, read, _ = SAMPLES[name]
        for picture in read(shared / "data" / "annotated" / folder).pictures:
            points = picture.truth.keypoints3d
            assert points is not None
            assert (points[..., 2] > 0.2).all()
            length = np.linalg.norm(points[:, JOINT["middle1"]] - points[:, JOINT["wrist"]], axis=1)
            assert ((length > 0.06) & (length < 0.16)).all()
            assert all(in_order(hand) for hand in points)


def test_real_projections(shared: Path) -> None:
    """RHD's joints in space fall onto those in the picture, by the camera of its annotations."""
    folder = shared / "data" / "annotated" / "rhd"
    images = json.loads((folder / "test_rhd.json").read_text())["images"]
    for picture, image in zip(read_rhd(folder).pictures, images, strict=True):
        points = picture.truth.keypoints3d
        assert points is not None
        camera = image["cam_param"]
        pixels = camera["focal"] * points[..., :2] / points[..., 2:] + camera["princpt"]
        assert pixels == pytest.approx(picture.truth.keypoints, abs=0.2)


# --- tiny folders in the published layouts ------------------------------------------------------------------


def flat(number: int) -> list[float]:
    """x, y, v of 21 joints; the first is not labelled."""
    return [v for joint in range(21) for v in (joint + number, 2 * joint, 0 if joint == 0 else 1)]


def coco(names: list[str], **more: Any) -> dict[str, Any]:
    hands = [
        {"id": i, "image_id": i, "keypoints": flat(i), "bbox": [1, 2, 30, 40], **more}
        for i in range(len(names))
    ]
    images = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    return {"images": images, "annotations": hands}


def one(dataset: Dataset) -> Truth:
    (picture,) = dataset.pictures
    return picture.truth


def test_freihand_as_published(tmp_path: Path) -> None:
    hand = [[0.01 * joint, 0.02, 0.5] for joint in range(21)]
    write(tmp_path / "evaluation_xyz.json", [hand, hand])
    write(tmp_path / "evaluation_K.json", [[[100, 0, 50], [0, 200, 60], [0, 0, 1]]] * 2)
    touch(tmp_path, "evaluation/rgb/00000000.jpg", "evaluation/rgb/00000001.jpg")
    dataset = read_freihand(tmp_path)
    assert [picture.path.name for picture in dataset.pictures] == ["00000000.jpg", "00000001.jpg"]
    truth = dataset.pictures[1].truth
    assert truth.keypoints3d is not None
    assert truth.keypoints3d[0].tolist() == hand
    assert truth.keypoints[0, 20] == pytest.approx([100 * 0.2 / 0.5 + 50, 200 * 0.02 / 0.5 + 60])
    assert truth.boxes[0] == pytest.approx([50, 68, 90, 68])
    assert truth.sides == ("right",)


def test_onehand10k(tmp_path: Path) -> None:
    write(tmp_path / "annotations/onehand10k_test.json", coco(["Test/source/0.jpg"]))
    touch(tmp_path, "Test/source/0.jpg")
    truth = one(read_onehand10k(tmp_path))
    assert truth.visible[0].tolist() == [False, *[True] * 20]
    assert np.isnan(truth.keypoints[0, 0]).all()
    assert truth.keypoints[0, 3].tolist() == [3, 6]
    assert truth.boxes.tolist() == [[1, 2, 31, 42]]
    assert truth.sides == ("",)


def test_panoptic(tmp_path: Path) -> None:
    name = "hand_labels/manual_test/000648952_02_l.jpg"
    write(tmp_path / "annotations/panoptic_test.json", coco([name], head_size=25.0))
    touch(tmp_path, name)
    dataset = read_panoptic(tmp_path)
    assert one(dataset).sides == ("left",)
    assert dataset.head_sizes[name].tolist() == [25]


def test_rhd(tmp_path: Path) -> None:
    """Fingers from the tip to the palm, nested or flat."""
    nested = np.array(flat(0)).reshape(21, 3).tolist()
    cameras = [[joint, 0, 500] for joint in range(21)]
    data = coco(["evaluation/color/00000.png"], keypoints=nested, joint_cam=cameras, hand_type="left")
    write(tmp_path / "annotations/rhd_test.json", data)
    touch(tmp_path, "evaluation/color/00000.png")
    truth = one(read_rhd(tmp_path))
    assert truth.keypoints3d is not None
    assert truth.keypoints3d[0, JOINT["thumb4"]] == pytest.approx([0.001, 0, 0.5])
    assert truth.keypoints3d[0, JOINT["little1"]] == pytest.approx([0.020, 0, 0.5])
    assert truth.keypoints[0, JOINT["thumb4"]].tolist() == [1, 2]
    assert truth.sides == ("left",)


def stb(folder: Path, frames: int = 2) -> np.ndarray:
    hands = np.random.default_rng(0).normal(size=(3, 21, frames)) * 30 + np.array([0, 0, 500])[:, None, None]
    (folder / "labels").mkdir(parents=True)
    for sequence in ("B1Counting", "B1Random"):
        savemat(folder / "labels" / f"{sequence}_BB.mat", {"handPara": hands})
        for camera in ("left", "right"):
            touch(folder, *(f"images/{sequence}/BB_{camera}_{frame}.png" for frame in range(frames)))
    return hands


def test_stb(tmp_path: Path) -> None:
    hands = stb(tmp_path)
    dataset = read_stb(tmp_path)
    names = [picture.name for picture in dataset.pictures]
    assert names[:3] == ["B1Counting/BB_left_0.png", "B1Counting/BB_left_1.png", "B1Counting/BB_right_0.png"]
    assert len(names) == 8
    left, right = dataset.pictures[1].truth, dataset.pictures[3].truth
    for truth, shift in ((left, 0.0), (right, 120.054)):
        x, y, z = hands[:, 20, 1] - [shift, 0, 0]  # the last: the tip of the thumb
        assert truth.keypoints3d is not None
        assert truth.keypoints3d[0, JOINT["thumb4"]] == pytest.approx(np.array([x, y, z]) / 1000)
        expected = [822.79041 * x / z + 318.47345, 822.79041 * y / z + 250.31296]
        assert truth.keypoints[0, JOINT["thumb4"]] == pytest.approx(expected)
        assert truth.sides == ("left",)


def interhand(folder: Path, **image: Any) -> Path:
    turned = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    data = {
        "images": [
            {"id": 1, "file_name": "Capture0/a.jpg", "capture": 0, "camera": "4", "frame_idx": 9, **image}
        ],
        "annotations": [
            {
                "image_id": 1,
                "joint_valid": [[1]] * 21 + [[0]] * 21,
                "hand_type": "right",
                "bbox": [0, 0, 1, 1],
            }
        ],
    }
    camera = {
        "campos": {"4": [10, 0, 0]},
        "camrot": {"4": turned},
        "focal": {"4": [2, 4]},
        "princpt": {"4": [5, 6]},
    }
    world = [[10 + joint, 20, 1000] for joint in range(42)]
    places = folder / "annotations" / "all"
    write(places / "InterHand2.6M_test_camera.json", {"0": camera})
    write(places / "InterHand2.6M_test_joint_3d.json", {"0": {"9": {"world_coord": world}}})
    touch(folder, "images/test/Capture0/a.jpg")
    return write(places / "InterHand2.6M_test_data.json", data)


def test_interhand(tmp_path: Path) -> None:
    interhand(tmp_path)
    dataset = read_interhand(tmp_path)
    truth = one(dataset)
    assert truth.sides == ("right",)
    assert dataset.pictures[0].group == "right"
    assert truth.keypoints3d is not None
    assert truth.keypoints3d[0, JOINT["wrist"]] == pytest.approx([0.02, -0.02, 1])  # the last one, turned
    assert truth.keypoints[0, JOINT["thumb4"]] == pytest.approx([2 * 20 / 1000 + 5, 6])


def test_a_picture_without_hands(tmp_path: Path) -> None:
    data = coco(["a.jpg", "b.jpg"])
    data["annotations"] = data["annotations"][:1]
    path = write(tmp_path / "onehand10k.json", data)
    touch(tmp_path, "a.jpg", "b.jpg")
    empty = read_onehand10k(tmp_path).pictures[1].truth
    assert empty.keypoints.shape == (0, 21, 2)
    assert empty.boxes.shape == (0, 4)
    write(path, {"images": [], "annotations": []})
    dataset = read_onehand10k(tmp_path)
    assert not dataset.pictures
    assert [metric.name for metric in dataset.metrics] == ["pck", "auc_30px", "epe_px", "found"]


def test_crowds_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "onehand10k.json", coco(["a.jpg"], iscrowd=1))
    touch(tmp_path, "a.jpg")
    assert len(one(read_onehand10k(tmp_path)).keypoints) == 0


def test_another_annotation_file(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere" / "mine.json", coco(["a.jpg"]))
    touch(tmp_path, "a.jpg")
    assert len(read_onehand10k(tmp_path, annotations=path).pictures) == 1


# --- folders and files that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize("name", HANDS)
def test_an_empty_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError) as caught:
        reader(name)(tmp_path)
    message = str(caught.value)
    assert "lacks" in message
    assert DATASETS[name].url in message
    assert DATASETS[name].licence in message
    assert "\n" not in message
    with pytest.raises(SourceError, match="no folder"):
        reader(name)(tmp_path / "nowhere")


def test_pictures_that_are_missing(tmp_path: Path) -> None:
    write(tmp_path / "onehand10k.json", coco([f"{i}.jpg" for i in range(6)]))
    touch(tmp_path, "2.jpg")
    with pytest.raises(
        SourceError, match=r"lacks 0\.jpg, 1\.jpg, 3\.jpg, 2 more pictures of OneHand10K.*licence"
    ):
        read_onehand10k(tmp_path)


def test_a_picture_outside_the_folder(tmp_path: Path) -> None:
    for name in ("../a.jpg", "/etc/hosts", ""):
        write(tmp_path / "onehand10k.json", coco([name]))
        with pytest.raises(SourceError, match="no name of a picture inside a folder"):
            read_onehand10k(tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "anno_evaluation.pickle").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(SourceError, match=r"is a pickle, which can run code.*rhd_annotations\.zip"):
        read_rhd(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keypoints": [1, 2, 3]}, "keypoints is not 21 x 3 numbers"),
        ({"keypoints": None}, "keypoints is not 21 x 3 numbers"),
        ({"keypoints": ["1"] * 63}, "keypoints is not 21 x 3 numbers"),
        ({"keypoints": [[1, 2], [3]]}, "keypoints is not 21 x 3 numbers"),
        ({"keypoints": [float("nan")] * 63}, "no finite number"),
        ({"keypoints": [1e12] * 63}, "no finite number"),
        ({"bbox": [1, 2, 3]}, "bbox is not 4 numbers"),
        ({"image_id": 77}, "of image 77, which is not among the images"),
        ({"image_id": [0]}, "which is not among the images"),
        ({"head_size": None}, "head_size is not 1 numbers"),
        ({"head_size": "big"}, "head_size is not 1 numbers"),
    ],
)
def test_malformed_annotations(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    write(tmp_path / "panoptic.json", coco(["a_l.jpg"], **{"head_size": 3, **change}))
    touch(tmp_path, "a_l.jpg")
    with pytest.raises(SourceError, match=told):
        read_panoptic(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '{"images": 3}', '{"images": [3], "annotations": []}', "[" * 99999]
)
def test_no_annotations(tmp_path: Path, text: str) -> None:
    (tmp_path / "onehand10k.json").write_text(text)
    with pytest.raises(SourceError, match=r"onehand10k\.json"):
        read_onehand10k(tmp_path)


def test_rhd_without_a_side(tmp_path: Path) -> None:
    write(tmp_path / "rhd.json", coco(["a.png"], hand_type="both", joint_cam=[[0, 0, 1]] * 21))
    touch(tmp_path, "a.png")
    with pytest.raises(SourceError, match="hand_type is 'both', not left or right"):
        read_rhd(tmp_path)


def test_freihand_of_two_lengths(tmp_path: Path) -> None:
    write(tmp_path / "evaluation_xyz.json", [[[0, 0, 1]] * 21])
    write(tmp_path / "evaluation_K.json", [])
    with pytest.raises(SourceError, match="no lists of the same length"):
        read_freihand(tmp_path)


@pytest.mark.parametrize("image", [{"capture": 5}, {"camera": "77"}, {"frame_idx": 10}])
def test_interhand_without_camera_or_joints(tmp_path: Path, image: dict[str, Any]) -> None:
    interhand(tmp_path, **image)
    with pytest.raises(SourceError, match=f"nothing under .*{next(iter(image.values()))}"):
        read_interhand(tmp_path)


def test_a_damaged_matlab_file(tmp_path: Path) -> None:
    stb(tmp_path)
    path = tmp_path / "labels" / "B1Random_BB.mat"
    for content in (b"", b"MATLAB 5.0 MAT-file" + bytes(200), path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"B1Random_BB\.mat"):
            read_stb(tmp_path)
    savemat(path, {"handPara": np.full((3, 21, 2), np.nan)})
    with pytest.raises(SourceError, match="no 3 x 21 x any numbers named handPara"):
        read_stb(tmp_path)
