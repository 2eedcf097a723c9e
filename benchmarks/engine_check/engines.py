"""An engine of a prepared student, and what was saved for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.prepare import BATCHES

__all__ = ["Numbers", "build", "is_reduced", "median", "memory", "open_engine", "saved", "size_mb"]

Numbers = dict[str, Any]


def build(path: Path, output: Path | None = None, *, rebuild: bool = False, **options: Any) -> Any:
    from wholebody.export.build_plan import BuildOptions, plan_build
    from wholebody.export.engine import build_engine

    plan = plan_build(path.with_suffix(".onnx"), output, BuildOptions(**options))
    return build_engine(plan, rebuild=rebuild, timing_cache=path.parent / "timing.cache")


def open_engine(path: Path, engine: Path | None = None, **options: Any) -> Any:
    from wholebody.runtime.backends.trt import TensorRT

    return TensorRT(engine or path.with_suffix(".engine"), **options)


def saved(path: Path, network: Any) -> list[tuple[list[Any], Numbers]]:
    """Inputs in the engine's order, and ONNX Runtime's outputs by name; an open batch in several sizes."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    numbers = sorted({int(key.split("/")[0]) for key in arrays if "/" in key})
    found = [
        (
            [arrays[f"{n}/in/{spec.name}"] for spec in network.inputs],
            {spec.name: arrays[f"{n}/out/{spec.name}"] for spec in network.outputs},
        )
        for n in numbers
    ]
    if network.inputs[0].shape[0] is not None:
        return found
    inputs, outputs = found[0]
    return [([a[:b] for a in inputs], {name: a[:b] for name, a in outputs.items()}) for b in BATCHES]


def is_reduced(path: Path) -> bool:
    """Whether it is a student in FP16 or INT8, made by `prepare`."""
    return path.stem.endswith(("_fp16", "_int8"))


def memory(cuda: Any) -> tuple[float, float]:
    """Megabytes in use: of this process, and of the GPU."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, (cuda.memory - cuda.free_memory()) / 1e6


def median(values: list[float]) -> float:
    return round(float(np.median(values)), 4)


def size_mb(path: Path) -> float:
    return round(path.with_suffix(".engine").stat().st_size / 1e6, 2)
