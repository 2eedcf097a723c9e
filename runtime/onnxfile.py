"""What an ONNX file says about itself, without a library and without decoding its weights.

An ONNX file is a protobuf `ModelProto` (onnx.proto in the ONNX project). Only its inputs, outputs, the names
and types of its weights and the metadata left by its exporter are decoded. Nothing is executed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wholebody.runtime.errors import ArtefactError

__all__ = ["OnnxFile", "Shape", "describe", "node_at", "read_onnx", "tensor_types"]

Shape = tuple[int | None, ...]
LISTED = 6  # tensors named in a message before it counts the rest

# Field numbers in onnx.proto: of a model, a graph, a metadata entry, weights, then from a tensor down to a
# dimension.
_GRAPH, _METADATA = 7, 14
_NODE, _WEIGHT, _INPUT, _OUTPUT, _BETWEEN = 1, 5, 11, 12, 13
_NODE_OUTPUT, _NODE_NAME, _OPERATOR = 2, 3, 4
_KEY, _VALUE = 1, 2
_DATA_TYPE, _WEIGHT_NAME = 2, 8
_NAME, _TYPE, _TENSOR_TYPE, _ELEMENT, _SHAPE, _DIM, _DIM_VALUE = 1, 2, 1, 1, 2, 1, 1
_PRECISIONS = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16", 16: "bf16"}  # of the types that weights have


@dataclass(frozen=True)
class OnnxFile:
    """What the file says about itself.

    inputs, outputs  shapes by name, None where a size is open; weights that older files list are no inputs
    metadata         what the exporter left
    precision        "fp32", "fp16", "bf16" or "int8": what most bytes of its weights are
    sha256           of the file
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    metadata: Mapping[str, str]
    precision: str
    sha256: str

    def __str__(self) -> str:
        return f"inputs {describe(self.inputs)}; outputs {describe(self.outputs)}"


def describe(tensors: Mapping[str, Shape]) -> str:
    """`boxes (?x4), size (2)`: names and shapes for a message, the first few."""
    named = [f"{name} ({'x'.join(str(s or '?') for s in shape)})" for name, shape in tensors.items()]
    rest = [f"{len(named) - LISTED} more"] if len(named) > LISTED else []
    return ", ".join(named[:LISTED] + rest) or "none"


def read_onnx(path: Path) -> OnnxFile:
    """Read what the file says about itself.

    Raises ArtefactError where there is no such file, or it is not an ONNX file or only a part of one.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: no such file; check its name, or make a student with `wholebody export`"
        ) from None
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}); name an ONNX file") from None
    try:
        return _model(memoryview(data), hashlib.sha256(data).hexdigest())
    except ValueError:
        raise ArtefactError(
            f"{path} is not an ONNX file, or not the whole of one: copy or export it again"
        ) from None


def node_at(data: bytes, index: int) -> tuple[str, str] | None:
    """Name and operator of the node with this number in an ONNX file's bytes; None where there is none.

    A node without a name goes by that of its first output.
    """
    try:
        graphs = _messages(memoryview(data), _GRAPH)
        node = _messages(graphs[-1], _NODE)[index] if index >= 0 else None
        if node is None:
            return None
        outputs = _messages(node, _NODE_OUTPUT)
        name = _string(node, _NODE_NAME) or (bytes(outputs[0]).decode() if outputs else "")
        return name, _string(node, _OPERATOR)
    except (IndexError, ValueError):
        return None


def tensor_types(data: bytes) -> dict[str, str]:
    """ "fp32", "fp16", "bf16", "int8" or "other" of each tensor whose type an ONNX file's bytes tell."""
    try:
        (graph, *_) = _messages(memoryview(data), _GRAPH)
        values = [v for field in (_INPUT, _OUTPUT, _BETWEEN) for v in _messages(graph, field)]
        return {_string(v, _NAME): _PRECISIONS.get(_element(v), "other") for v in values}
    except ValueError:
        return {}


def _element(value: memoryview) -> int:
    tensors = [t for kind in _messages(value, _TYPE) for t in _messages(kind, _TENSOR_TYPE)]
    numbers = [n for tensor in tensors for field, n in _fields(tensor) if field == _ELEMENT]
    return numbers[-1] if numbers and isinstance(numbers[-1], int) else 0


def _model(data: memoryview, sha256: str) -> OnnxFile:
    graphs = _messages(data, _GRAPH)
    if not graphs:
        raise ValueError("no graph")
    entries = _messages(data, _METADATA)
    weights = _messages(graphs[-1], _WEIGHT)
    names = {_string(weight, _WEIGHT_NAME) for weight in weights}
    inputs = dict(_value(v) for v in _messages(graphs[-1], _INPUT))
    return OnnxFile(
        inputs={name: shape for name, shape in inputs.items() if name not in names},
        outputs=dict(_value(v) for v in _messages(graphs[-1], _OUTPUT)),
        metadata={_string(e, _KEY): _string(e, _VALUE) for e in entries},
        precision=_precision(weights),
        sha256=sha256,
    )


def _precision(weights: list[memoryview]) -> str:
    sizes = Counter[str]()
    for weight in weights:
        kinds = [value for number, value in _fields(weight) if number == _DATA_TYPE]
        precision = _PRECISIONS.get(kinds[-1]) if kinds and isinstance(kinds[-1], int) else None
        if precision is not None:
            sizes[precision] += len(weight)
    return max(sizes, key=sizes.__getitem__, default="fp32")


def _value(data: memoryview) -> tuple[str, Shape]:
    """Name and shape of one input or output."""
    shapes = [data]
    for number in (_TYPE, _TENSOR_TYPE, _SHAPE):
        shapes = [inner for outer in shapes for inner in _messages(outer, number)]
    return _string(data, _NAME), tuple(_dimension(d) for shape in shapes for d in _messages(shape, _DIM))


def _dimension(data: memoryview) -> int | None:
    sizes = [value for number, value in _fields(data) if number == _DIM_VALUE and isinstance(value, int)]
    return sizes[-1] if sizes else None


def _string(data: memoryview, number: int) -> str:
    return "".join(bytes(value).decode() for value in _messages(data, number))


def _messages(data: memoryview, number: int) -> list[memoryview]:
    return [value for n, value in _fields(data) if n == number and isinstance(value, memoryview)]


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every (field number, value) of a message; ValueError where it is not one or ends too early."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if number == 0 or at + size > len(data):
            raise ValueError("field 0, or a field longer than the file")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at this place, seven bits a byte, and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number that does not end")
