"""What a student of reduced precision answers for: its measured drift from the FP32 one, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from onnx import ModelProto, TensorProto

from wholebody.export.precision.calibration import Samples
from wholebody.export.precision.drift import Drift, PrecisionBudget, measure_drift
from wholebody.export.precision.graph import (
    HEAVY,
    element_types,
    is_quantized,
    name_of,
    producers,
    with_types,
)
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.spec import AnySpec

__all__ = ["Data", "PrecisionCertificate", "certify", "precision_of_layers", "target_of"]

KINDS = ("int8", "fp16", "fp32")


@dataclass(frozen=True)
class Data:
    """What was measured on: the hash of the network's inputs, how many, and of how many pictures."""

    sha256: str
    inputs: int
    pictures: int


@dataclass(frozen=True)
class PrecisionCertificate:
    """The measured drift of a student of reduced precision, and whether it is within budget.

    reference  what it was held against: "source" and "sha256" of a file, "runtime"
    student    the runtime it was measured in
    data       of the pictures, none of which it was calibrated on
    layers     names of the convolutions and matrix products in "int8", "fp16" and "fp32"
    """

    reference: Mapping[str, Any]
    student: str
    data: Data
    drift: Drift
    layers: Mapping[str, Sequence[str]]
    budget: PrecisionBudget

    @property
    def passed(self) -> bool:
        """Whether nothing is over budget."""
        return not self.failures()

    def failures(self) -> list[str]:
        """What is over budget, in words; empty where the student passes."""
        return self.drift.failures(self.budget)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null where a number is NaN."""
        measured = self.drift.to_dict()
        return {
            "pass": self.passed,
            "reference": dict(self.reference),
            "student": self.student,
            "data": {"sha256": self.data.sha256, "inputs": self.data.inputs, "pictures": self.data.pictures},
            "budget": {"oks": self.budget.oks, "px": self.budget.px, "mm": self.budget.mm},
            "people": measured["people"],
            "parts": measured["parts"],
            "layers": {kind: list(names) for kind, names in self.layers.items()},
        }

    def table(self) -> str:
        """A few lines of text: the drift of each part, the layers in each precision, then the verdict."""
        counts = ", ".join(f"{len(names)} in {kind.upper()}" for kind, names in self.layers.items() if names)
        failures = [f"over budget: {failure}" for failure in self.failures()]
        return "\n".join([self.drift.table(), f"layers: {counts}", *(failures or ["within budget"])])


def certify(
    model: ModelProto,
    reference: Backend,
    origin: Mapping[str, Any],
    spec: AnySpec,
    samples: Samples,
    budget: PrecisionBudget | None = None,
) -> PrecisionCertificate:
    """Measure a graph against the `reference`, which came from the file `origin` ("source", "sha256").

    Raises SourceError where the reference sees nobody in the samples, BackendError where a graph fails.
    """
    candidate = Simulated(model, fused=target_of(model) == "cpu")
    drift = measure_drift(reference, candidate, spec, samples)
    return PrecisionCertificate(
        reference={**origin, "runtime": reference.name},
        student=candidate.name,
        data=Data(samples.sha256, len(samples), samples.pictures),
        drift=drift,
        layers=precision_of_layers(model),
        budget=budget or PrecisionBudget(),
    )


def precision_of_layers(model: ModelProto) -> dict[str, list[str]]:
    """Names of the convolutions and matrix products that compute in each precision."""
    graph = with_types(model).graph
    types, made = element_types(graph), producers(graph)
    layers: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for node in graph.node:
        if node.op_type in HEAVY:
            half = types.get(node.output[0]) == TensorProto.FLOAT16
            kind = "int8" if is_quantized(node, made) else "fp16" if half else "fp32"
            layers[kind].append(name_of(node))
    return layers


def target_of(model: ModelProto) -> Literal["tensorrt", "cpu"]:
    """Whom the graph was quantized for: onnxruntime's CPU alone has activations in unsigned integers."""
    types = element_types(model.graph)
    zeros = [
        node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2
    ]
    return "cpu" if any(types.get(zero) == TensorProto.UINT8 for zero in zeros) else "tensorrt"
