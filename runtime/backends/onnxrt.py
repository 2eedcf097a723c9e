"""ONNX Runtime: the embedded default on any CPU, and a GPU where its build has one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.cpu import cores
from wholebody.runtime.errors import BackendError

__all__ = ["OnnxRuntime"]

log = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
MOST_THREADS = 1024  # all of them are started at once, and spin
# It quantizes weights that a student keeps in floating point, per tensor, where their neighbours are in INT8.
HARMFUL = ["WeightBiasQuantization"]
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxRuntime:
    """An ONNX file in an ONNX Runtime session.

    providers  execution providers in order of preference, all of which must be there; None takes CUDA where
               it starts, else the CPU, and `fallback` then says what was passed over
    threads    threads inside one operator; None takes the physical cores this process may use

    Safe to call from several threads at once: the session holds no state between calls, and every answer is
    its own. Raises BackendError for a provider that is not there, a file that ONNX Runtime cannot load, or
    threads outside 1 to 1024.
    """

    def __init__(
        self, path: str | Path, *, providers: Sequence[str] | None = None, threads: int | None = None
    ) -> None:
        self.fallback: str | None = None
        wanted = _automatic() if providers is None else _checked(providers)
        self._session = _session(path, wanted, threads)
        self.provider: str = self._session.get_providers()[0]
        if self.provider != wanted[0]:
            self._fell_back(wanted[0], explicit=providers is not None)
        self.name = f"onnxruntime:{self.provider}"
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def _fell_back(self, wanted: str, *, explicit: bool) -> None:
        message = f"{wanted} could not start here (its libraries or device are missing)"
        if explicit:
            raise BackendError(f"{message}: run `wholebody doctor`, or ask for backend 'auto'")
        self.fallback = f"{message}, so {self.provider} runs"
        log.warning(self.fallback)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """One array per input, one per output; raises BackendError where they do not fit the network."""
        names = (spec.name for spec in self.inputs)
        try:
            answer = self._session.run(None, dict(zip(names, inputs, strict=True)))
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise BackendError(f"{self.name} failed: {_one_line(error)}") from error
        return tuple(cast("list[Array]", answer))

    def __repr__(self) -> str:
        return f"OnnxRuntime({self.name!r})"


def _automatic() -> list[str]:
    return [CUDA, CPU] if CUDA in ort.get_available_providers() else [CPU]


def _checked(providers: Sequence[str]) -> list[str]:
    available = ort.get_available_providers()
    missing = [provider for provider in providers if provider not in available]
    if missing or not providers:
        raise BackendError(
            f"this onnxruntime has no {', '.join(missing) or 'such provider'}, only {', '.join(available)}: "
            "for an NVIDIA GPU install onnxruntime-gpu in its place"
        )
    return list(providers)


def _session(path: str | Path, providers: list[str], threads: int | None) -> ort.InferenceSession:
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise BackendError(
            f"threads is {threads}; it must be 1 to {MOST_THREADS}, or None for one per physical core"
        )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    counted = cores() if sys.platform == "linux" else 0  # elsewhere ONNX Runtime counts physical cores itself
    options.intra_op_num_threads = counted if threads is None else threads
    # Spin within a run, where it saves wake-ups, but never between frames, which would keep every core busy.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # nothing but the end: warnings and errors are ours to give, in one line
    try:
        session = ort.InferenceSession(
            os.fspath(path), options, providers=providers, disabled_optimizers=HARMFUL
        )
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise BackendError(f"onnxruntime cannot load {path}: {_one_line(error)}") from error
    session.disable_fallback()  # a failing provider is an error of that call, not a silent change of provider
    return session


def _spec(node: ort.NodeArg) -> TensorSpec:
    if node.type not in _DTYPES:
        raise BackendError(f"{node.name} is a {node.type}; allowed are {', '.join(_DTYPES)}")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
