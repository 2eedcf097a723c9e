"""Some layers in INT8, and nothing rounded but for their sake.

A quantizer told to leave some layers alone still rounds the sums and joins behind the others, and what it
rounds for one reader it gives to all. One layer in INT8 would then round the residual stream that it reads
and the one that it writes to, and the drift of the whole stage would be taken for its own.
"""

from __future__ import annotations

from collections.abc import Set

from onnx import ModelProto

from wholebody.export.precision.flow import ACTIVATIONS
from wholebody.export.precision.graph import name_of, producers
from wholebody.export.precision.placement import CHEAP, Target

__all__ = ["left_alone", "read_unrounded"]

ROUNDED_ANSWERS = ("Conv", "ConvTranspose")
CARRIED = ACTIVATIONS | {"Mul", "Sigmoid"}  # an activation of what a convolution answers
PAIR = ("QuantizeLinear", "DequantizeLinear")
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


def read_unrounded(model: ModelProto, int8: Set[str], target: Target) -> None:
    """In place: nodes not named in `int8` read the numbers from before a Q/DQ pair, where there are any.

    On a CPU there are none behind a node in INT8, which answers rounded ones.
    """
    made = producers(model.graph)
    for node in model.graph.node:
        if name_of(node) in int8 or node.op_type in PAIR:
            continue
        for i, tensor in enumerate(node.input):
            if tensor not in made or made[tensor].op_type != "DequantizeLinear":
                continue
            quantize = made.get(made[tensor].input[0])
            if quantize is None:  # a weight
                continue
            above = made.get(quantize.input[0])
            if target == "tensorrt" or above is None or name_of(above) not in int8:
                node.input[i] = quantize.input[0]
