"""Holding TensorRT 8 to the types of a graph, which it takes for wishes unless layer by layer told otherwise.

Its networks do not keep the types: a convolution between two halves is FP32 to them until the build decides.
So the types come from the ONNX file, by the names of its tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["hold_fp32"]

# What computes nothing, or whose type is what it is there for.
_FREE = ("CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE")


def hold_fp32(trt: Any, layers: Iterable[Any], types: Mapping[str, str]) -> None:
    """Keep in FP32 every layer of a node whose answer is FP32 in the ONNX file.

    layers: a network's, in order. types: of the ONNX file's tensors, by name.
    """
    for kind, layer in _with_types(layers, types):
        if kind == "fp32" and layer.type.name not in _FREE:
            _hold(trt, layer)


def _with_types(layers: Iterable[Any], types: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Each layer with the type of its node's answer.

    The parser makes several layers of some nodes (a norm is a square, a sum and a root, and the sum is what
    overflows in FP16), one after the other, and only the last answers by the name that the ONNX file has.
    """
    waiting: list[Any] = []
    for layer in layers:
        waiting.append(layer)
        names = [layer.get_output(i).name for i in range(layer.num_outputs)]
        kinds = [types[name] for name in names if name in types]
        if kinds:
            kind = "fp32" if "fp32" in kinds else kinds[0]
            yield from ((kind, one) for one in waiting)
            waiting.clear()


def _hold(trt: Any, layer: Any) -> None:
    floats = [
        i
        for i in range(layer.num_outputs)
        if layer.get_output(i).dtype == trt.DataType.FLOAT and not layer.get_output(i).is_shape_tensor
    ]
    if floats:
        layer.precision = trt.DataType.FLOAT
    for i in floats:
        layer.set_output_type(i, trt.DataType.FLOAT)
