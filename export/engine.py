"""An ONNX student to a TensorRT engine, on the GPU that it will run on.

Precision is a matter of the graph: types and Q/DQ pairs in the ONNX file are kept as they are. What differs
between versions of TensorRT stands in runtime/backends/trt_versions.py.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorrt as trt  # pyright: ignore[reportMissingImports]

from wholebody.export.build_plan import BuildOptions, BuildPlan, plan_build
from wholebody.export.build_progress import Progress
from wholebody.export.engine_build import EngineBuild
from wholebody.export.timing_cache import default_timing_cache
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.plan import Plan, read_plan, read_sidecar, write_plan

__all__ = ["Built", "build_engine", "rebuild_engine"]


@dataclass(frozen=True)
class Built:
    """path: the engine; reused: it was there already, built of the same; seconds: what the build took."""

    path: Path
    plan: Plan
    reused: bool
    seconds: float


def build_engine(
    plan: BuildPlan,
    *,
    cuda: Cuda | None = None,
    rebuild: bool = False,
    timing_cache: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Built:
    """Build what `plan_build` decided, and write the engine and its sidecar.

    cuda          the GPU to build for; None takes the first
    rebuild       build even where the same engine is there already
    timing_cache  a file of measurements to begin with and to add to; None takes `default_timing_cache`
    progress      called at every step, where TensorRT tells of them (10 and newer); what it
                  raises ends the build and is raised again

    Raises ArtefactError for an ONNX file that TensorRT cannot take, BackendError where the GPU, its memory or
    an option is missing, and where the build fails.
    """
    began = time.perf_counter()
    gpu = cuda or Cuda()  # asks the driver first: without one, TensorRT may end the process
    key = plan.key(trt.__version__, gpu.name, gpu.capability)
    there = None if rebuild else _same(plan.output, key)
    if there:
        return Built(plan.output, there, True, time.perf_counter() - began)
    cache = Path(timing_cache or default_timing_cache(trt.__version__, gpu.name, gpu.capability))
    with gpu.active():
        data, layers = EngineBuild(plan, progress).run(cache)
    described = _describe(plan, key, gpu, data, layers)
    write_plan(plan.output, data, described)
    return Built(plan.output, described, False, time.perf_counter() - began)


def rebuild_engine(
    engine: str | Path, *, cuda: Cuda | None = None, progress: Callable[[Progress], None] | None = None
) -> Built:
    """Build a refused engine again: from the ONNX file beside it, with the options its sidecar tells.

    cuda: the GPU to build for; None takes the first.

    Raises ArtefactError where either is missing, else what `build_engine` raises.
    """
    engine = Path(engine)
    before = read_sidecar(engine)
    plan = plan_build(engine.with_name(before.onnx), engine, BuildOptions.from_flags(before.flags))
    return build_engine(plan, cuda=cuda, rebuild=True, progress=progress)


def _same(engine: Path, key: str) -> Plan | None:
    """The engine's sidecar, where it was built of the same and is whole."""
    try:
        there, _ = read_plan(engine)
    except ArtefactError:
        return None
    return there if there.key == key else None


def _describe(plan: BuildPlan, key: str, gpu: Cuda, data: bytes, layers: dict[str, Any]) -> Plan:
    return Plan(
        sha256=hashlib.sha256(data).hexdigest(),
        onnx=plan.onnx.name,
        onnx_sha256=plan.onnx_sha256,
        tensorrt=trt.__version__,
        gpu=gpu.name,
        capability=gpu.capability,
        hardware=plan.options.hardware,
        version_compatible=plan.options.version_compatible,
        stripped=plan.options.strip,
        flags=plan.options.flags(),
        key=key,
        profile={
            name: [list(s) for s in (shapes.smallest, shapes.typical, shapes.largest)]
            for name, shapes in plan.profile.items()
        },
        layers=layers,
        student=plan.student,
    )
