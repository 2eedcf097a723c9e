"""A student's graph in INT8, by onnxruntime's quantizer: Q/DQ pairs where TensorRT or onnxruntime fuse them."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

from onnx import ModelProto

from wholebody.export.precision.calibration import Samples

__all__ = ["Method", "Target", "to_int8"]

Target = Literal["tensorrt", "cpu"]
Method = Literal["entropy", "minmax", "percentile"]


def to_int8(
    model: ModelProto,
    samples: Samples,
    *,
    target: Target,
    method: Method = "entropy",
    exclude: Set[str] = frozenset(),
) -> ModelProto:
    """`model` with its convolutions and matrix products in INT8; the given model is not changed.

    target   "tensorrt": symmetric S8S8, weights per channel, float bias, residual branches quantized;
             "cpu": U8S8 for onnxruntime
    method   how ranges are made of the activations: "minmax", "entropy" or "percentile"
    exclude  names of nodes that stay in floating point

    The ranges are kept by the content of model and samples, so that another `exclude` costs no calibration.
    Raises ArtefactError where the model is quantized already, or where activations are not numbers or
    the same for every picture.
    """
    raise NotImplementedError
