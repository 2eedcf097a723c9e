"""What contenders are shown, who is compared with whom, and the whole way of a top-down student."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wholebody.benchmarks.latency import scenes, suite
from wholebody.benchmarks.latency.contenders import Contender, Network, base_of, line_up, read_network
from wholebody.benchmarks.latency.loaded import Loaded
from wholebody.benchmarks.latency.scenes import crops_of, crowd, paced, rendered
from wholebody.benchmarks.latency.suite import Suite, measure
from wholebody.benchmarks.latency.sweeps import with_proposals
from wholebody.benchmarks.latency.table import markdown
from wholebody.benchmarks.synthetic import render_scene
from wholebody.runtime.errors import BackendError, WholebodyError


def test_rendered_frames_are_what_their_jpegs_hold() -> None:
    scene = rendered()
    assert len(scene.pictures) == 20
    assert {picture.shape for picture in scene.pictures} == {(480, 640, 3)}
    assert scene.boxes is not None
    assert scene.encoded is not None
    assert scene.settings(None)["pictures"] == rendered().settings(None)["pictures"]
    assert all(boxes.shape[1] == 4 for boxes in scene.boxes)


@pytest.mark.parametrize("people", [0, 1, 16])
def test_a_crowd_has_so_many_people_and_stays_as_large(people: int) -> None:
    scene = crowd(people)
    assert {picture.shape for picture in scene.pictures} == {(960, 1280, 3)}
    assert scene.boxes is not None
    for boxes in scene.boxes:
        assert boxes.shape == (people, 4)
        assert (boxes[:, 2:] - boxes[:, :2] > 10).all()
        assert ((boxes >= 0) & (boxes <= [1279, 959, 1279, 959])).all()
    settings = scene.settings(128)
    assert settings == {
        "pictures": settings["pictures"], "size": [960, 1280], "people": people, "batch": None,
        "proposals": 128, "pace_hz": None,
    }  # fmt: skip


def test_tiles_have_one_person_each() -> None:
    for seed in scenes.TILE_SEEDS:
        assert len(render_scene(seed, scenes.TILE_HW).people) == 1


def test_people_stand_where_their_boxes_are() -> None:
    nobody, one = crowd(0), crowd(1)
    assert one.boxes is not None
    for empty, picture, boxes in zip(nobody.pictures, one.pictures, one.boxes, strict=True):
        rows, columns = np.nonzero((empty != picture).any(axis=2))
        assert rows.max() < 240
        assert columns.max() < 320
        assert boxes[0, 2] < 320


def test_other_settings_are_other_scenes() -> None:
    scene = rendered()
    assert paced(scene, 30).settings(None)["pace_hz"] == 30
    assert paced(scene, 30).encoded is None
    assert crops_of(4).settings(None)["batch"] == 4
    assert crowd(1).settings(None)["pictures"] != crowd(2).settings(None)["pictures"]


def test_pictures_of_several_sizes_have_no_size() -> None:
    pictures = tuple(np.zeros((side, side, 3), np.uint8) for side in (4, 5))
    assert scenes.Scene("", pictures, None).settings(None)["size"] is None


# --- contenders ---------------------------------------------------------------------------------------------


def network(name: str, kind: Any = "onnx", weights: str = "w", **options: Any) -> Network:
    spec = SimpleNamespace(
        weights=SimpleNamespace(sha256=weights), precision=options.get("precision", "fp32")
    )
    return Network(Path(name), kind, cast("Any", spec), name, options.get("proposals"))


def test_every_file_on_every_backend_that_can_run_it() -> None:
    files = [network("a.onnx"), network("a.engine", "engine"), network("a.pth", "checkpoint")]
    names = [(c.network.path.name, c.backend) for c in line_up(files, [])]
    assert names == [("a.onnx", "auto"), ("a.engine", "tensorrt"), ("a.pth", "pytorch")]
    asked = ["onnxruntime:CPUExecutionProvider", "torch.compile", "pytorch", "pytorch"]
    names = [(c.network.path.name, c.backend) for c in line_up(files, asked)]
    assert names == [
        ("a.onnx", asked[0]), ("a.engine", "tensorrt"), ("a.pth", "torch.compile"), ("a.pth", "pytorch"),
    ]  # fmt: skip
    with pytest.raises(BackendError, match="onnxruntime runs a file of kind onnx, and none is given"):
        line_up(files[1:], ["onnxruntime"])


def test_who_is_compared_with_whom() -> None:
    dope, int8, dwpose = network("dope.onnx"), network("dope8.onnx"), network("dwpose.onnx", weights="v")
    reference, other = network("dope.pth", "checkpoint"), network("dwpose.pth", "checkpoint", weights="v")
    everyone = line_up([dope, int8, dwpose, reference, other], [])
    bases = [base_of(c, everyone, None) for c in everyone]
    assert [b and b.network for b in bases] == [reference, reference, other, None, None]
    bases = [base_of(c, everyone, Path("dope8.onnx")) for c in everyone]
    assert [b and b.network for b in bases] == [int8, None, int8, int8, int8]
    alone = line_up([dope, int8], [])
    assert [base_of(c, alone, None) for c in alone] == [None, alone[0]]
    assert base_of(alone[0], alone, Path("fell-over.pth")) is None


def test_proposals_of_a_checkpoint_and_of_a_graph(tmp_path: Path) -> None:
    told: list[str] = []
    dope = network("dope.onnx", proposals=128)
    int8 = network("dope8.onnx", precision="int8", proposals=128)
    contenders = line_up([dope, int8, network("dope.pth", "checkpoint", "x", proposals=128)], [])
    found = with_proposals(contenders, 64, tmp_path, lambda *_: pytest.fail("exported"), told.append)
    assert [(c.network.path.name, c.network.proposals) for c in found] == [("dope.pth", 64)]
    assert told == [
        "64 proposals: dope.onnx on auto has 128 in its graph; left out",
        "64 proposals: dope8.onnx on auto has 128 in its graph; left out",
    ]


# --- a top-down student -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published by others: 17 keypoints somewhere in every crop of 64 x 32, any number of them."""
    rng = np.random.default_rng(0)
    joints = {"simcc_x": (1, 17, 64), "simcc_y": (1, 17, 128)}
    constants = [numpy_helper.from_array(rng.random(s, np.float32), f"{n}_0") for n, s in joints.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 1, 1]), "shape"))
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["offset"]),
        *(helper.make_node("Add", [f"{name}_0", "offset"], [name]) for name in joints),
    ]
    value, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "tiny", [value("input", kind, ["N", 3, 64, 32])],
        [value(name, kind, ["N", *shape[1:]]) for name, shape in joints.items()], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path_factory.mktemp("student") / "tiny.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def loaded(student: Path) -> Loaded:
    return Loaded.open(Contender(read_network(student, [], unknown), "onnxruntime"), None, 1)


def unknown(path: Path) -> NoReturn:
    pytest.fail(f"{path} is no checkpoint")


def test_boxes_are_given_where_there_is_no_detector(loaded: Loaded) -> None:
    frame = loaded.frames(crowd(2))
    times = frame(7)
    assert 1 <= times["people"] <= 2
    assert set(times) == {"preprocess", "network", "postprocess", "total", "people"}
    assert times["preprocess"] + times["network"] + times["postprocess"] <= times["total"]
    assert loaded.frames(crowd(0))(0)["network"] == 0


def test_a_batch_is_the_network_alone(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    plain = type(loaded.backend).__call__

    def watched(self: Any, *inputs: Any) -> Any:
        seen.extend(array.shape for array in inputs)
        return plain(self, *inputs)

    monkeypatch.setattr(type(loaded.backend), "__call__", watched)
    times = loaded.frames(crops_of(3))(0)
    assert seen == [(3, 3, 64, 32)]
    assert set(times) == {"network", "total"}


def test_pictures_of_somebody_need_a_detector(loaded: Loaded) -> None:
    grey = (np.full((50, 50, 3), 9, np.uint8),)
    with pytest.raises(BackendError, match="--detector"):
        loaded.frames(scenes.Scene("", grey, None))


def test_sweeps_of_a_top_down_student(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = rendered()
    monkeypatch.setattr(suite, "rendered", lambda: small)
    told: list[str] = []
    asked = Suite([student], people=[0, 3], batches=[1, 2], seconds=0.05, threads=1)
    runs = measure(asked, tell=told.append)
    settings = [(run["settings"]["people"], run["settings"]["batch"]) for run in runs]
    assert settings == [(None, None), (0, None), (3, None), (None, 1), (None, 2)]
    assert [run["settings"]["size"] for run in runs[2:4]] == [[960, 1280], [64, 32]]
    assert [run["found"] for run in runs[3:]] == [None, None]
    assert runs[1]["found"] == 0
    assert all(run["over"] is None and run["model"]["verified"] is None for run in runs)
    assert told[0] == "tiny.onnx has no certificate: nothing tells that it does what PyTorch did"
    text = markdown(runs)
    assert "**People in the picture**" in text
    assert "| 3 | tiny.onnx |" in text
    assert "**Batches of crops, the network alone**" in text


def test_pictures_without_a_detector_are_refused(student: Path, tmp_path: Path) -> None:
    with pytest.raises(WholebodyError, match="needs a --detector to find people in"):
        measure(Suite([student], images=tmp_path))
    with pytest.raises(WholebodyError, match="--proposals is for DOPE students"):
        measure(Suite([student], proposals=[4]))
