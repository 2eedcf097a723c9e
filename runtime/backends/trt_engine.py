"""An engine's file opened by TensorRT, or refused; and TensorRT's messages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorrt as trt  # pyright: ignore[reportMissingImports]

from wholebody.runtime.backends.trt_versions import has, require
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.plan import Plan, read_plan

__all__ = ["Log", "OpenEngine", "open_engine"]

log = logging.getLogger(__name__)


class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
    """TensorRT's messages in Python's log, and its last errors: its calls tell only that they failed."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        """Called by TensorRT, from any thread."""
        text = " ".join(msg.split())
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.errors = [*self.errors[-19:], text]
            log.debug("TensorRT: %s", text)  # what comes of it is raised by whoever called
        elif severity == trt.ILogger.Severity.WARNING:
            log.info("TensorRT: %s", text)

    def last(self) -> str:
        """What went wrong last, in one line."""
        return self.errors[-1][:300] if self.errors else "TensorRT does not say why"


@dataclass(frozen=True, eq=False)
class OpenEngine:
    """An engine, what its sidecar says, and the runtime that made it and must outlive it."""

    plan: Plan
    engine: Any
    runtime: Any


def open_engine(path: Path, cuda: Cuda, messages: Log) -> OpenEngine:
    """Read an engine for the GPU of `cuda`, in its turn.

    Raises ArtefactError for an engine that is damaged or not for this GPU or this TensorRT.
    """
    plan, data = read_plan(path)
    reason = plan.refusal(tensorrt=trt.__version__, gpu=cuda.name, capability=cuda.capability)
    if reason:
        raise ArtefactError(f"{path}: {reason}: `{plan.rebuild(path)}`")
    trt.init_libnvinfer_plugins(messages, "")
    runtime = trt.Runtime(messages)
    if plan.version_compatible and has(trt, "code in a plan"):
        runtime.engine_host_code_allowed = True  # the lean runtime that travels in such a plan
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise ArtefactError(f"{path}: TensorRT cannot read it ({messages.last()}): `{plan.rebuild(path)}`")
    if plan.stripped:
        _refit(engine, path.with_name(plan.onnx), messages)
    return OpenEngine(plan, engine, runtime)


def _refit(engine: Any, onnx: Path, messages: Log) -> None:
    """Put the weights back into an engine that was built without them."""
    require(trt, "refit from onnx")
    if not onnx.is_file():
        raise ArtefactError(
            f"the engine was built without weights, and {onnx} is not beside it: copy it there"
        )
    refitter = trt.Refitter(engine, messages)
    parser = trt.OnnxParserRefitter(refitter, messages)
    if not (parser.refit_from_bytes(onnx.read_bytes(), str(onnx)) and refitter.refit_cuda_engine()):
        raise ArtefactError(f"the weights of {onnx} do not fit the engine: {messages.last()}")
