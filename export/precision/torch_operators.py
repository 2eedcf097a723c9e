"""ONNX operators in PyTorch, differentiable: those that lead from a network's input to its last layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from onnx import NodeProto, helper
from torch import Tensor
from torch.nn import functional as F

from wholebody.export.precision.graph import name_of
from wholebody.export.students.roi_align import pool
from wholebody.runtime.errors import ArtefactError

__all__ = ["Compute", "compute"]

Compute = Callable[..., Any]  # tensors, in the order of the node's inputs, to one tensor or a tuple of them
Attributes = Mapping[str, Any]


def compute(node: NodeProto) -> Compute:
    """What a node does to its inputs; one that is left out comes as None.

    Raises ArtefactError for an operator that is not known here, or for a way of it that is not.
    """
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        return PLAIN[node.op_type] if node.op_type in PLAIN else MADE[node.op_type](attributes)
    except KeyError as error:
        what = f" with {error.args[0]}" if node.op_type in MADE else ""
        raise ArtefactError(
            f"{node.op_type}{what} ({name_of(node)}) is not known to the recovery: quantize without --recover"
        ) from None


def _conv(a: Attributes) -> Compute:
    strides, dilations, groups = a.get("strides", 1), a.get("dilations", 1), a.get("group", 1)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x = _padded(x, a.get("pads", ()), 0.0)
        return F.conv2d(x, weight, bias, strides, 0, dilations, groups)

    return run


def _conv_transpose(a: Attributes) -> Compute:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    strides, more = a.get("strides", (1, 1)), a.get("output_padding", (0, 0))
    groups, dilations = a.get("group", 1), a.get("dilations", 1)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x = F.conv_transpose2d(x, weight, bias, strides, 0, more, groups, dilations)
        return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]

    return run


def _gemm(a: Attributes) -> Compute:
    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x, weight = (x.T if a.get("transA") else x), (weight.T if a.get("transB") else weight)
        product: Tensor = a.get("alpha", 1.0) * (x @ weight)
        return product if bias is None else torch.add(product, bias, alpha=a.get("beta", 1.0))

    return run


def _clip(a: Attributes) -> Compute:
    return lambda x, low=None, high=None: torch.clamp(x, low, high)


def _leaky(a: Attributes) -> Compute:
    return lambda x: F.leaky_relu(x, a.get("alpha", 0.01))


def _hard_sigmoid(a: Attributes) -> Compute:
    return lambda x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1)


def _quick_gelu(a: Attributes) -> Compute:
    return lambda x: x * torch.sigmoid(a.get("alpha", 1.702) * x)


def _softmax(a: Attributes) -> Compute:
    return lambda x: x.softmax(dim=a.get("axis", -1))


def _max_pool(a: Attributes) -> Compute:
    kernel, strides = a["kernel_shape"], a.get("strides", 1)
    _require(not a.get("ceil_mode"), "ceil_mode")
    return lambda x: F.max_pool2d(_padded(x, a.get("pads", ()), -torch.inf), kernel, strides)


def _average_pool(a: Attributes) -> Compute:
    kernel, strides = a["kernel_shape"], a.get("strides", 1)
    _require(not a.get("ceil_mode") and not any(a.get("pads", ())), "pads")
    return lambda x: F.avg_pool2d(x, kernel, strides)


def _reduce(function: Callable[..., Tensor]) -> Callable[[Attributes], Compute]:
    """Over the attribute's axes, as up to opset 17."""

    def make(a: Attributes) -> Compute:
        axes = a["axes"]
        return lambda x: function(x, dim=axes, keepdim=bool(a.get("keepdims", 1)))

    return make


def _concat(a: Attributes) -> Compute:
    return lambda *tensors: torch.cat(tensors, a["axis"])


def _transpose(a: Attributes) -> Compute:
    return lambda x: x.permute(a["perm"])


def _flatten(a: Attributes) -> Compute:
    _require(a.get("axis", 1) == 1, "axis")
    return lambda x: x.flatten(1)


def _split(a: Attributes) -> Compute:
    return lambda x, sizes: torch.split(x, sizes.tolist(), a.get("axis", 0))


def _resize(a: Attributes) -> Compute:
    """Whole times larger, each value repeated: as every neck that joins maps of two strides."""
    _require(a.get("mode", b"nearest") == b"nearest", "mode")

    def run(x: Tensor, region: Tensor | None, scales: Tensor | None, sizes: Tensor | None = None) -> Tensor:
        if scales is None:
            assert sizes is not None
            scales = sizes / torch.tensor(x.shape)
        rows, columns = (round(scale) for scale in scales.tolist()[2:])
        return x.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3)

    return run


def _roi_align(a: Attributes) -> Compute:
    """That of our students, for the one picture of a DOPE network."""
    _require(a.get("coordinate_transformation_mode") == b"output_half_pixel", "half pixels")
    bins, samples, scale = a["output_height"], a["sampling_ratio"], a.get("spatial_scale", 1.0)
    return lambda features, boxes, pictures: pool(features, boxes, bins, samples, scale)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())])


def _slice(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    along = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, step in zip(along, starts.tolist(), ends.tolist(), by, strict=True):
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _padded(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    if not any(pads):
        return x
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value)


def _require(met: bool, what: str) -> None:
    if not met:
        raise KeyError(what)


PLAIN: Mapping[str, Compute] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Pow": torch.pow,
    "Sqrt": torch.sqrt,
    "Erf": torch.erf,
    "MatMul": torch.matmul,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Identity": lambda x: x,
    "Expand": lambda x, shape: x * x.new_ones(shape.tolist()),  # both ways, as ONNX says
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": lambda x, axes: x.squeeze(axes.tolist()),
}
MADE: Mapping[str, Callable[[Attributes], Compute]] = {
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky,
    "MaxPool": _max_pool,
    "QuickGelu": _quick_gelu,
    "ReduceL2": _reduce(torch.linalg.vector_norm),
    "ReduceMean": _reduce(torch.mean),
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Softmax": _softmax,
    "Split": _split,
    "Transpose": _transpose,
}
