"""Whole pipelines: the CPU's people, any way in, by eight threads, over 100,000 frames; the host's share."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.engines import Numbers, is_reduced, median, memory, open_engine

__all__ = ["STEPS", "apart", "pipelines", "whole_pictures"]

FP32_PIXELS = 0.5  # the largest difference allowed of any keypoint
COPIED, HOST_US = 2**16, 150  # the aims: bytes to the host, and microseconds of its work, a frame
ROUNDS = 200  # of what is timed
THREADS, FRAMES = 8, 1000
LONG, SECONDS = 100_000, 400  # frames in a row, and how long they may take


def pipelines(path: Path) -> dict[str, Any]:
    """What the runtime may do with an engine."""
    from wholebody.runtime.pipelines.dope import DopePose
    from wholebody.runtime.pipelines.dope_gpu import GpuDopePose
    from wholebody.runtime.pipelines.top_down import TopDownPose
    from wholebody.runtime.pipelines.top_down_gpu import GpuTopDownPose
    from wholebody.runtime.spec import StudentSpec, spec_from_dict

    spec: Any = spec_from_dict(open_engine(path).plan.student)
    dope = isinstance(spec, StudentSpec)
    in_numpy, on_gpu = (DopePose, GpuDopePose) if dope else (TopDownPose, GpuTopDownPose)
    network = open_engine(path)
    buckets: Any = {} if dope else {"buckets": network.buckets}
    plain: Any = on_gpu(open_engine(path, graphs=False), spec)
    plain._replay.failure = "not asked for"
    return {
        "numpy": in_numpy(network, spec, **buckets),
        "gpu": on_gpu(network, spec),
        "gpu, no graphs": plain,
    }


def whole_pictures(path: Path) -> tuple[tuple[Any, ...], Any]:
    """The saved picture, with boxes where the student wants them; keypoints and scores of its people."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        inputs = tuple(file[name] for name in ("picture", "boxes") if name in file)
        return inputs, (file["keypoints"], file["scores"])


def apart(people: Any, wanted: Any) -> tuple[float, float]:
    """The largest difference of a keypoint, in pixels, and of a score; 1e9 where they are not as many."""
    keypoints, scores = wanted if isinstance(wanted, tuple) else (wanted.keypoints, wanted.scores)
    if people.keypoints.shape != keypoints.shape:
        return 1e9, 1e9
    pixels = np.nanmax(np.abs(people.keypoints - keypoints), initial=0.0)
    return float(pixels), float(np.abs(people.scores - scores).max(initial=0.0))


def step_people(path: Path, frames: int) -> Numbers:
    """Every pipeline's people against the FP32 student's on a CPU, its times, and what the host does."""
    if open_engine(path).plan.student is None:
        return {"left_out": "not a student of wholebody"}
    inputs, wanted = whole_pictures(path)
    numbers: Numbers = {"wanted": len(wanted[0])}
    ok = True
    for name, pose in pipelines(path).items():
        people = pose(*inputs)
        numbers[name] = {"people": len(people), **drift(path, people, wanted), **on_the_clock(pose, inputs)}
        ok = ok and numbers[name]["within"]
        if hasattr(pose, "_replay"):
            numbers[name] |= {"graph_failure": pose._replay.failure, **host_work(pose, inputs)}
    return {"ok": ok, **numbers}


def drift(path: Path, people: Any, wanted: Any) -> Numbers:
    """In FP32 every keypoint is judged; in less the confident ones' median, by the student's own budget."""
    pixels, score = apart(people, wanted)
    entry: Numbers = {"largest_px": pixels, "largest_score": score}
    if not is_reduced(path):
        return {**entry, "within": pixels < FP32_PIXELS}
    budget = json.loads(path.with_suffix(".json").read_text("utf-8"))["certificate"]["budget"]["px"]
    middle = 1e9
    if pixels < 1e9:
        distance = np.linalg.norm(people.keypoints - wanted[0], axis=-1)[wanted[1] > 0.3]
        middle = float(np.nanmedian(distance)) if distance.size else 0.0
    return {**entry, "median_px": middle, "budget_px": budget, "within": middle <= budget}


def on_the_clock(pose: Any, inputs: Any) -> Numbers:
    """Milliseconds from a picture in memory to people, and the medians of the stages."""
    for _ in range(ROUNDS // 10):
        pose(*inputs)
    times, stages = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        people = pose(*inputs)
        times.append((time.perf_counter() - began) * 1e3)
        stages.append(people.metadata["times_ms"])
    return {
        "ms": median(times), "p99_ms": round(float(np.percentile(times, 99)), 4),
        "stages_ms": {name: median([stage[name] for stage in stages]) for name in stages[0]},
    }  # fmt: skip


def host_work(pose: Any, inputs: Any) -> Numbers:
    """A frame's bytes to the host, and its time without the wait for the GPU; of a picture that is there."""
    picture = pose._cuda.upload(inputs[0])
    there = (picture, *inputs[1:])
    bytes_, waited, whole = copied(pose, there), [], []
    wait = pose._stages.milliseconds

    def timed() -> Any:
        began = time.perf_counter()
        try:
            return wait()
        finally:
            waited.append((time.perf_counter() - began) * 1e6)

    pose._stages.milliseconds = timed
    for _ in range(ROUNDS):
        began = time.perf_counter()
        pose(*there)
        whole.append((time.perf_counter() - began) * 1e6)
    del pose._stages.milliseconds
    host = median([w - wait for w, wait in zip(whole, waited, strict=True)])
    return {"bytes_to_host": bytes_, "host_us": host, "aims_met": bytes_ <= COPIED and host <= HOST_US}


def copied(pose: Any, inputs: Any) -> int:
    """Bytes to the host for one frame, graphs left out, as they hide their copies."""
    cuda, sizes = pose._cuda, []
    graphs, pose._replay._graphs, failure = (
        pose._replay._graphs,
        type(pose._replay._graphs)(),
        pose._replay.failure,
    )
    copy_out = cuda.copy_out

    def counted(array: Any, to: Any) -> None:
        sizes.append(array.nbytes)
        copy_out(array, to)

    cuda.copy_out = counted
    try:
        pose(*inputs)
    finally:
        del cuda.copy_out
        pose._replay._graphs, pose._replay.failure = graphs, failure
    return sum(sizes)


def step_inputs(path: Path, frames: int) -> Numbers:
    """The same people from a picture on the GPU, from PyTorch's and CuPy's memory, from NV12, from a ring."""
    import cv2

    from wholebody.runtime.video.camera_ring import CameraRing

    pose, (picture, *rest) = pipelines(path)["gpu"], whole_pictures(path)[0]
    even = np.ascontiguousarray(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2])
    yuv = cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420)
    luma, colour = yuv[: len(even)], yuv[len(even) :].reshape(2, -1)
    nv12 = np.concatenate([luma, colour.T.reshape(-1, even.shape[1])])
    back = np.asarray(cv2.cvtColor(nv12, cv2.COLOR_YUV2BGR_NV12), np.uint8)
    ring = CameraRing(picture.shape)
    with ring.slot() as frame:
        frame[:] = picture
    ways: dict[str, Callable[[], Any]] = {
        "on the GPU": lambda: pose._cuda.upload(picture), "PyTorch": lambda: in_torch(picture),
        "CuPy": lambda: in_cupy(picture), "a ring": lambda: next(iter(ring)),
    }  # fmt: skip
    expected, numbers = pose(picture, *rest), dict[str, Any]()
    for name, made in ways.items():
        try:
            given = made()
        except (ImportError, RuntimeError, AssertionError) as error:
            numbers[name] = f"left out: {error}"[:200]
            continue
        numbers[name] = apart(pose(given, *rest), expected)[0]
    numbers["NV12"] = apart(pose(nv12, *rest), pose(back, *rest))[0]
    ok = all(value < 1e-2 for value in numbers.values() if isinstance(value, float))
    return {"ok": ok, **numbers}


def in_torch(picture: Any) -> Any:
    import torch

    return torch.from_numpy(picture).cuda()


def in_cupy(picture: Any) -> Any:
    from importlib import import_module

    return import_module("cupy").asarray(picture)


def step_crowd(path: Path, frames: int) -> Numbers:
    """Eight threads on one pipeline: nobody gets another's people."""
    pose, inputs = pipelines(path)["gpu"], whole_pictures(path)[0]
    pictures = [np.ascontiguousarray(np.roll(inputs[0], 16 * i, axis=1)) for i in range(4)]
    alone = [pose(picture, *inputs[1:]) for picture in pictures]
    wrong: list[str] = []
    calls = max(1, min(FRAMES, frames))

    def work(number: int) -> None:
        try:
            for call in range(calls):
                which = (number + call) % len(pictures)
                if apart(pose(pictures[which], *inputs[1:]), alone[which])[0] > 1e-2:
                    wrong.append(f"thread {number}, call {call}")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = THREADS * calls / (time.perf_counter() - began)
    return {
        "ok": not wrong,
        "frames": THREADS * calls,
        "wrong": wrong[:5],
        "frames_per_second": round(rate, 1),
    }


def step_long(path: Path, frames: int) -> Numbers:
    """Memory of the process and of the GPU over 100,000 frames, after the first tenth."""
    pose, inputs = pipelines(path)["gpu"], whole_pictures(path)[0]
    wanted, done = (LONG if frames >= 1000 else frames), 0
    deadline, before = time.perf_counter() + SECONDS, memory(pose._cuda)
    while done < wanted and time.perf_counter() < deadline:
        pose(*inputs)
        done += 1
        if done == wanted // 10:
            before = memory(pose._cuda)
    host, device = (after - first for after, first in zip(memory(pose._cuda), before, strict=True))
    ok = host < 8 and device <= 2 and done == wanted
    return {"ok": ok, "frames": done, "host_growth_mb": round(host, 2), "gpu_growth_mb": round(device, 2)}


STEPS = {"people": step_people, "inputs": step_inputs, "crowd": step_crowd, "long": step_long}
