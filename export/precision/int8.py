"""A graph in INT8, by onnxruntime's quantizer: Q/DQ pairs where TensorRT or onnxruntime fuse them."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from wholebody.export.precision.calibration import Samples
from wholebody.export.precision.companions import read_unrounded
from wholebody.export.precision.fused import fused_for_onnxruntime, write_out_short_terms
from wholebody.export.precision.graph import consumers
from wholebody.export.precision.histograms import Progress
from wholebody.export.precision.placement import Placement, Target, place
from wholebody.export.precision.prepare import prepared
from wholebody.export.precision.ranges import Method, Ranges, activation_ranges

__all__ = ["Method", "Target", "calibrate", "to_int8"]


def to_int8(
    model: ModelProto,
    samples: Samples,
    *,
    target: Target,
    method: Method = "entropy",
    exclude: Set[str] = frozenset(),
    ranges: Ranges | None = None,
    progress: Progress | None = None,
) -> ModelProto:
    """`model` with its convolutions and matrix products in INT8; the given model is not changed.

    target    "tensorrt": symmetric S8S8, weights per channel, float bias, residual branches rounded;
              "cpu": U8S8 for onnxruntime
    method    how ranges are made of the activations, see `activation_ranges`
    exclude   names of nodes that stay in floating point
    ranges    what `calibrate` found; None asks it
    progress  is told how many samples of how many are counted

    Ranges are kept by the contents of model and samples: another `exclude` costs no calibration. A node whose
    activations never change stays in floating point. Raises ArtefactError where the model is quantized
    already or its activations are no numbers.
    """
    model = prepared(model)
    if ranges is None:
        ranges = calibrate(model, samples, method, progress=progress)
    if target == "cpu":
        fused_for_onnxruntime(model)
        ranges = _as_joined(model, ranges)
    placement = place(model.graph, target, exclude | set(_constant(model, ranges)))
    if target == "cpu":
        write_out_short_terms(model, placement.nodes)
    made = _Quantizer(model, placement, ranges, target).quantized()
    read_unrounded(made, placement.nodes, target)
    return made


def calibrate(
    model: ModelProto, samples: Samples, method: Method, *, progress: Progress | None = None
) -> Ranges:
    """The ranges that `to_int8` takes, for either target; parameters and errors are those of `to_int8`."""
    model = prepared(model)
    rounded = place(model.graph, "tensorrt").activations | place(model.graph, "cpu").activations
    return activation_ranges(model, samples, rounded, method, progress=progress)


def _constant(model: ModelProto, ranges: Ranges) -> Iterator[str]:
    """The nodes around activations that are the same in every picture: there is no range to divide."""
    same = {tensor for tensor, (low, high) in ranges.items() if low == high}
    for node in model.graph.node:
        if same.intersection((*node.input, *node.output)):
            yield node.name


def _as_joined(model: ModelProto, ranges: Ranges) -> Ranges:
    """What is read by a join alone is rounded as its answer is, so that onnxruntime joins by copying."""
    readers, joined = consumers(model.graph), dict(ranges)
    for node in reversed(model.graph.node):
        if node.op_type == "Concat" and node.output[0] in joined:
            alone = [tensor for tensor in node.input if tensor in joined and len(readers[tensor]) == 1]
            joined.update(dict.fromkeys(alone, joined[node.output[0]]))
    return joined


class _Quantizer(QDQQuantizer):  # type: ignore[misc]  # onnxruntime has no types
    """onnxruntime's quantizer, kept to a placement."""

    def __init__(self, model: ModelProto, placement: Placement, ranges: Ranges, target: Target) -> None:
        symmetric = target == "tensorrt"
        options = {
            "ActivationSymmetric": symmetric,
            "WeightSymmetric": True,
            "QuantizeBias": not symmetric,
            "AddQDQPairToWeight": symmetric,
            "ForceQuantizeNoInputCheck": True,  # the placement has checked
        }
        super().__init__(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range={name: _data(*limits) for name, limits in ranges.items()},
            nodes_to_quantize=sorted(placement.nodes),
            nodes_to_exclude=[],
            op_types_to_quantize={n.op_type for n in model.graph.node if n.name in placement.nodes},
            extra_options=options,
        )
        self._rounded = placement.activations

    def quantized(self) -> ModelProto:
        made: ModelProto = self.quantize_model()
        self.model.topological_sort()
        onnx.checker.check_model(made)
        return made

    def quantize_activation_tensor(self, tensor_name: str) -> None:
        if tensor_name in self._rounded:
            super().quantize_activation_tensor(tensor_name)


def _data(low: float, high: float) -> Any:
    return TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
