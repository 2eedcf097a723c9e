"""ONNX Runtime as a backend."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from wholebody.runtime.backends.backend import Backend, TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.backends.onnxrt import CPU, CUDA, OnnxRuntime
from wholebody.runtime.errors import BackendError

FLOAT = np.dtype(np.float32)


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    """An ONNX network: (n, 2) plus (2,), and the latter again."""
    inputs = [
        helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, [2]),
    ]
    outputs = [
        helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("same", TensorProto.FLOAT, [2]),
    ]
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Identity", ["b"], ["same"])]
    graph = helper.make_graph(nodes, "adder", inputs, outputs)
    path = tmp_path / "adder.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_it_is_a_backend(adder: Path) -> None:
    backend: Backend = OnnxRuntime(adder, threads=1)
    assert backend.name == "onnxruntime:CPUExecutionProvider"
    assert backend.inputs == (TensorSpec("a", (None, 2), FLOAT), TensorSpec("b", (2,), FLOAT))
    assert [spec.name for spec in backend.outputs] == ["sum", "same"]
    total, same = backend(array(1, 2, 3, 4).reshape(2, 2), array(10, 20))
    assert total.tolist() == [[11, 22], [13, 24]]
    assert same.tolist() == [10, 20]


def test_no_rows(adder: Path) -> None:
    total, _ = OnnxRuntime(adder, threads=1)(np.zeros((0, 2), np.float32), array(1, 2))
    assert total.shape == (0, 2)


def test_answers_are_not_overwritten_by_the_next_call(adder: Path) -> None:
    backend = OnnxRuntime(adder, threads=1)
    first, _ = backend(array(1, 2).reshape(1, 2), array(0, 0))
    backend(array(7, 8).reshape(1, 2), array(0, 0))
    assert first.tolist() == [[1, 2]]


def test_several_threads_share_a_session(adder: Path) -> None:
    backend = OnnxRuntime(adder, threads=2)

    def ask(i: int) -> bool:
        total, same = backend(np.full((200, 2), i, np.float32), array(i, i))
        return bool((total == 2 * i).all() and (same == i).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(100)))


@pytest.mark.parametrize(
    "inputs",
    [
        (array(1, 2),),
        (array(1, 2), array(1, 2)),
        (np.zeros((1, 3), np.float32), array(1, 2)),
        (np.zeros((1, 2), np.float64), array(1, 2)),
        (np.zeros((1, 2), np.float32),) * 3,
    ],
)
def test_inputs_that_do_not_fit(adder: Path, inputs: Sequence[np.ndarray]) -> None:
    with pytest.raises(BackendError, match="onnxruntime:CPUExecutionProvider failed") as caught:
        OnnxRuntime(adder, threads=1)(*inputs)
    assert "\n" not in str(caught.value)


def test_a_file_that_it_cannot_load(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network\n")
    for path in (tmp_path / "text.onnx", tmp_path / "missing.onnx"):
        with pytest.raises(BackendError, match="onnxruntime cannot load") as caught:
            OnnxRuntime(path)
        assert "\n" not in str(caught.value)


def test_a_failure_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By the error alone: ONNX Runtime writes nothing of its own beside it."""
    a, b, total = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [n]) for n in ("a", "b", "sum"))
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["sum"])], "adder", [a, b], [total])
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(BackendError, match="Add node"):
        OnnxRuntime(path, threads=1)(array(1, 2), array(1, 2, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_that_are_not_allowed(adder: Path, threads: int) -> None:
    with pytest.raises(BackendError, match="1 to 1024"):
        OnnxRuntime(adder, threads=threads)


def test_explicit_providers(adder: Path) -> None:
    backend = OnnxRuntime(adder, providers=[CPU], threads=1)
    assert (backend.provider, backend.fallback) == (CPU, None)


@pytest.mark.parametrize("providers", [["NoProvider"], [CPU, "NoProvider"], []])
def test_explicit_providers_that_are_not_there(adder: Path, providers: list[str]) -> None:
    with pytest.raises(BackendError, match=r"this onnxruntime has no (NoProvider|such provider), only .*CPU"):
        OnnxRuntime(adder, providers=providers)


@pytest.fixture
def broken_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build with CUDA on a machine without: onnxruntime then starts on the CPU by itself."""
    session = ort.InferenceSession

    def start(path: str, options: ort.SessionOptions, providers: list[str], **others: Any) -> Any:
        assert providers[0] == CUDA
        return session(path, options, providers=[CPU], **others)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", start)


@pytest.mark.usefixtures("broken_cuda")
def test_auto_falls_back_and_says_so(adder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        backend = OnnxRuntime(adder, threads=1)
    assert backend.name == "onnxruntime:CPUExecutionProvider"
    assert backend.fallback is not None
    assert CUDA in backend.fallback
    assert [record.message for record in caplog.records] == [backend.fallback]


@pytest.mark.usefixtures("broken_cuda")
def test_an_explicit_provider_never_falls_back(adder: Path) -> None:
    with pytest.raises(BackendError, match="CUDAExecutionProvider could not start"):
        OnnxRuntime(adder, providers=[CUDA, CPU])


@pytest.mark.skipif(sys.platform != "linux", reason="processor affinity is Linux's")
def test_threads_are_the_cores_of_this_process(adder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    session = ort.InferenceSession

    def start(path: str, options: ort.SessionOptions, providers: list[str], **others: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return session(path, options, providers=providers, **others)

    monkeypatch.setattr(ort, "InferenceSession", start)
    OnnxRuntime(adder)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    OnnxRuntime(adder)
    OnnxRuntime(adder, threads=3)
    assert 1 <= seen[0] <= (os.cpu_count() or 1)
    assert seen[1:] == [1, 3]


def test_the_fake_answers_with_what_it_was_given() -> None:
    fake = FakeBackend((TensorSpec("a", (2,), FLOAT),), {"b": array(1, 2, 3)})
    backend: Backend = fake
    assert backend.outputs == (TensorSpec("b", (3,), FLOAT),)
    assert backend(array(0, 0))[0].tolist() == [1, 2, 3]
    assert [tuple(len(a) for a in call) for call in fake.calls] == [(2,)]
    with pytest.raises(TypeError, match="expected 1 inputs, got 2"):
        backend(array(1), array(2))
