"""Options; bad engines, full memory, forks, illegal addresses: a clear error, and the next call is right"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.engines import Numbers, build, open_engine, saved

__all__ = ["STEPS"]


def step_options(path: Path, frames: int) -> Numbers:
    """Each option of a build, on a small network: it builds, and it runs."""
    numbers: Numbers = {}
    choices: dict[str, Numbers] = {
        "level 0": {"optimization_level": 0}, "level 5": {"optimization_level": 5}, "refit": {"refit": True},
        "workspace": {"workspace": 0.5}, "hardware": {"hardware": "ampere+"}, "tf32": {"tf32": True},
        "version-compatible": {"version_compatible": True}, "batch": {"batch": (2, 2, 4)},
    }  # fmt: skip
    for name, options in choices.items():
        output = path.with_name(f"options-{name.replace(' ', '-')}.engine")
        try:
            seconds = build(path, output, rebuild=True, **options).seconds
            network = open_engine(path, output)
            batch = np.zeros((2, *network.inputs[0].shape[1:]), np.float32)
            numbers[name] = {
                "seconds": round(seconds, 2),
                "finite": bool(np.isfinite(network(batch)[0]).all()),
            }
        except Exception as error:
            numbers[name] = {"error": repr(error)[:400]}
    return {"ok": all("error" not in entry for entry in numbers.values()), **numbers}


def step_refusals(path: Path, frames: int) -> Numbers:
    """Bad engines and full memory: an error that tells, and the next call works."""
    network = open_engine(path)
    inputs, outputs = saved(path, network)[0]
    told = {
        "damaged": told_of(lambda: open_engine(path, damaged(path))),
        "another GPU": told_of(lambda: open_engine(path, changed(path, gpu="NVIDIA Other"))),
        "another TensorRT": told_of(lambda: open_engine(path, changed(path, tensorrt="10.1.0"))),
        "outside the profile": told_of(lambda: network(np.zeros((99, *inputs[0].shape[1:]), np.float32))),
        "no memory": told_of(lambda: network.cuda.empty(1 << 46, np.uint8)),
        "fork": told_in_a_fork(network, inputs),
        "not an ONNX file": told_of(lambda: build(unsupported(path))),
    }
    answer = network(*inputs)[0]
    error = float(np.abs(answer - outputs[network.outputs[0].name]).max())
    ok = error < 0.1 and all(text and "Error" in text for text in told.values())
    return {"ok": ok, "told": told, "after_all_that": error}


def told_of(action: Callable[[], Any]) -> str | None:
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None


def told_in_a_fork(network: Any, inputs: list[Any]) -> str | None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, (told_of(lambda: network(*inputs)) or "").encode())
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.waitpid(child, 0)
    return text


def damaged(path: Path) -> Path:
    copy = changed(path)
    copy.write_bytes(copy.read_bytes()[:-100])
    return copy


def changed(path: Path, **entries: Any) -> Path:
    """A copy of an engine whose sidecar says something else."""
    engine = path.with_suffix(".engine")
    copy = path.with_name("changed.engine")
    copy.write_bytes(engine.read_bytes())
    plan = json.loads(Path(f"{engine}.json").read_text("utf-8"))
    Path(f"{copy}.json").write_text(json.dumps({**plan, **entries}), "utf-8")
    return copy


def unsupported(path: Path) -> Path:
    """The small network with an operator that nobody has."""
    copy = path.with_name("unsupported.onnx")
    copy.write_bytes(path.with_suffix(".onnx").read_bytes().replace(b"Conv", b"Cnov"))
    return copy.with_suffix("")


def step_lost(path: Path, frames: int) -> Numbers:
    """An illegal address in the midst of a pipeline: that frame is lost, and the next one is right again."""
    from wholebody.benchmarks.engine_check.pipeline_steps import apart, pipelines, whole_pictures
    from wholebody.runtime.errors import BackendError
    from wholebody.runtime.gpu import DeviceArray
    from wholebody.runtime.kernels.simcc_gpu import SimccDecoder

    pose, inputs = pipelines(path)["gpu"], whole_pictures(path)[0]
    before, told = [pose(*inputs) for _ in range(3)][-1], None
    nowhere = DeviceArray(64, (2, 17, 64), np.dtype(np.float32))
    SimccDecoder(pose._cuda, 2, 17, 2.0)(nowhere, nowhere)
    try:
        pose(*inputs)
    except BackendError as error:
        told = str(error)
    began = time.perf_counter()
    after = pose(*inputs)
    again_s, (pixels, score) = time.perf_counter() - began, apart(after, before)
    ok = told is not None and "lost" in told and pixels < 1e-3
    return {
        "ok": ok,
        "told": told,
        "again_s": round(again_s, 3),
        "largest_px": pixels,
        "largest_score": score,
    }


STEPS = {"options": step_options, "refusals": step_refusals, "lost": step_lost}
