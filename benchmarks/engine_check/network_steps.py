"""Networks alone: built, compared, timed, by eight threads, over many frames."""

from __future__ import annotations

import platform
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.engines import (
    Numbers,
    build,
    is_reduced,
    median,
    memory,
    open_engine,
    saved,
    size_mb,
)

__all__ = ["STEPS"]

# The largest difference from ONNX Runtime as a share of the largest value: in FP32, and in less.
LIMIT, LIMITS = 2e-3, {"half": 1e-2, "int8": 2e-2}
SECONDS = 120  # for a network's many frames


def step_environment(path: Path, frames: int) -> Numbers:
    import tensorrt as trt  # pyright: ignore[reportMissingImports]

    from wholebody.runtime.cuda import Cuda

    cuda = Cuda()
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.total,pstate"
    command = f"nvidia-smi --query-gpu={query} --format=csv,noheader || true"
    smi = subprocess.run(command, shell=True, capture_output=True, text=True)
    return {
        "python": platform.python_version(), "numpy": np.__version__, "tensorrt": trt.__version__,
        "gpu": cuda.name, "capability": cuda.capability, "driver_cuda": cuda.driver,
        "nvidia_smi": dict(zip(query.split(","), smi.stdout.strip().split(", "), strict=False)),
    }  # fmt: skip


def step_build(path: Path, frames: int) -> Numbers:
    built = build(path, rebuild=True)
    return {"seconds": round(built.seconds, 2), "mb": size_mb(path), "layers": built.plan.layers}


def step_rebuild(path: Path, frames: int) -> Numbers:
    """With the timings of the first build, and once more, which must not build at all."""
    again, reused = build(path, rebuild=True), build(path)
    return {
        "ok": reused.reused, "with_timing_cache_s": round(again.seconds, 2),
        "recognised_s": round(reused.seconds, 3),
    }  # fmt: skip


def step_compare(path: Path, frames: int) -> Numbers:
    """Every case three times, so that the graph's answers are compared, too.

    A student of reduced precision is not judged by its numbers, but by its people.
    """
    network, ok = open_engine(path), True
    worst: dict[str, float] = {}
    for inputs, outputs in saved(path, network):
        answers = [network(*inputs) for _ in range(3)][-1]
        got = dict(zip([s.name for s in network.outputs], answers, strict=True))
        for what, value, limit in differences(got, outputs, LIMITS.get(path.stem, LIMIT)):
            worst[what] = max(worst.get(what, 0.0), value)
            ok = ok and value <= limit
    rounded = {what: float(f"{value:.4g}") for what, value in worst.items()}
    judged = not is_reduced(path)
    return {
        "ok": ok or not judged,
        "judged": judged,
        "worst": rounded,
        "graph_failure": network.graph_failure,
    }


def differences(got: Numbers, want: Numbers, limit: float) -> list[tuple[str, float, float]]:
    """What differs, by how much, and how much may."""
    if "boxes" in got:
        return dope_differences(got, want)
    found = []
    for name, array in want.items():
        if got[name].shape != array.shape:
            return [(f"{name}: shape {got[name].shape} instead of {array.shape}", 1.0, 0.0)]
        scale = float(np.abs(array).max()) if array.size else 1.0
        error = float(np.abs(got[name].astype(np.float64) - array).max(initial=0.0)) / max(scale, 1e-9)
        found.append((f"{name}: largest difference / largest value", error, limit))
        if name.startswith("simcc"):
            moved = np.abs(got[name].argmax(-1) - array.argmax(-1))
            found.append((f"{name}: share of bins that moved", float((moved > 0).mean()), 0.02))
    return found


def dope_differences(got: Numbers, want: Numbers) -> list[tuple[str, float, float]]:
    """Proposals are matched by their boxes first: two that score nearly alike may change places."""
    real = want["boxes"].any(axis=1)
    distance = np.abs(want["boxes"][real][:, None] - got["boxes"][None]).max(-1)
    match, matched = distance.argmin(1), distance.min(1) < 0.05
    found = [("share of proposals without a match", 1 - float(matched.mean()) if real.any() else 0.0, 0.03)]
    for name, limit in (("scores", 2e-3), ("pose2d", 0.1), ("pose3d", 2e-3)):
        for part in ("body", "hand", "face"):
            ours = got[f"{part}_{name}"][match[matched]]
            theirs = want[f"{part}_{name}"][real][matched]
            found.append((f"{part}_{name}", float(np.abs(ours - theirs).max(initial=0.0)), limit))
    return found


def step_time(path: Path, frames: int) -> Numbers:
    """Milliseconds on the GPU and of the CPU, with CUDA graphs and without, by batch."""
    numbers: Numbers = {}
    for graphs in (True, False):
        network = open_engine(path, graphs=graphs)
        for inputs, _ in saved(path, network):
            label = "x".join(map(str, inputs[0].shape))
            entry = numbers.setdefault(label, {})
            entry["graph" if graphs else "plain"] = measure(network, inputs)
        numbers["graph_failure" if graphs else "plain_only"] = network.graph_failure
        if graphs:
            numbers["scratch_mb"] = round(network._scratch.nbytes / 1e6, 1)
    return numbers


def measure(network: Any, inputs: list[Any], rounds: int = 200) -> Numbers:
    cuda = network.cuda
    buffers = network.input_buffers(*(a.shape for a in inputs))
    for array, buffer in zip(inputs, buffers, strict=True):
        cuda.copy_in(np.ascontiguousarray(array), buffer)
    for _ in range(20):
        network.enqueue(*buffers)
    cuda.synchronize()
    on_gpu, submitted = [], []
    for _ in range(rounds):
        start = cuda.event()
        began = time.perf_counter()
        network.enqueue(*buffers)
        submitted.append((time.perf_counter() - began) * 1e3)
        on_gpu.append(cuda.event().since(start))
    whole = []
    for _ in range(rounds):
        began = time.perf_counter()
        network(*inputs)
        whole.append((time.perf_counter() - began) * 1e3)
    return {
        "gpu_ms": median(on_gpu), "submit_ms": median(submitted), "numpy_to_numpy_ms": median(whole),
        "numpy_to_numpy_p99_ms": round(float(np.percentile(whole, 99)), 4),
    }  # fmt: skip


def step_threads(path: Path, frames: int) -> Numbers:
    """Eight threads on one engine: nobody gets another's answer."""
    network = open_engine(path)
    found = saved(path, network)
    alone = [network(*inputs) for inputs, _ in found]
    wrong: list[str] = []
    calls = max(10, min(1000, frames // 20))

    def work(number: int) -> None:
        try:
            for call in range(calls):
                which = (number + call) % len(found)
                for got, want in zip(network(*found[which][0]), alone[which], strict=True):
                    if got.shape != want.shape or not np.allclose(got, want, rtol=1e-3, atol=1e-3):
                        wrong.append(f"thread {number}, call {call}")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {
        "ok": not wrong, "calls": 8 * calls, "wrong": wrong[:5],
        "calls_per_second": round(8 * calls / seconds, 1),
    }  # fmt: skip


def step_memory(path: Path, frames: int) -> Numbers:
    """Memory of the process and of the GPU over many frames, after the first tenth."""
    network = open_engine(path)
    found = saved(path, network)
    deadline = time.perf_counter() + SECONDS
    marks, done = [], 0
    while done < frames and time.perf_counter() < deadline:
        network(*found[done % len(found)][0])
        done += 1
        if done in (frames // 10, frames // 2) or done % 5000 == 0:
            marks.append(memory(network.cuda))
    marks.append(memory(network.cuda))
    host, device = (marks[-1][i] - marks[0][i] for i in (0, 1))
    ok = host < 8 and device <= 2
    return {"ok": ok, "frames": done, "host_growth_mb": round(host, 2), "gpu_growth_mb": round(device, 2)}


STEPS = {
    "environment": step_environment, "build": step_build, "rebuild": step_rebuild, "compare": step_compare,
    "time": step_time, "threads": step_threads, "memory": step_memory,
}  # fmt: skip
