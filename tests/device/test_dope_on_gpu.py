"""DOPE on the GPU, on every release: the people that the CPU finds, and little work for the host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wholebody.benchmarks.ppi import CASES, crowd
from wholebody.runtime.artefact import onnx_metadata, write_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.dope_gpu import GpuDopePose
from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

HEIGHT, WIDTH = 72, 128
SPEC = StudentSpec(
    name="crowd",
    input=InputSpec(HEIGHT, WIDTH, HEIGHT, WIDTH, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    parts={case.part: PartSpec(case.joints, case.classes, {"K": case.K}) for case in CASES},
    weights=WeightsSpec("made up", "0" * 64, "none"),
)
FIXED, OPEN = "fixed", "open"  # whether the number of proposals is


def picture(seed: int = 0, height: int = 90, width: int = 150) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 15, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def answers(people: int) -> dict[str, NDArray[Any]]:
    """Of a network of HEIGHT x WIDTH for a crowd, with proposals that are empty at the end."""
    arrays: dict[str, NDArray[Any]] = {}
    for case in CASES:
        found = crowd(case, people=people, each=3, clutter=6, seed=people)
        padded = {name: np.pad(a, [(0, 5)] + [(0, 0)] * (a.ndim - 1)) for name, a in vars(found).items()}
        arrays["boxes"] = padded["boxes"] / 10
        arrays[f"{case.part}_scores"] = padded["scores"]
        arrays[f"{case.part}_pose2d"] = padded["pose2d"] / 10
        arrays[f"{case.part}_pose3d"] = padded["pose3d"]
    return arrays


def student(path: Path, people: int = 4, size: str = FIXED) -> Path:
    """A student whose poses move with the mean of the picture; it may have more proposals for higher ones."""
    arrays = answers(people)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["ten"], value=numpy_helper.from_array(np.array(10, np.float32))),
        helper.make_node("Mul", ["mean", "ten"], ["moved"]),
    ]
    tensors = [numpy_helper.from_array(a, f"{name}_of_crowd") for name, a in arrays.items()]
    tensors += [numpy_helper.from_array(np.array([i], np.int64), f"at_{i}") for i in (0, 1)]
    if size == OPEN:
        nodes += [
            helper.make_node("Slice", ["size", "at_0", "at_1"], ["height"]),
            helper.make_node("Cast", ["height"], ["count"], to=TensorProto.INT64),
        ]
    for name in arrays:
        of_crowd = f"{name}_of_crowd"
        if size == OPEN:
            nodes.append(helper.make_node("Slice", [of_crowd, "at_0", "count"], [f"{name}_some"]))
            of_crowd = f"{name}_some"
        if name.endswith("pose2d"):
            nodes.append(helper.make_node("Add", [of_crowd, "moved"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [of_crowd], [name]))
    inputs = {"image": [1, 3, HEIGHT, WIDTH], "size": [2]}
    graph = helper.make_graph(
        nodes,
        "crowd",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, ["N" if size == OPEN else len(a), *a.shape[1:]]
            )
            for name, a in arrays.items()
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, onnx_metadata(SPEC))
    onnx.save(model, path)
    return write_artefact(path, SPEC).path


def on_cpu(path: Path, **options: Any) -> DopePose:
    return DopePose(OnnxRuntime(path, providers=["CPUExecutionProvider"]), SPEC, **options)


def same(got: People, want: People) -> None:
    assert len(got) == len(want)
    np.testing.assert_allclose(got.score, want.score, rtol=1e-6)
    np.testing.assert_allclose(got.scores, want.scores, rtol=1e-6)
    np.testing.assert_allclose(got.keypoints, want.keypoints, atol=2e-4)
    np.testing.assert_allclose(got.keypoints3d, want.keypoints3d, atol=2e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(got.boxes, want.boxes, atol=2e-4)


@pytest.mark.parametrize("release", ["8.5", "8.6", "10", "11"])
def test_the_people_of_the_cpu(device_of: Callable[[str], Any], tmp_path: Path, release: str) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    engine = device_of(release).engine(onnx_file)
    pose, other = GpuDopePose(engine, SPEC, metadata={"student": "crowd"}), on_cpu(onnx_file)
    for seed, size in enumerate([(90, 150), (90, 150), (90, 150), (144, 70), (90, 150), (1, 1)]):
        image = picture(seed, *size)
        same(pose(image), other(image))
    people = pose(picture())
    assert len(people) > 4
    assert people.metadata["backend"] == engine.name
    assert people.metadata["student"] == "crowd"
    assert list(people.metadata["times_ms"]) == ["preprocess", "network", "postprocess"]
    assert all(ms >= 0 for ms in people.metadata["times_ms"].values())


@pytest.mark.parametrize("options", [{"selection": "nms"}, {"group_by": "pose"}], ids=str)
def test_the_other_ways(device: Any, tmp_path: Path, options: Mapping[str, Any]) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC, **options), on_cpu(onnx_file, **options)
    for seed in range(3):
        same(pose(picture(seed)), other(picture(seed)))


def test_more_people_than_are_expected(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "crowd.onnx", people=25)
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    for seed in range(3):
        people = pose(picture(seed))
        assert len(people) > 20
        same(people, other(picture(seed)))


def test_as_many_proposals_as_there_are(device: Any, tmp_path: Path) -> None:
    """Outputs of unknown size: memory grows when a picture has more of them."""
    onnx_file = student(tmp_path / "crowd.onnx", people=20, size=OPEN)
    engine = device.engine(onnx_file)
    pose, other = GpuDopePose(engine, SPEC), on_cpu(onnx_file)
    for height, width in ((20, 128), (72, 128), (20, 128), (72, 128), (72, 128), (2, 900)):
        image = picture(0, height, width)
        same(pose(image), other(image))
    assert engine.graph_failure == "outputs of unknown size"


def test_nv12(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    for seed in range(3):
        nv12 = np.random.default_rng(seed).integers(0, 256, (90 * 3 // 2, 150), dtype=np.uint8)
        bgr = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8)
        same(pose(nv12), other(bgr))


def test_pictures_that_are_on_the_gpu(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, image = GpuDopePose(device.engine(onnx_file), SPEC), picture()
    there = device.cuda.upload(image)

    class Tensor:
        __cuda_array_interface__ = there.__cuda_array_interface__

    expected = on_cpu(onnx_file)(image)
    for given in (there, Tensor()):
        same(pose(given), expected)


def test_a_picture_may_change_once_it_was_handed_over(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, image = GpuDopePose(device.engine(onnx_file), SPEC), picture()
    first, expected = pose(image), on_cpu(onnx_file)(image)
    image[:] = 0
    pose(image)
    same(first, expected)


def test_work_for_the_host(device: Any, tmp_path: Path) -> None:
    """In steady state: nothing is allocated, one kernel is launched by hand, and few bytes come back."""
    engine = device.engine(student(tmp_path / "crowd.onnx"))
    pose, cuda = GpuDopePose(engine, SPEC), device.cuda
    for seed in range(3):
        pose(picture(seed))
    before = cuda.allocations, cuda.launches, cuda.copied, [graph.launches for graph in cuda.graphs]
    for seed in range(2):
        pose(picture(seed))
    assert cuda.allocations == before[0]
    assert cuda.launches == before[1] + 2  # of the preprocessing
    assert cuda.copied == before[2]  # but for what is copied in the graph:
    first = (finder._copied for finder in pose._finders.values())
    assert 0 < sum(pair[1].nbytes for pair in first if pair) <= 2**16
    assert [graph.launches for graph in cuda.graphs] == [n + 2 for n in before[3]]
    assert len(cuda.graphs) == 2  # of the network, and of what comes after it


def test_without_graphs(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")

    def refuse(self: Any) -> Any:
        raise BackendError("CUDA: cuStreamBeginCapture_v2 failed: not now")

    monkeypatch.setattr(type(device.cuda), "capture", refuse)
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    for seed in range(4):
        same(pose(picture(seed)), other(picture(seed)))
    assert "not now" in str(pose._replay.failure)


def test_a_failure_loses_one_frame(device: Any, tmp_path: Path) -> None:
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    for seed in range(3):
        device.fake.world.broken = seed == 1
        if seed == 1:
            pose._engine._executions.clear()  # type: ignore[attr-defined]
            with pytest.raises(BackendError, match="this frame is lost"):
                pose(picture(seed))
            continue
        same(pose(picture(seed)), other(picture(seed)))


def test_a_gpu_that_is_lost(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame fails in which an illegal address is met; for the next one everything is made anew."""
    monkeypatch.setattr(device.fake.runner, "Cuda", device.renewed)
    onnx_file = student(tmp_path / "crowd.onnx")
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    before = device.cuda
    for seed in range(3):
        same(pose(picture(seed)), other(picture(seed)))
    before.spoilt = True
    with pytest.raises(BackendError, match=r"illegal memory access .* this frame is lost"):
        pose(picture())
    for seed in range(3):
        same(pose(picture(seed)), other(picture(seed)))
    assert device.cuda is not before
    assert len(device.cuda.graphs) == 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8),
        np.zeros((5, 4), np.uint8), np.zeros((6, 3), np.uint8), "picture.jpg", None,
    ],
    ids=["channels", "dtype", "empty", "rows of NV12", "columns of NV12", "a name", "None"],
)  # fmt: skip
def test_pictures_that_are_none(device: Any, tmp_path: Path, image: Any) -> None:
    pose = GpuDopePose(device.engine(student(tmp_path / "crowd.onnx")), SPEC)
    with pytest.raises(ValueError, match=r"the picture is .*; it must be uint8 .*NV12"):
        pose(image)


def test_answers_in_half(device: Any, tmp_path: Path) -> None:
    engine = device.engine(student(tmp_path / "crowd.onnx"))
    engine.outputs = (replace(engine.outputs[0], dtype=np.dtype(np.float16)), *engine.outputs[1:])
    with pytest.raises(BackendError, match="boxes is float16; the kernels take float32"):
        GpuDopePose(engine, SPEC)


def test_answers_of_another_student(device: Any, tmp_path: Path) -> None:
    """Kernels trust shapes, so nobody else may be wrong about them."""
    engine = device.engine(student(tmp_path / "crowd.onnx"))
    other = replace(SPEC, parts={**SPEC.parts, "face": PartSpec(84, 11, {"K": 10})})
    with pytest.raises(ArtefactError, match=r"crowd answers .*, which is not a DOPE student: allowed is "):
        GpuDopePose(engine, other)


def test_eight_threads(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.RLock()

    @contextmanager
    def active(self: Any) -> Iterator[None]:
        with lock:
            yield

    monkeypatch.setattr(type(device.cuda), "active", active)
    onnx_file = student(tmp_path / "crowd.onnx", people=2)
    pose, other = GpuDopePose(device.engine(onnx_file), SPEC), on_cpu(onnx_file)
    pictures = [picture(seed, 40 + 10 * (seed % 3)) for seed in range(4)]
    expected, wrong = [other(image) for image in pictures], list[BaseException]()

    def work(number: int) -> None:
        try:
            for frame in range(2):
                which = (number + frame) % len(pictures)
                same(pose(pictures[which]), expected[which])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_emulated_gpu_has_nothing_the_real_one_lacks(device: Any) -> None:
    import inspect

    from wholebody.runtime.cuda import Cuda

    for name in ("launch", "fill", "copy_out", "upload", "download", "event", "pinned"):
        assert list(inspect.signature(getattr(Cuda, name)).parameters) == list(
            inspect.signature(getattr(type(device.cuda), name)).parameters
        ), name
    assert isinstance(device.cuda.empty(1, np.uint8), DeviceArray)
