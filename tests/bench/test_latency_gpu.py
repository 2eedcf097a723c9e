"""What runs on a GPU, with stand-ins for the driver: events instead of clocks, NVML, energy counters."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from wholebody.benchmarks import energy
from wholebody.benchmarks.energy import Nvml, Rapl, Tegrastats
from wholebody.benchmarks.latency.crew import gpu_of
from wholebody.benchmarks.latency.on_gpu import network_on_gpu
from wholebody.benchmarks.nvml import Gpu
from wholebody.export.checkpoints import RtmPoseCheckpoint, load_checkpoint
from wholebody.export.reference import PyTorchCrops
from wholebody.export.student_file import save_student
from wholebody.export.students.rtmpose import RtmPose
from wholebody.export.torch_network import TorchNetwork, load_torch_network
from wholebody.runtime.errors import BackendError


@pytest.mark.parametrize(
    ("backend", "asked", "gpu"),
    [
        ("onnxruntime:CPUExecutionProvider", "auto", None),
        ("pytorch:2.8.0+cpu", "pytorch", None),
        ("onnxruntime:CUDAExecutionProvider", "auto", 0),
        ("onnxruntime:TensorrtExecutionProvider", "onnxruntime:TensorrtExecutionProvider", 0),
        ("tensorrt:10.3.0", "tensorrt:1", 1),
        ("torch.compile:cuda:1 2.8.0", "torch.compile:cuda:1", 1),
    ],
)
def test_which_gpu(backend: str, asked: str, gpu: int | None) -> None:
    assert gpu_of(backend, asked) == gpu


# --- events -------------------------------------------------------------------------------------------------


class FakeCuda:
    """A stream whose clock goes on by what is asked of it: 2 ms a copy in, 5 the network, 1 a copy out."""

    def __init__(self) -> None:
        self.now, self.waited = 0.0, 0

    def active(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()

    def event(self) -> Any:
        at = self.now

        def since(other: Any) -> float:
            self.waited += 1
            return at - float(other.at)

        return SimpleNamespace(at=at, since=since)

    def pinned(self, shape: Any, dtype: Any) -> Any:
        return np.zeros(shape, dtype)

    def empty(self, shape: Any, dtype: Any) -> Any:
        return SimpleNamespace(pointer=1)

    def copy_in(self, host: Any, to: Any) -> None:
        self.now += 2

    def copy_out(self, array: Any, to: Any) -> None:
        self.now += 1


def test_the_network_alone_is_timed_by_events() -> None:
    cuda = FakeCuda()

    def enqueue(crops: Any) -> tuple[Any, ...]:
        cuda.now += 5
        return tuple(SimpleNamespace(shape=(2, 3), dtype=np.dtype(np.float32)) for _ in range(2))

    backend = cast("Any", SimpleNamespace(cuda=cuda, enqueue=enqueue))
    run = network_on_gpu(backend, np.zeros((2, 3, 4, 4), np.float32))
    for _ in range(2):
        times = run(0)
        assert {name: times[name] for name in ("upload", "network", "download")} == {
            "upload": 2, "network": 5, "download": 2,
        }  # fmt: skip
        assert times["total"] < 1000
    assert cuda.waited


@pytest.fixture
def network(tiny_rtmpose: Callable[..., RtmPose], tmp_path: Path) -> TorchNetwork:
    return load_torch_network(*_tiny(tiny_rtmpose, tmp_path), "pytorch", proposals=None, threads=1)


def _tiny(tiny_rtmpose: Callable[..., RtmPose], folder: Path) -> tuple[Path, Any]:
    path = folder / "tiny.safetensors"
    save_student(tiny_rtmpose(), path, {}, name="tiny")
    return path, None


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_pytorch_answers_as_its_reference(network: TorchNetwork, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tmp_path / "tiny.safetensors", RtmPoseCheckpoint)
    crops = np.random.default_rng(0).normal(size=(2, 3, 64, 32)).astype(np.float32)
    for ours, theirs in zip(network(crops), PyTorchCrops(checkpoint)(crops), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert network.stage_ms == {}
    assert network.name == f"pytorch:{torch.__version__}"


def test_pytorch_on_a_gpu_is_timed_by_events(network: TorchNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of 3, 10 and 4 ms by the GPU's account, whatever the clock here says."""
    marks = iter(np.cumsum([0, 3, 10, 4, 100, 3, 10, 4]).tolist())
    waited: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = next(marks)

        def elapsed_time(self, other: Any) -> float:
            assert waited, "read before the GPU was done"
            return float(other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    crops = np.zeros((1, 3, 64, 32), np.float32)
    with torch.inference_mode():
        answers = network.on_gpu([crops])
        network.on_gpu([crops])
    assert network.stage_ms == {"upload": 6, "network": 20, "download": 8}
    np.testing.assert_array_equal(answers[0], network(crops)[0])


def test_what_pytorch_lacks_here(
    tiny_rtmpose: Callable[..., RtmPose], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = _tiny(tiny_rtmpose, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"pytorch:cuda needs a GPU, and PyTorch .* finds none here"):
        load_torch_network(*tiny, "pytorch:cuda", proposals=None, threads=1)
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    with pytest.raises(
        BackendError, match=r"torch\.compile needs a C\+\+ compiler; no .*no-compiler is here"
    ):
        load_torch_network(*tiny, "torch.compile", proposals=None, threads=1)


# --- NVML ---------------------------------------------------------------------------------------------------


class FakeNvml:
    """The driver's library: an H200 that has used 1,234.5 J, and process 42 with 300 MB."""

    def __init__(self) -> None:
        self.index: int | None = None

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        self.index = index
        return int(index > 3)

    def nvmlDeviceGetName(self, handle: Any, text: Any, length: Any) -> int:
        text.value = b"NVIDIA H200"
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, length: Any) -> int:
        text.value = b"570.1"
        return 0

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, value: Any) -> int:
        value._obj.value = {1: 1980, 2: 3201}[kind]
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, value: Any) -> int:
        value._obj.value = 1_234_500
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, processes: Any) -> int:
        if processes is None:
            count._obj.value = 2
            return 7  # NVML_ERROR_INSUFFICIENT_SIZE
        count._obj.value = 2
        processes[0].pid, processes[0].memory = 41, 2**64 - 1
        processes[1].pid, processes[1].memory = 42, 300_000_000
        return 0


def test_what_nvml_tells() -> None:
    gpu = Gpu(FakeNvml())
    assert gpu.describe() == {
        "name": "NVIDIA H200", "driver": "570.1", "sm_mhz": 1980, "memory_mhz": 3201,
        "power_limit_watts": None,  # this library has no such function
    }  # fmt: skip
    assert gpu.joules() == 1234.5
    assert [gpu.memory_mb(pid) for pid in (41, 42, 43)] == [None, 300.0, None]


def test_cuda_counts_the_gpus_it_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    library = FakeNvml()
    Gpu(library, 1)
    assert library.index == 1
    Gpu(library, 0)
    assert library.index == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7f")
    Gpu(library, 0)
    assert library.index == 0


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="no such GPU"):
        Gpu(FakeNvml(), 9)

    def missing(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert Gpu.open() is None
    assert Nvml.open(0) is None


# --- energy -------------------------------------------------------------------------------------------------


def test_the_energy_of_a_gpu() -> None:
    readings = iter([5.0, None, 7.0])
    meter = Nvml(cast("Gpu", SimpleNamespace(joules=lambda: next(readings))))
    assert [meter.joules() for _ in range(3)] == [5, 5, 7]


def test_the_energy_of_cpu_packages_that_start_again_at_zero(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "max_energy_range_uj").write_text("999999\n")
        (tmp_path / name / "energy_uj").write_text("900000\n")
    (tmp_path / "intel-rapl:0:0").mkdir()  # a part of a package is in it already
    meter = Rapl.open(tmp_path)
    assert meter is not None
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("950000")
    assert meter.joules() == pytest.approx(0.05)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("50000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000")
    assert meter.joules() == pytest.approx(0.05 + 0.1 + 0.101)


def test_no_counter_to_read(tmp_path: Path) -> None:
    assert Rapl.open(tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert Rapl.open(tmp_path) is None


def test_a_jetsons_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Five watts, then seven, by a clock that goes on by a second whenever somebody looks at it."""
    program = tmp_path / "tegrastats"
    program.write_text(
        "#!/bin/sh\necho RAM 1/2MB VDD_CPU_CV 100mW/100mW VDD_IN 5000mW/4900mW\necho POM_5V_IN 7000/6900\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    now = iter(range(10**6))
    meter = energy.open_meter(None)
    assert isinstance(meter, Tegrastats)
    deadline = time.monotonic() + 5
    while meter.watts != 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))
    meter.joules()
    before = meter.joules()
    assert meter.joules() - before == pytest.approx(7)
    meter.close()
