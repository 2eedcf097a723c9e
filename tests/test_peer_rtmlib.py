"""The comparison with rtmlib: that both do the same work, on files that answer the same to every picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import write_image
from wholebody.runtime.spec import CropInput, DepthSpec, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

pytest.importorskip("rtmlib")
pytest.importorskip("onnx")
peer = pytest.importorskip("wholebody.benchmarks.peer_rtmlib")

WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STUDENT = TopDownSpec("tiny", "simcc", CropInput(64, 48, *IMAGENET, "rgb"), "coco17", WEIGHTS)
DETECTOR = DetectorSpec(
    "finds two", "suppressed", DetectorInput(64, 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bgr"), WEIGHTS
)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "PAUSE", 0)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """SimCC answers of 0.5 everywhere, for as many crops as there are."""
    from onnx import TensorProto, helper, numpy_helper, save

    bins = {"simcc_x": 96, "simcc_y": 128}
    sizes = [numpy_helper.from_array(np.array([17, n]), f"{name}_size") for name, n in bins.items()]
    nodes = [helper.make_node("Shape", ["image"], ["batch"], start=0, end=1)]
    for name in bins:
        nodes += [
            helper.make_node("Concat", ["batch", f"{name}_size"], [f"{name}_shape"], axis=0),
            helper.make_node(
                "ConstantOfShape", [f"{name}_shape"], [name], value=helper.make_tensor("v", 1, [1], [0.5])
            ),
        ]
    outputs = [(name, ["n", 17, n]) for name, n in bins.items()]
    return _saved(
        tmp_path / "student.onnx", nodes, ["n", 3, 64, 48], outputs, sizes, helper, TensorProto, save
    )


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Two people in every picture, and one too unlikely."""
    from onnx import TensorProto, helper, numpy_helper, save

    dets = np.array([[[2, 2, 30, 40, 0.9], [30, 5, 60, 40, 0.8], [0, 0, 9, 9, 0.1]]], np.float32)
    nodes = [
        helper.make_node("Constant", [], ["dets"], value=numpy_helper.from_array(dets)),
        helper.make_node(
            "Constant", [], ["labels"], value=numpy_helper.from_array(np.zeros((1, 3), np.int64))
        ),
    ]
    path = tmp_path / "detector.onnx"
    return _saved(path, nodes, [1, 3, 64, 64], [("dets", [1, 3, 5])], [], helper, TensorProto, save)


def _saved(
    path: Path, nodes: Any, image: Any, outputs: Any, constants: Any, helper: Any, kinds: Any, save: Any
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kinds.FLOAT, image)],
        [helper.make_tensor_value_info(name, kinds.FLOAT, shape) for name, shape in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        write_image(folder / f"{i}.png", np.full((80, 80, 3), 60 * i, np.uint8))
    return folder


def test_both_are_timed(student: Path, detector: Path, images: Path) -> None:
    report = peer.measure_peer(
        (student, STUDENT), (detector, DETECTOR), images=images, people=[2], seconds=0.05
    )
    (crowd,) = report.crowds
    assert (crowd.people, crowd.pictures) == (2, 2)
    assert list(crowd.times) == ["wholebody", "rtmlib", "rtmlib, sessions like ours"]
    assert list(crowd.ratios) == ["rtmlib", "rtmlib, sessions like ours"]
    for runner in crowd.times:
        assert crowd.median(runner) > 0
        assert 0 < crowd.outside_networks(runner) < 1
    assert all(ratio.low <= ratio.value <= ratio.high for ratio in crowd.ratios.values())


def test_the_report(student: Path, detector: Path, images: Path) -> None:
    report = peer.measure_peer(
        (student, STUDENT), (detector, DETECTOR), images=images, people=[2], seconds=0.05
    )
    assert report.markdown().startswith("tiny with finds two: wholebody beside rtmlib 0.")
    rows = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert len(rows) == 5
    assert {row.count("|") for row in rows} == {6}
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["crowds"][0]["people"] == 2
    assert data["crowds"][0]["runners"]["rtmlib"]["median_ms"] > 0


def test_what_is_refused(student: Path, detector: Path, images: Path) -> None:
    files = (student, STUDENT), (detector, DETECTOR)
    with pytest.raises(SourceError, match="has no photograph in which both find 3 people: give others"):
        peer.measure_peer(*files, images=images, people=[3], seconds=0.05)
    deep = replace(STUDENT, depth=DepthSpec(64, 2.0))
    heatmap = replace(STUDENT, head="heatmap")
    for other in (deep, heatmap):
        with pytest.raises(ArtefactError, match="rtmlib is compared on SimCC in 2D"):
            peer.measure_peer((student, other), files[1], images=images)
    with pytest.raises(ArtefactError, match="has no suppression in its graph"):
        peer.measure_peer(files[0], (detector, replace(DETECTOR, layout="yolox")), images=images)
