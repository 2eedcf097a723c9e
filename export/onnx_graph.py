"""From a PyTorch network to one clean ONNX graph: opset 17, `ai.onnx` operators only, fixed shapes.

PyTorch's exporter writes opset 18. Importers of TensorRT 8.5 to 9.0 misread that opset's reductions, so the
graph is taken back to 17, operator by operator, and refused where the two opsets differ in a way not known
here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxscript import opset18
from torch import Tensor, nn

from wholebody.export.students import roi_align, rpn  # noqa: F401  their operators must exist before they are named

__all__ = ["IR_VERSION", "OPSET", "to_onnx"]

OPSET = 17
BATCH = "batch"  # the name of an open first axis
IR_VERSION = 8  # the one that came with opset 17; older runtimes refuse newer ones

op: Any = opset18  # its own annotations allow tensors only, not what makes them


def to_onnx(
    network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, open_batch: bool = False
) -> ModelProto:
    """Trace `network(*inputs.values())` into a checked, simplified model whose tensors bear these names.

    The shapes of `inputs` are those of the graph; with `open_batch` the first axis of every input and output
    is of any size, and the inputs must be of two or more. Raises ValueError where the graph cannot be
    expressed in opset 17, or has another axis that is not fixed.
    """
    axes = {0: torch.export.Dim(BATCH)} if open_batch else {}
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network, tuple(inputs.values()), input_names=list(inputs), output_names=list(outputs),
            dynamo=True, opset_version=18, custom_translation_table=_TRANSLATIONS, verbose=False,
            dynamic_shapes=tuple(axes for _ in inputs),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    _lower(model)
    model = _simplified(model)
    onnx.checker.check_model(model, full_check=True)
    _require_shapes(model, open_batch)
    return model


def _roi_align(features: Any, boxes: Any, bins: int, samples: int, scale: float) -> Any:
    """`wholebody::roi_align` is ONNX RoiAlign without the half-pixel shift; every region is of picture 0."""
    picture = op.Expand(op.Constant(value_ints=[0]), op.Shape(boxes, start=0, end=1))
    return op.RoiAlign(
        features, boxes, picture, coordinate_transformation_mode="output_half_pixel", mode="avg",
        output_height=bins, output_width=bins, sampling_ratio=samples, spatial_scale=scale,
    )  # fmt: skip


def _suppress(boxes: Any, scores: Any, threshold: float, count: int) -> Any:
    """`wholebody::suppress` is NonMaxSuppression, filled up with -1 and cut: its only fixed shape."""
    zero, length = op.Constant(value_ints=[0]), op.Constant(value_ints=[count])
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, zero),
        op.Unsqueeze(scores, op.Constant(value_ints=[0, 1])),
        length,
        op.Constant(value_floats=[threshold]),
        op.Constant(value_floats=[0.0]),
    )
    # Two axes until the reshape: it then changes the rank, so that no optimizer takes it for a no-op and
    # drops it.
    found = op.Gather(selected, op.Constant(value_ints=[2]), axis=1)  # (M, 1)
    filler = op.Constant(value=numpy_helper.from_array(np.full((count, 1), -1)))
    filled = op.Concat(found, filler, axis=0)
    index = op.Reshape(op.Slice(filled, zero, length, zero), length)
    return op.Max(index, zero), op.GreaterOrEqual(index, zero)


_TRANSLATIONS: dict[Callable[..., Any], Any] = {
    torch.ops.wholebody.roi_align.default: _roi_align,
    torch.ops.wholebody.suppress.default: _suppress,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch 2.13 warns of its own pytrees, and its exporter of an absent torchvision, not needed here."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _lower(model: ModelProto) -> None:
    """Opset 18 to 17, in place."""
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"{node.op_type} of domain '{node.domain}' has no place in an ai.onnx graph")
        if _changed(node):
            _LOWERING.get(node.op_type, _refuse)(node, constants)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = IR_VERSION


def _changed(node: NodeProto) -> bool:
    """Whether opset 18 gave this operator a new version."""
    return bool(onnx.defs.get_schema(node.op_type, OPSET + 1).since_version > OPSET)


def _refuse(node: NodeProto, constants: Mapping[str, TensorProto]) -> None:
    raise ValueError(f"{node.op_type} ({node.name}) is new in opset {OPSET + 1}; no way back is known")


def _lower_reduction(node: NodeProto, constants: Mapping[str, TensorProto]) -> None:
    """Opset 18 made the axes an input; before, they were an attribute."""
    if len(node.input) == 2:
        axes = numpy_helper.to_array(constants[node.input.pop()])
        node.attribute.append(helper.make_attribute("axes", axes.tolist()))
    _drop_attribute(node, "noop_with_empty_axes")


def _lower_split(node: NodeProto, constants: Mapping[str, TensorProto]) -> None:
    """Opset 18 added the number of parts, which the outputs tell as well where no lengths are given."""
    _drop_attribute(node, "num_outputs")


_REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")
_LOWERING = {**dict.fromkeys(_REDUCTIONS, _lower_reduction), "Split": _lower_split}


def _simplified(model: ModelProto) -> ModelProto:
    """Constants folded, duplicates and stack traces dropped, the shape of every tensor written down."""
    simplified: Any = onnxslim.slim(model)
    assert isinstance(simplified, ModelProto)
    constants = {t.name: t for t in simplified.graph.initializer}
    for node in simplified.graph.node:
        if node.op_type == "Reshape" and 0 not in numpy_helper.to_array(constants[node.input[1]]):
            _drop_attribute(
                node, "allowzero"
            )  # says nothing without a zero, and old importers do not know it
    return simplified


def _drop_attribute(node: NodeProto, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _require_shapes(model: ModelProto, open_batch: bool) -> None:
    """Every axis has a size, but for the first one of an open batch, which has its name."""
    loose = []
    for value in (*model.graph.input, *model.graph.output):
        axes = list(value.type.tensor_type.shape.dim)
        if open_batch and axes and axes[0].dim_param == BATCH:
            axes.pop(0)
        if not all(axis.HasField("dim_value") for axis in axes):
            loose.append(value.name)
    if loose:
        raise ValueError(f"no fixed shape for {', '.join(loose)}")
