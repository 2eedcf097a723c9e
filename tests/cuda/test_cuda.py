"""runtime/cuda.py over a stand-in for pycuda, which knows when a context is missing."""

from __future__ import annotations

import gc
import importlib.util
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholebody.runtime import cuda as module
from wholebody.runtime import cuda_context
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray, Kernel, blocks


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("fake_driver", Path(__file__).with_name("fake_driver.py"))
    assert spec is not None
    assert spec.loader is not None
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    driver = fake.Driver()
    monkeypatch.setitem(sys.modules, "pycuda", driver)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setattr(module, "cubin", lambda file, arch: f"{file} for {arch}".encode())
    monkeypatch.setattr(cuda_context, "_contexts", {})
    return driver


def test_what_it_is(driver: Any) -> None:
    cuda = Cuda()
    assert (cuda.name, cuda.arch, cuda.capability, cuda.driver) == ("Fake GPU", "sm_87", (8, 7), "12.4")
    assert cuda.stream.handle == 7
    assert driver.depth() == 0


def test_the_context_is_this_threads_only_during_a_call(driver: Any) -> None:
    cuda = Cuda()
    with cuda.active(), cuda.active():
        assert driver.depth() == 1
    assert driver.depth() == 0
    array = cuda.upload(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert cuda.download(array).shape == (2, 3)
    assert driver.log == ["in 24", "out 24", "synchronize"]
    assert driver.depth() == 0


def test_another_thread_may_use_and_drop_everything(driver: Any) -> None:
    kept: list[Any] = []

    def work() -> None:
        cuda = Cuda()
        kept.extend([cuda, cuda.empty((3, 4), np.float32), cuda.event(), cuda.pinned(5, np.float32)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    cuda, array, *_ = kept
    cuda.fill(array)
    kept.clear()
    del cuda, array, _
    gc.collect()
    assert driver.live == {"context"}


def test_a_part_of_an_array_keeps_the_memory(driver: Any) -> None:
    cuda = Cuda()
    part = cuda.empty((4, 6), np.float32)[1:3]
    assert part.shape == (2, 6)
    gc.collect()
    assert any(name.startswith("memory") for name in driver.live)
    del part
    assert not any(name.startswith("memory") for name in driver.live)


def test_a_view_of_pinned_memory_keeps_it(driver: Any) -> None:
    cuda = Cuda()
    row = cuda.pinned((2, 3), np.float32)[1]
    row[:] = 4
    gc.collect()
    assert any(name.startswith("pinned") for name in driver.live)
    del row
    gc.collect()
    assert not any(name.startswith("pinned") for name in driver.live)


def test_a_kernel_is_loaded_once(driver: Any) -> None:
    cuda, kernel = Cuda(), Kernel("a.cu", "add", "Pif")
    array = cuda.empty(3, np.float32)
    cuda.load(kernel)
    for _ in range(2):
        cuda.launch(kernel, (2,), (32, 4), array, 5, 0.5)
    launch = f"launch add ((2, 1, 1), (32, 4, 1)) {(array.pointer, 5, 0.5)}"
    assert driver.log == ["prepare add Pif", launch, launch]


def test_events(driver: Any) -> None:
    cuda = Cuda()
    before = cuda.event()
    assert cuda.event().since(before) == 1.5


def test_waiting_for_the_streams_of_others(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def call(name: str, *arguments: Any) -> None:
        driver.need(name)
        called.append((name, *(getattr(a, "value", a) for a in arguments[1:2])))

    monkeypatch.setattr(module, "call", call)
    Cuda().wait_for(0x123)
    assert called == [
        ("cuEventCreate", 2), ("cuEventRecord", 0x123), ("cuStreamWaitEvent", None), ("cuEventDestroy_v2",),
    ]  # fmt: skip


def test_out_of_memory_leaves_it_usable(driver: Any) -> None:
    cuda = Cuda()
    with pytest.raises(BackendError, match="GPU 0 is out of memory"):
        cuda.empty(2 << 20, np.uint8)
    assert driver.depth() == 0
    cuda.empty(10, np.uint8)


def test_copies_of_another_shape(driver: Any) -> None:
    cuda = Cuda()
    array = cuda.empty((2, 3), np.float32)
    for host in (np.zeros((3, 2), np.float32), np.zeros((2, 3)), np.zeros((3, 2), np.float32).T):
        with pytest.raises(ValueError, match="cannot copy between"):
            cuda.copy_in(host, array)
    assert not driver.log


def test_nothing_is_copied_of_an_empty_array(driver: Any) -> None:
    cuda = Cuda()
    array = cuda.upload(np.zeros((0, 3), np.float32))
    cuda.fill(array)
    assert cuda.download(array).shape == (0, 3)
    assert driver.log == ["synchronize"]


def test_a_gpu_that_is_not_there(driver: Any) -> None:
    with pytest.raises(BackendError, match="GPU 1 is not there; allowed are 0 to 0"):
        Cuda(1)


def test_a_forked_process(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    array = cuda.empty(3, np.float32)
    monkeypatch.setattr(cuda_context.os, "getpid", lambda: -1)
    with pytest.raises(BackendError, match="before this process was forked"):
        cuda.synchronize()
    del array
    assert any(name.startswith("memory") for name in driver.live), "a fork frees what is not its own"


def test_a_fork_cannot_begin_anew(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Cuda()
    monkeypatch.setattr(cuda_context.os, "getpid", lambda: -1)
    with pytest.raises(BackendError, match="before this process was forked"):
        Cuda()


def test_an_error_that_spoils_nothing(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()

    def fail(*arguments: Any) -> None:
        raise driver.Error("cuMemsetD8Async failed: invalid argument")

    array = cuda.empty(3, np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "memset_d8_async", fail)
        with pytest.raises(BackendError, match=r"GPU 0 failed: cuMemsetD8Async failed: invalid argument$"):
            cuda.fill(array)
    assert not cuda.lost
    assert not cuda.probe()
    cuda.fill(array)


def test_errors_are_ours_within_a_turn(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever holds a turn can go on without what failed, as without a graph."""
    cuda = Cuda()
    with cuda.active():
        with pytest.raises(BackendError, match="out of memory"):
            cuda.empty(2 << 20, np.uint8)
        cuda.empty(2, np.uint8)


def test_a_gpu_that_is_lost(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def call(*arguments: Any) -> None:
        called.append(arguments)
        driver.spoilt = False

    monkeypatch.setattr(cuda_context, "call", call)
    cuda, other = Cuda(), Cuda()
    array, dropped = cuda.empty(3, np.float32), cuda.empty(4, np.float32)
    driver.spoilt = True
    with pytest.raises(
        BackendError, match=r"illegal memory access .*; this frame is lost, and with the next"
    ):
        cuda.synchronize()
    assert driver.depth() == 0
    assert cuda.lost
    assert other.lost, "all that is on the GPU is"
    for work in (partial(cuda.fill, array), other.synchronize, cuda.probe):
        with pytest.raises(
            BackendError, match="GPU 0 was reset after an error, and this frame is lost: try again"
        ):
            work()
    del dropped  # which no context is there to free
    again = Cuda()
    assert called == [("cuDevicePrimaryCtxReset_v2", 0)]
    assert not again.lost
    assert cuda.lost
    del array, cuda, other
    again.fill(again.empty(5, np.uint8))
    assert driver.log == ["set 5"]


def test_a_lost_gpu_waits_for_other_threads(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(cuda_context, "call", lambda *arguments: order.append("reset"))
    cuda, within, go = Cuda(), threading.Event(), threading.Event()

    def work() -> None:
        with cuda.active():
            within.set()
            go.wait(5)
            order.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    assert within.wait(5)
    cuda._context.lost = True
    threading.Timer(0.05, go.set).start()
    Cuda()
    thread.join()
    assert order == ["done", "reset"]


def test_without_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(BackendError, match=r"pycuda cannot be imported .* pip install pycuda") as caught:
        Cuda()
    assert "\n" not in str(caught.value)


def test_without_a_gpu(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise driver.Error("cuInit failed: no CUDA-capable device")

    monkeypatch.setattr(driver, "init", init)
    with pytest.raises(BackendError, match=r"no GPU is found \(cuInit failed"):
        Cuda()


# --- arrays -------------------------------------------------------------------------------------------------


def test_parts_and_shapes() -> None:
    array = DeviceArray(1000, (4, 3), np.dtype(np.float32))
    assert (array[1:3].pointer, array[1:3].shape, array[:0].shape) == (1012, (2, 3), (0, 3))
    assert (len(array), array.size, array.nbytes) == (4, 12, 48)
    assert array.reshape(2, 6).shape == (2, 6)
    with pytest.raises(ValueError, match="cannot take the shape"):
        array.reshape(5)
    with pytest.raises(ValueError, match="one after the other"):
        array[::2]


@pytest.mark.parametrize(("items", "expected"), [(0, 1), (1, 1), (32, 1), (33, 2), (10**9, 65535)])
def test_blocks(items: int, expected: int) -> None:
    assert blocks(items, 32) == expected
