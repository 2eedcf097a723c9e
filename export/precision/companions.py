"""The cheap nodes between layers go along with them: into INT8 where the layers do, and not where they stay.

A quantizer told to leave some layers alone still rounds the sums and joins behind the others. One layer in
INT8 would then round the residual stream through the rest of its stage, and that drift be taken for its own.
"""

from __future__ import annotations

from collections.abc import Set

from onnx import ModelProto

from wholebody.export.precision.flow import ACTIVATIONS
from wholebody.export.precision.graph import name_of
from wholebody.export.precision.placement import CHEAP, Target

__all__ = ["left_alone"]

ROUNDED_ANSWERS = ("Conv", "ConvTranspose")
CARRIED = ACTIVATIONS | {"Mul", "Sigmoid"}  # an activation of what a convolution answers
ON_THE_WAY = CHEAP | ACTIVATIONS | {"ReduceMean"}


def left_alone(model: ModelProto, layers: Set[str], int8: Set[str], target: Target) -> set[str]:
    """Names of the nodes, besides layers, that stay in floating point where only `int8` of `layers` do not.

    On a CPU a node is in INT8 if all that it takes is. TensorRT fuses a sum with the convolution before it,
    so that it takes the precision of that one.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    integer, left = set[str](), set[str]()
    for node in model.graph.node:
        name = name_of(node)
        if name in layers:
            integer.update(node.output if name in int8 and node.op_type in ROUNDED_ANSWERS else ())
            continue
        given = {tensor for tensor in node.input if tensor and tensor not in constants}
        reached = given & integer
        if node.op_type not in ON_THE_WAY or not reached or (target == "cpu" and reached != given):
            left.add(name)
        elif target == "cpu" or node.op_type in CARRIED:
            integer.update(node.output)
    return left
