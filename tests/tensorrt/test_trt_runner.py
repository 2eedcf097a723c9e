"""The TensorRT runner over each release's recorded names: the numbers of ONNX Runtime, and no other calls."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from wholebody.export.build_plan import BuildOptions, plan_build
from wholebody.runtime.errors import ArtefactError, BackendError


def built(fake: Any, onnx: Path, **options: Any) -> Path:
    plan = plan_build(onnx, options=BuildOptions(**options))
    path: Path = fake.engine.build_engine(plan, cuda=fake.cuda).path
    return path


def opened(fake: Any, onnx: Path, **options: Any) -> Any:
    return fake.runner.TensorRT(built(fake, onnx, **options), cuda=fake.cuda)


def expected(onnx: Path, *inputs: Any) -> list[Any]:
    session = ort.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))


def pictures(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def test_it_tells_its_tensors(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    assert [(s.name, s.shape, s.dtype) for s in network.inputs] == [("image", (None, 3, 8, 8), np.float32)]
    assert [(s.name, s.shape) for s in network.outputs] == [("y", (None, 4, 8, 8)), ("mean", (None, 4))]
    assert network.name == f"tensorrt:{fake.trt.__version__}"


@pytest.mark.parametrize(
    ("batch", "buckets"), [((1, 4, 16), (1, 2, 4, 8, 16)), ((3, 3, 6), (3, 4, 6)), ((1, 1, 1), (1,))]
)
def test_sizes_of_batches(fake_of: Any, conv: Path, batch: Any, buckets: tuple[int, ...]) -> None:
    assert opened(fake_of("10"), conv, batch=batch).buckets == buckets


def test_it_answers_as_onnx_runtime_does(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    for count in (1, 3, 16, 3, 3, 3, 1):
        image = pictures(count, count)
        for got, want in zip(network(image), expected(conv, image), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)


def test_an_answer_outlives_the_next_call(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    first, _ = network(pictures(2, 1))
    kept = first.copy()
    network(pictures(2, 2))
    np.testing.assert_array_equal(first, kept)


def test_nothing_is_allocated_once_the_shapes_were_seen(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    for count in (1, 2, 16):
        network(pictures(count))
    before = fake.cuda.allocations, fake.world.contexts
    for count in (16, 1, 2, 2, 1, 16):
        network(pictures(count))
    assert (fake.cuda.allocations, fake.world.contexts) == before


def test_a_graph_is_captured_once_a_shape(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    for count in (2, 2, 2, 5, 5, 2, 5):
        image = pictures(count, count)
        np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)
    if fake.release == "8.5":
        assert not fake.cuda.graphs
        assert network.graph_failure == "one context for all shapes, before TensorRT 8.6"
        return
    assert [graph.launches for graph in fake.cuda.graphs] == [3, 2]
    assert network.graph_failure is None


def test_an_old_tensorrt_has_one_context_for_all_shapes(fake_of: Any, conv: Path) -> None:
    fake = fake_of("8.5")
    network = opened(fake, conv)
    for count in (2, 5, 1, 5, 16, 2):
        image = pictures(count, count)
        np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)
    assert fake.world.contexts == 1


def test_an_old_tensorrt_has_graphs_where_shapes_are_fixed(fake_of: Any, conv: Path) -> None:
    fake = fake_of("8.5")
    network = opened(fake, conv, batch=(2, 2, 2))
    for seed in range(4):
        image = pictures(2, seed)
        np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)
    assert [graph.launches for graph in fake.cuda.graphs] == [3]


def test_contexts_that_do_not_share_a_profile_fail(fake_of: Any, conv: Path, monkeypatch: Any) -> None:
    """What a real 8.6 does unless it is asked for sharing when it builds."""
    fake = fake_of("8.6")
    monkeypatch.setattr("wholebody.export.engine_build.share_profiles", lambda trt, config: None)
    with pytest.raises(BackendError, match="mOptimizationProfile >= 0 failed"):
        opened(fake, conv)(pictures(2))


def test_graphs_may_be_left_out(fake: Any, conv: Path) -> None:
    network = fake.runner.TensorRT(built(fake, conv), cuda=fake.cuda, graphs=False)
    for _ in range(3):
        network(pictures(2))
    assert not fake.cuda.graphs
    assert network.graph_failure == "not asked for"


def test_a_network_that_cannot_be_captured_still_answers(fake: Any, conv: Path, monkeypatch: Any) -> None:
    network = opened(fake, conv, batch=(2, 2, 2))

    def refuse(self: Any) -> Any:
        raise BackendError("CUDA: cuStreamBeginCapture_v2 failed: not now")

    monkeypatch.setattr(type(fake.cuda), "capture", refuse)
    image = pictures(2)
    for _ in range(3):
        np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)
    assert "not now" in network.graph_failure


def test_arrays_on_the_gpu_are_used_where_they_are(fake: Any, conv: Path) -> None:
    network, image = opened(fake, conv), pictures(3)
    buffer = fake.cuda.empty(image.shape, image.dtype)
    fake.cuda.copy_in(image, buffer)
    before = fake.cuda.allocations
    answers = network.enqueue(buffer)
    host = np.empty(answers[1].shape, np.float32)
    fake.cuda.copy_out(answers[1], host)
    fake.cuda.synchronize()
    np.testing.assert_allclose(host, expected(conv, image)[1], atol=1e-6)
    np.testing.assert_allclose(network(buffer)[1], expected(conv, image)[1], atol=1e-6)
    assert fake.cuda.allocations - before <= 2  # pinned memory for two outputs


class Tensor:
    """As PyTorch's, on the fake GPU: NumPy's own DLPack of memory that is the host's."""

    def __init__(self, array: Any, device: int = 0) -> None:
        self.array, self.device = array, device
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device

    def __dlpack__(self, *, stream: int) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__()


def test_tensors_of_others_are_used_where_they_are(fake: Any, conv: Path) -> None:
    network, image = opened(fake, conv), Tensor(pictures(3))
    before = fake.cuda.copies
    np.testing.assert_allclose(network(image)[1], expected(conv, image.array)[1], atol=1e-6)
    assert fake.cuda.copies == before + 2, "two outputs"
    assert image.streams == [fake.cuda.stream.handle]
    with pytest.raises(BackendError, match="image is float64; this engine takes float32"):
        network(Tensor(image.array.astype(np.float64)))
    with pytest.raises(BackendError, match="profile holds"):
        network(Tensor(pictures(17)))
    with pytest.raises(ValueError, match=r"on GPU 1, the student on GPU 0: .*backend='tensorrt:1'"):
        network(Tensor(image.array, device=1))
    with pytest.raises(ValueError, match="not in C order"):
        network(Tensor(image.array.transpose(0, 1, 3, 2)))


def test_a_ring_of_buffers_has_a_graph_each(fake: Any, conv: Path) -> None:
    network = opened(fake, conv, batch=(1, 1, 1))
    ring = [fake.cuda.empty((1, 3, 8, 8), np.float32) for _ in range(2)]
    for _ in range(2):
        for buffer in ring:
            for _ in range(3):
                fake.cuda.copy_in(pictures(1), buffer)
                network.enqueue(buffer)
    fake.cuda.synchronize()
    assert [graph.launches for graph in fake.cuda.graphs] == [5, 5]


def test_outputs_of_unknown_size(fake: Any, tmp_path: Path, make_onnx: Any) -> None:
    onnx = make_onnx.nonzero(tmp_path / "nonzero.onnx")
    network = opened(fake, onnx)
    for values in ([0, 1, 0, 2, 0, 3], [0] * 6, [1] * 6, [0, 0, 0, 0, 0, 7]):
        x = np.array(values, np.float32)
        np.testing.assert_array_equal(network(x)[0], expected(onnx, x)[0])
    before = fake.cuda.allocations
    network(np.ones(6, np.float32))
    assert fake.cuda.allocations == before
    assert network.graph_failure == "outputs of unknown size"


def test_no_memory_for_an_output(fake: Any, tmp_path: Path, make_onnx: Any) -> None:
    network = opened(fake, make_onnx.nonzero(tmp_path / "nonzero.onnx"))
    fake.cuda.full = True
    with pytest.raises(BackendError, match="this frame is lost: out of memory"):
        network(np.ones(6, np.float32))
    fake.cuda.full = False
    assert network(np.ones(6, np.float32))[0].shape == (1, 6)


@pytest.mark.parametrize("shape", [(17, 3, 8, 8), (0, 3, 8, 8), (1, 3, 8, 9), (3, 8, 8)])
def test_shapes_outside_the_profile(fake: Any, conv: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match=r"profile holds 1x3x8x8 to 16x3x8x8: hand over .* --batch"):
        opened(fake, conv)(np.zeros(shape, np.float32))


def test_inputs_of_another_type_or_number(fake: Any, conv: Path) -> None:
    network = opened(fake, conv)
    with pytest.raises(BackendError, match="image is float64; this engine takes float32"):
        network(pictures(1).astype(np.float64))
    with pytest.raises(BackendError, match="2 inputs; this engine takes 1"):
        network(pictures(1), pictures(1))


def test_a_failure_loses_one_frame(fake: Any, conv: Path) -> None:
    network, image = opened(fake, conv), pictures(2)
    network(image)
    fake.world.broken = True
    with pytest.raises(BackendError, match="this frame is lost: an illegal memory access"):
        network(image)
    fake.world.broken = False
    np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)


def test_a_gpu_that_is_lost(fake: Any, conv: Path, monkeypatch: Any) -> None:
    """Two engines on one GPU: one of them meets the error, both begin anew."""
    made: list[Any] = []

    def renewed(number: int) -> Any:
        made.append(type(fake.cuda)(number))
        fake.world.cuda = made[-1]
        return made[-1]

    monkeypatch.setattr(fake.runner, "Cuda", renewed)
    network, other = opened(fake, conv), fake.runner.TensorRT(built(fake, conv), cuda=fake.cuda)
    image = pictures(2)
    for _ in range(3):
        other(image)
        network(image)
    fake.cuda.spoilt = True
    with pytest.raises(BackendError, match="this frame is lost"):
        network(image)
    for each in (network, other):
        for _ in range(3):
            np.testing.assert_allclose(each(image)[1], expected(conv, image)[1], atol=1e-6)
    assert len(made) == 2, "each has a stream of its own"
    network.reopen()
    assert network.cuda is made[0], "nothing is done anew that is well"


def test_what_fails_in_a_gpu_that_is_well_is_not_made_anew(fake_of: Any, conv: Path) -> None:
    fake = fake_of("10")
    network = opened(fake, conv)
    cuda, engine = network.cuda, network._engine
    fake.world.broken = True
    with pytest.raises(BackendError, match="this frame is lost"):
        network(pictures(1))
    fake.world.broken = False
    network(pictures(1))
    assert (network.cuda, network._engine) == (cuda, engine)


def test_shapes_that_were_not_used_for_long_make_room(fake: Any, conv: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fake.runner, "CONTEXTS", 3)
    network = opened(fake, conv)
    for count in (1, 2, 3, 4, 1):
        image = pictures(count, count)
        np.testing.assert_allclose(network(image)[1], expected(conv, image)[1], atol=1e-6)
    assert len(network._executions) == (1 if fake.release == "8.5" else 3)


def test_eight_threads(fake_of: Any, conv: Path, monkeypatch: Any) -> None:
    fake = fake_of("10")
    lock = threading.RLock()
    from contextlib import contextmanager

    @contextmanager
    def active(self: Any) -> Any:
        with lock:
            yield

    monkeypatch.setattr(type(fake.cuda), "active", active)
    network, wrong = opened(fake, conv), []

    def work(seed: int) -> None:
        for frame in range(10):
            image = pictures(1 + (seed + frame) % 4, seed * 100 + frame)
            if not np.allclose(network(image)[1], image_means[seed, frame], atol=1e-6):
                wrong.append((seed, frame))

    image_means = {
        (s, f): expected(conv, pictures(1 + (s + f) % 4, s * 100 + f))[1] for s in range(8) for f in range(10)
    }
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_host_tensors_are_refused(fake: Any, conv: Path) -> None:
    fake.world.host_tensors = ("y",)
    with pytest.raises(BackendError, match="y is a FLOAT tensor in host memory"):
        opened(fake, conv)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Fake H100"}, "that GPU only; this is Fake H100"),
        ({"capability": (8, 9)}, r"built on Fake H200 \(sm_90\)"),
    ],
)
def test_an_engine_of_another_gpu_is_refused(fake: Any, conv: Path, change: Any, message: str) -> None:
    path = built(fake, conv)
    for name, value in change.items():
        setattr(fake.cuda, name, value)
    with pytest.raises(ArtefactError, match=f"{message}.*wholebody build .*conv.onnx --output .* --rebuild"):
        fake.runner.TensorRT(path, cuda=fake.cuda)


def test_an_engine_of_another_version_is_refused(fake: Any, conv: Path) -> None:
    path = built(fake, conv)
    fake.trt.__version__ = "7.2.3"
    with pytest.raises(ArtefactError, match=r"this is Fake H200, TensorRT 7\.2\.3.*--rebuild"):
        fake.runner.TensorRT(path, cuda=fake.cuda)


def test_a_damaged_engine_is_never_handed_to_tensorrt(fake: Any, conv: Path) -> None:
    path = built(fake, conv)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:99] + b"!" + whole[100:]):
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError, match=r"cut short or changed.*--rebuild"):
            fake.runner.TensorRT(path, cuda=fake.cuda)


def test_what_tensorrt_cannot_read(fake: Any, conv: Path, monkeypatch: Any) -> None:
    path = built(fake, conv)
    monkeypatch.setattr(fake.trt.Runtime, "deserialize_cuda_engine", lambda self, data: None)
    with pytest.raises(ArtefactError, match=r"TensorRT cannot read it.*--rebuild"):
        fake.runner.TensorRT(path, cuda=fake.cuda)


def test_stripped_engines_take_their_weights_from_the_onnx_file(fake: Any, conv: Path) -> None:
    if fake.release in ("8.5", "8.6"):
        with pytest.raises(BackendError, match="has no option 'stripped'; TensorRT 10 and newer has"):
            opened(fake, conv, strip=True)
        return
    network = opened(fake, conv, strip=True)
    assert fake.world.refitted == [conv.read_bytes()]
    assert network(pictures(1))[1].shape == (1, 4)


def test_a_stripped_engine_without_its_onnx_file(fake_of: Any, conv: Path) -> None:
    fake = fake_of("10")
    path = built(fake, conv, strip=True)
    conv.unlink()
    with pytest.raises(ArtefactError, match=r"built without weights, and .*conv.onnx is not beside it"):
        fake.runner.TensorRT(path, cuda=fake.cuda)


def test_the_fake_gpu_has_nothing_the_real_one_lacks(fake_of: Any) -> None:
    import inspect

    from wholebody.runtime.cuda import Cuda

    fake = fake_of("10")
    names = "active held probe wait_for empty pinned copy_in copy_out synchronize capture"
    for name in names.split():
        assert list(inspect.signature(getattr(Cuda, name)).parameters) == list(
            inspect.signature(getattr(type(fake.cuda), name)).parameters
        ), name
