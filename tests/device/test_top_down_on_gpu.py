"""A top-down student on the GPU: the people that the CPU finds in the same boxes, in any number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wholebody.runtime.backends.backend import TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.detector_gpu import GpuPersonDetector
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.pipelines.top_down_gpu import GpuTopDownPose
from wholebody.runtime.spec import CropInput, DepthSpec, DetectorInput, DetectorSpec, TopDownSpec, WeightsSpec

HEIGHT, WIDTH = 64, 48
WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
CROP = CropInput(HEIGHT, WIDTH, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "rgb")
SIMCC = TopDownSpec("bars", "simcc", CROP, "coco17", WEIGHTS)
DEEP = replace(SIMCC, skeleton="wholebody133", depth=DepthSpec(32, 2.0))
MAPS = TopDownSpec("maps", "heatmap", CROP, "coco17", WEIGHTS)
SPECS = {"simcc": SIMCC, "depth": DEEP, "heatmaps": MAPS, "udp": replace(MAPS, udp=True)}


def picture(seed: int = 0) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def boxes_of(people: int, seed: int = 0) -> NDArray[np.float32]:
    """Every fourth one is there twice."""
    rng = np.random.default_rng([people, seed])
    corners = rng.uniform((0, 0), (250, 150), (people, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(25, 90, (people, 2))], axis=1).astype(np.float32)
    boxes[3::4] = boxes[2 : 2 + 4 * len(boxes[3::4]) : 4]
    return boxes


def student(path: Path, spec: TopDownSpec, batch: int | str = "batch") -> Path:
    """Answers that are linear in the crop, and differ from keypoint to keypoint."""
    rng = np.random.default_rng(1)
    shapes: dict[str, Any] = dict(spec.outputs)
    joints = next(iter(shapes.values()))[1]
    nodes, arrays = [], {}
    if spec.head == "heatmap":
        arrays["filters"] = rng.normal(size=(joints, 3, 5, 5)).astype(np.float32)
        shapes = {"heatmaps": (None, joints, HEIGHT // 4, WIDTH // 4)}
        nodes = [
            helper.make_node("Conv", ["image", "filters"], ["heat"], strides=[4, 4], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["heat"], ["heatmaps"]),
        ]
    else:
        arrays["only"] = np.array([1], np.int64)
        for name, shape in shapes.items():
            axis, side = (2, WIDTH) if name == "simcc_x" else (3, HEIGHT)
            arrays[f"{name}_of_joint"] = rng.normal(size=(joints, side)).astype(np.float32)
            arrays[f"{name}_bins"] = rng.normal(size=(side, shape[2])).astype(np.float32)
            nodes += [
                helper.make_node("ReduceMean", ["image"], [f"{name}_bar"], axes=[1, axis], keepdims=0),
                helper.make_node("Unsqueeze", [f"{name}_bar", "only"], [f"{name}_bars"]),
                helper.make_node("Mul", [f"{name}_bars", f"{name}_of_joint"], [f"{name}_joints"]),
                helper.make_node("MatMul", [f"{name}_joints", f"{name}_bins"], [name]),
            ]
    graph = helper.make_graph(
        nodes,
        "top-down",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape[1:]])
            for name, shape in shapes.items()
        ],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def on_cpu(path: Path, spec: TopDownSpec, **options: Any) -> TopDownPose:
    return TopDownPose(OnnxRuntime(path, providers=["CPUExecutionProvider"]), spec, **options)


def same(got: People, want: People, pixels: float = 5e-3) -> None:
    """Crops differ by one level of 255 here and there, and so do keypoints where they lie between pixels."""
    assert len(got) == len(want)
    np.testing.assert_array_equal(got.boxes, want.boxes)
    np.testing.assert_allclose(got.scores, want.scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got.score, want.score, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got.keypoints, want.keypoints, atol=pixels)
    assert (got.keypoints3d is None) == (want.keypoints3d is None)
    if want.keypoints3d is not None:
        np.testing.assert_allclose(got.keypoints3d, want.keypoints3d, atol=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("release", ["8.5", "8.6", "10", "11"])
def test_the_people_of_the_cpu(device_of: Callable[[str], Any], tmp_path: Path, release: str) -> None:
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    engine = device_of(release).engine(onnx_file, batch=(1, 2, 4))
    pose, other = GpuTopDownPose(engine, SIMCC, metadata={"student": "bars"}), on_cpu(onnx_file, SIMCC)
    for seed, count in enumerate([3, 3, 3, 0, 1, 4, 3, 9, 9, 9, 23, 3]):
        image, boxes = picture(seed), boxes_of(count, seed)
        same(pose(image, boxes), other(image, boxes))
    people = pose(picture(), boxes_of(3))
    assert 0 < len(people) <= 3
    assert people.metadata["backend"] == engine.name
    assert people.metadata["student"] == "bars"
    assert list(people.metadata["times_ms"]) == ["detect", "preprocess", "network", "postprocess"]


@pytest.mark.parametrize("name", SPECS)
def test_every_head(device: Any, tmp_path: Path, name: str) -> None:
    spec = SPECS[name]
    onnx_file = student(tmp_path / "student.onnx", spec)
    pose, other = GpuTopDownPose(device.engine(onnx_file, batch=(1, 2, 4)), spec), on_cpu(onnx_file, spec)
    for seed, count in enumerate([2, 2, 2, 6, 6, 20]):
        image, boxes = picture(seed), boxes_of(count, seed)
        same(pose(image, boxes), other(image, boxes), 0.5 if name == "udp" else 5e-3)  # noise, not peaks
    assert 12 < len(pose(picture(), boxes_of(20))) < 20, "who is there twice is suppressed"


def test_a_batch_of_fixed_size(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "bars.onnx", SIMCC, batch=3)
    pose, other = GpuTopDownPose(device.engine(onnx_file), SIMCC), on_cpu(onnx_file, SIMCC)
    for count in (1, 3, 7):
        same(pose(picture(), boxes_of(count)), other(picture(), boxes_of(count)))


def test_its_options(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    engine = device.engine(onnx_file, batch=(1, 2, 4))
    choices: list[dict[str, Any]] = [
        {"nms_threshold": 0.3}, {"nms_threshold": 1.0}, {"min_keypoint_score": 0.9}
    ]  # fmt: skip
    for options in choices:
        pose, other = GpuTopDownPose(engine, SIMCC, **options), on_cpu(onnx_file, SIMCC, **options)
        same(pose(picture(), boxes_of(8)), other(picture(), boxes_of(8)))
    with pytest.raises(BackendError, match="crops are not mirrored on the GPU: leave out flip_test"):
        GpuTopDownPose(engine, SIMCC, flip_test=True)


def test_answers_of_another_student(device: Any, tmp_path: Path) -> None:
    """Kernels trust shapes, so nobody else may be wrong about them."""
    engine = device.engine(student(tmp_path / "bars.onnx", SIMCC), batch=(1, 2, 4))
    with pytest.raises(ArtefactError, match=r"bars answers .*, which is not simcc: allowed is "):
        GpuTopDownPose(engine, replace(SIMCC, skeleton="wholebody133"))
    engine.outputs = (replace(engine.outputs[0], dtype=np.dtype(np.int32)), *engine.outputs[1:])
    with pytest.raises(BackendError, match="simcc_x is int32; the kernels take float32 and float16"):
        GpuTopDownPose(engine, SIMCC)


def test_with_a_detector(device: Any, tmp_path: Path) -> None:
    dets = np.concatenate([boxes_of(6), np.linspace(0.9, 0.4, 6, dtype=np.float32)[:, None]], axis=1)[None]
    size = DetectorInput(240, 320, (0, 0, 0), (1, 1, 1), "bgr")
    image = TensorSpec("image", (1, 3, 240, 320), np.dtype(np.float32))
    detector = PersonDetector(
        FakeBackend((image,), {"dets": dets, "labels": np.zeros((1, 6), np.int64)}),
        DetectorSpec("finder", "suppressed", size, WEIGHTS),
    )
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    engine = device.engine(onnx_file, batch=(1, 2, 4))
    pose = GpuTopDownPose(engine, SIMCC, detector, max_people=5)
    other = on_cpu(onnx_file, SIMCC, detector=detector, max_people=5)
    for seed in range(3):
        same(pose(picture(seed)), other(picture(seed)))
    people = pose(picture())
    assert people.metadata["detector"] == "finder"
    assert people.metadata["times_ms"]["detect"] > 0
    with pytest.raises(ValueError, match="no boxes and no detector"):
        GpuTopDownPose(engine, SIMCC)(picture())
    for elsewhere in (device.cuda.upload(picture()), np.zeros((9, 8), np.uint8)):
        with pytest.raises(ValueError, match=r"finder runs on the CPU .* `wholebody build`"):
            pose(elsewhere)


def finder(path: Path, layout: str) -> tuple[Path, DetectorSpec]:
    """A detector whose answers depend a little on the picture: it finds five people and more."""
    boxes = boxes_of(6)
    if layout == "suppressed":
        score = np.linspace(0.9, 0.4, 6, dtype=np.float32)[:, None]
        arrays = {"dets": np.concatenate([boxes, score], axis=1)[None]}
    else:
        rng = np.random.default_rng(3)
        cells = [(256 // s, 320 // s) for s in (8, 16, 32)]
        if layout == "yolox":
            anchors = rng.normal(0, 0.5, (1, sum(h * w for h, w in cells), 6)).astype(np.float32)
            anchors[..., 2:4] += 1.5
            anchors[..., 4:] = rng.uniform(0, 1, anchors[..., 4:].shape)
            arrays = {"output": anchors}
        else:
            arrays = {
                f"map{i}": rng.normal(0, 1, (1, h, w, 5)).astype(np.float32) * [1, 20, 20, 20, 20]
                for i, (h, w) in enumerate(cells)
            }
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "little"], ["bit"]))
    tensors = [numpy_helper.from_array(np.array([1e-7], np.float32), "little")]
    for name, array in arrays.items():
        tensors.append(numpy_helper.from_array(array.astype(np.float32), f"{name}_always"))
        nodes.append(helper.make_node("Add", [f"{name}_always", "bit"], [name]))
    graph = helper.make_graph(
        nodes,
        "finder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 256, 320])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(array.shape))
            for name, array in arrays.items()
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    size = DetectorInput(256, 320, (103.5, 116.3, 123.7), (57.4, 57.1, 58.4), "bgr")
    return path, DetectorSpec("finder", cast("Any", layout), size, WEIGHTS)


@pytest.mark.parametrize("layout", ["suppressed", "yolox", "rtmdet"])
def test_with_a_detector_on_the_gpu(device: Any, tmp_path: Path, layout: str) -> None:
    onnx_file, spec = finder(tmp_path / "finder.onnx", layout)
    of_student = student(tmp_path / "bars.onnx", SIMCC)
    there = GpuPersonDetector(device.engine(onnx_file), spec)
    here = PersonDetector(OnnxRuntime(onnx_file, providers=["CPUExecutionProvider"]), spec)
    pose = GpuTopDownPose(device.engine(of_student, batch=(1, 2, 4)), SIMCC, there, max_people=5)
    other = on_cpu(of_student, SIMCC, detector=here, max_people=5)
    nv12 = np.random.default_rng(0).integers(0, 256, (240 * 3 // 2, 320), dtype=np.uint8)
    bgr = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8)
    uploaded = device.cuda.upload
    for image, as_bgr in (
        (picture(), picture()), (uploaded(picture(1)), picture(1)), (nv12, bgr), (picture(), picture()),
        (uploaded(nv12), bgr), (picture(2), picture(2)),
    ):  # fmt: skip
        (boxes, score), (expected, expected_score) = there(image), here(as_bgr)
        assert len(boxes) > 4
        np.testing.assert_allclose(boxes, expected, atol=1e-3)
        np.testing.assert_allclose(score, expected_score, atol=1e-5)
        got, want = pose(image), other(as_bgr)
        same(replace(got, boxes=want.boxes), want, 0.05)
        np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-3)
    allocated, copies = device.cuda.allocations, device.cuda.copies
    pose(picture(3))
    assert device.cuda.allocations == allocated
    assert device.cuda.copies - copies <= 1 + 3 + 2, "the picture goes up once"
    assert device.cuda.waited, "the detector has a stream of its own"


def test_a_detector_that_is_lost(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.fake.runner, "Cuda", device.renewed)
    onnx_file, spec = finder(tmp_path / "finder.onnx", "yolox")
    detect = GpuPersonDetector(device.engine(onnx_file), spec)
    expected = detect(picture())[0]
    device.cuda.spoilt = True
    with pytest.raises(BackendError, match="this frame is lost"):
        detect(picture())
    np.testing.assert_array_equal(detect(picture())[0], expected)


def test_a_detector_of_bytes_stays_on_the_cpu(device: Any, tmp_path: Path) -> None:
    onnx_file, spec = finder(tmp_path / "finder.onnx", "yolox")
    engine = device.engine(onnx_file)
    engine.outputs = (replace(engine.outputs[0], dtype=np.dtype(np.int8)),)
    with pytest.raises(BackendError, match="output is int8; the kernels take float32 and float16"):
        GpuPersonDetector(engine, spec)


def test_pictures_that_are_on_the_gpu(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    pose, other = GpuTopDownPose(device.engine(onnx_file), SIMCC), on_cpu(onnx_file, SIMCC)
    boxes, score = boxes_of(5), np.ones(5, np.float32)
    got, kept = pose.estimate(device.cuda.upload(picture()), boxes, score)
    want, rows = other.estimate(picture(), boxes, score)
    same(got, want)
    np.testing.assert_array_equal(kept, rows)

    class Tensor:
        there = device.cuda.upload(picture())
        __cuda_array_interface__ = there.__cuda_array_interface__

    same(pose(Tensor(), boxes), want)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError, match="it must be uint8"):
            pose.estimate(device.cuda.upload(wrong), boxes, score)


def test_nv12(device: Any, tmp_path: Path) -> None:
    onnx_file, boxes = student(tmp_path / "bars.onnx", SIMCC), boxes_of(5)
    pose = GpuTopDownPose(device.engine(onnx_file, batch=(1, 2, 4)), SIMCC, full_frame=True)
    other = on_cpu(onnx_file, SIMCC, full_frame=True)
    nv12 = np.random.default_rng(0).integers(0, 256, (240 * 3 // 2, 320), dtype=np.uint8)
    bgr = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8)
    wanted = other(bgr, boxes)
    for image in (nv12, device.cuda.upload(nv12), nv12):
        same(pose(image, boxes), wanted)
    same(pose(nv12), other(bgr))
    with pytest.raises(ValueError, match="outside the picture of 320 x 240 pixels"):
        pose(nv12, [[0, 300, 20, 340]])
    wrong: list[Any] = [nv12[:-1], nv12[:, 1:], "picture.jpg", None]
    for image in wrong:
        with pytest.raises(ValueError, match=r"the picture is .*; it must be uint8 .*NV12"):
            pose(image, boxes)


def test_work_for_the_host(device: Any, tmp_path: Path) -> None:
    """In steady state: nothing is allocated, one kernel is launched by hand, and few bytes come back."""
    pose, cuda = GpuTopDownPose(device.engine(student(tmp_path / "bars.onnx", SIMCC)), SIMCC), device.cuda
    for seed in range(3):
        pose(picture(seed), boxes_of(6, seed))
    before = cuda.allocations, cuda.launches, cuda.copied, [graph.launches for graph in cuda.graphs]
    for seed in range(2):
        pose(picture(seed), boxes_of(6, seed))
    assert cuda.allocations == before[0]
    assert cuda.launches == before[1] + 2  # of the crops
    assert cuda.copied == before[2]  # but for what is copied in the graph:
    assert 0 < pose._first.nbytes <= 2**16
    assert [graph.launches for graph in cuda.graphs] == [n + 2 for n in before[3]]
    assert len(cuda.graphs) == 2  # of the network, and of what comes after it


def test_as_many_people_as_there_are(device: Any, tmp_path: Path) -> None:
    """Numbers that come and go find their graphs again; memory for more people leaves no old graphs."""
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    pose, other = GpuTopDownPose(device.engine(onnx_file, batch=(1, 1, 2)), SIMCC), on_cpu(onnx_file, SIMCC)
    for seed, count in enumerate([1, 2, 1, 2, 5, 1, 5, 2, 5, 1]):
        image, boxes = picture(seed), boxes_of(count, seed)
        same(pose(image, boxes), other(image, boxes))


@pytest.mark.parametrize("met_by", ["the runner", "the network"])
def test_a_gpu_that_is_lost(
    device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, met_by: str
) -> None:
    monkeypatch.setattr(device.fake.runner, "Cuda", device.renewed)
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    pose, other = GpuTopDownPose(device.engine(onnx_file, batch=(1, 2, 4)), SIMCC), on_cpu(onnx_file, SIMCC)
    for seed, count in enumerate([3, 3, 9]):
        same(pose(picture(seed), boxes_of(count, seed)), other(picture(seed), boxes_of(count, seed)))
    device.cuda.spoilt = True
    device.fake.world.broken = met_by == "the network"
    with pytest.raises(BackendError, match="this frame is lost"):
        pose(picture(), boxes_of(2))
    assert device.cuda.lost
    device.fake.world.broken = False
    for seed, count in enumerate([3, 3, 9]):
        same(pose(picture(seed), boxes_of(count, seed)), other(picture(seed), boxes_of(count, seed)))


def test_a_failure_loses_one_frame(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "bars.onnx", SIMCC)
    pose, other = GpuTopDownPose(device.engine(onnx_file), SIMCC), on_cpu(onnx_file, SIMCC)
    same(pose(picture(), boxes_of(2)), other(picture(), boxes_of(2)))
    device.fake.world.broken = True
    with pytest.raises(BackendError, match="this frame is lost"):
        pose(picture(), boxes_of(3))
    device.fake.world.broken = False
    same(pose(picture(1), boxes_of(3)), other(picture(1), boxes_of(3)))
