"""A graph that is not yet a file, computed on the CPU as its types say or as fast as it goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.backends.onnxrt import HARMFUL
from wholebody.runtime.cpu import cores
from wholebody.runtime.errors import BackendError

__all__ = ["Simulated"]

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


class Simulated:
    """ONNX Runtime's CPU over a model in memory.

    fused    False computes every Q/DQ pair in floats, as a TensorRT engine's INT8 does up to the order of its
             sums; True fuses them into the CPU's own integer kernels, which is what onnxruntime runs
    threads  None takes the physical cores

    Raises BackendError where onnxruntime cannot load or run the model.
    """

    def __init__(self, model: ModelProto, *, fused: bool = False, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if not fused:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = ort.InferenceSession(
                model.SerializeToString(), options,
                providers=["CPUExecutionProvider"], disabled_optimizers=HARMFUL,
            )  # fmt: skip
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise BackendError(f"onnxruntime cannot load the graph: {_one_line(error)}") from error
        self.name = "onnxruntime:CPUExecutionProvider" if fused else "onnxruntime:CPU, Q/DQ in floats"
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        names = (spec.name for spec in self.inputs)
        try:
            answer: Any = self._session.run(None, dict(zip(names, inputs, strict=True)))
        except Exception as error:
            raise BackendError(f"onnxruntime cannot run the graph: {_one_line(error)}") from error
        return tuple(answer)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, np.dtype(TYPES.get(node.type, np.float32)))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
