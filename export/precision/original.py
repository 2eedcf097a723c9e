"""The FP32 student that one of reduced precision is made of: exported, or published by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from wholebody.export.precision.prepare import prepared
from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.published import describe_detector, describe_student, sidecar_says
from wholebody.runtime.published.detector import Kind
from wholebody.runtime.spec import AnySpec, DetectorSpec, TopDownSpec

__all__ = ["Original", "open_original"]


@dataclass(frozen=True, eq=False)
class Original:
    """An FP32 student.

    spec     what it is
    model    its graph, prepared, with inputs and outputs named as in `spec`
    backend  the file itself in ONNX Runtime on the CPU
    """

    path: Path
    sha256: str
    spec: AnySpec
    model: ModelProto
    backend: OnnxRuntime

    @property
    def origin(self) -> dict[str, str]:
        """For a certificate: the file and its hash."""
        return {"source": self.path.name, "sha256": self.sha256}


def open_original(path: Path, kind: Kind | None, options: Mapping[str, Any]) -> Original:
    """Read an FP32 student, checked.

    kind     of a published detector: "rtmdet" or "yolox"; None for an exported or a published student, or
             where x.json says it
    options  what else a published file does not tell, for `describe_detector` or `describe_student`

    Raises ArtefactError where it is not whole, not FP32 or nothing that can be described.
    """
    sha256 = read_onnx(path).sha256
    model = onnx.load(path)
    try:
        model = prepared(model)
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error}") from None
    spec = _described(path, kind, options)
    _name_as_described(model, spec)
    backend = OnnxRuntime(path, providers=["CPUExecutionProvider"])
    return Original(path, sha256, spec, model, backend)


def _described(path: Path, kind: Kind | None, options: Mapping[str, Any]) -> AnySpec:
    if not is_exported(path):
        if kind or sidecar_says(path, "kind"):
            return describe_detector(path, kind=kind, **options)
        return describe_student(path, **options)
    if kind or options:
        said = ", ".join([*(["kind"] if kind else []), *options])
        raise ArtefactError(f"{path} describes itself: leave out {said}")
    spec = read_artefact(path).spec
    if spec.precision != "fp32":
        raise ArtefactError(
            f"{path} is in {spec.precision} already: quantize the FP32 student it was made of"
        )
    return spec


def _name_as_described(model: ModelProto, spec: AnySpec) -> None:
    """In place: a published network's input and outputs get the names that a description goes by."""
    if isinstance(spec, TopDownSpec | DetectorSpec):
        _rename(model, {model.graph.input[0].name: next(iter(spec.inputs))})
    if isinstance(spec, DetectorSpec):
        given = sorted(model.graph.output, key=lambda v: (-len(_dims(v)), -np.prod(_dims(v), dtype=np.int64)))
        _rename(model, dict(zip((value.name for value in given), spec.outputs, strict=False)))


def _dims(value: ValueInfoProto) -> list[int]:
    return [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            for i, name in enumerate(tensors):
                tensors[i] = names.get(name, name)
