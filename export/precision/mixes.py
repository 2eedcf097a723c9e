"""Mixes of INT8, FP16 and FP32 layers in one student: their graphs, and what they cost."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnx import ModelProto

from wholebody.export.precision.calibration import Samples
from wholebody.export.precision.companions import left_alone, read_unrounded
from wholebody.export.precision.drift import Drift, Reference
from wholebody.export.precision.graph import is_quantized, name_of, producers
from wholebody.export.precision.half import to_half
from wholebody.export.precision.hazards import fp32_nodes
from wholebody.export.precision.int8 import Method, Target, calibrate, to_int8
from wholebody.export.precision.layers import Layer, layers_of
from wholebody.export.precision.ledger import Ledger
from wholebody.export.precision.poses import ask
from wholebody.export.precision.prepare import prepared
from wholebody.export.precision.ranges import Ranges
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.spec import AnySpec

__all__ = ["Mix", "Mixes"]

FORMAT = 5  # of what is kept in a ledger; another way to measure is another number
RUNS = 40


@dataclass(frozen=True)
class Mix:
    """The names of the layers in INT8 and in FP16; the others stay in FP32."""

    int8: frozenset[str] = frozenset()
    fp16: frozenset[str] = frozenset()

    @classmethod
    def of(cls, int8: Iterable[str] = (), fp16: Iterable[str] = ()) -> Mix:
        """A layer named for both is in INT8."""
        return cls(frozenset(int8), frozenset(fp16) - frozenset(int8))


class Mixes:
    """All mixes of one exported FP32 student.

    calibration  what INT8 takes its ranges from
    held_out     what drift is measured on: other pictures
    target       "tensorrt" or "cpu"; on the CPU an FP16 layer is no cheaper than an FP32 one
    ledger       keeps what was measured; None keeps it as long as this object

    A drift is that of the graph as its target computes it: with TensorRT's arithmetic every Q/DQ pair in
    floats, on the CPU onnxruntime's own integer kernels.
    """

    def __init__(
        self,
        model: ModelProto,
        spec: AnySpec,
        calibration: Samples,
        held_out: Samples,
        *,
        target: Target,
        method: Method = "entropy",
        ledger: Ledger | None = None,
    ) -> None:
        self.model = prepared(model)
        self.spec = spec
        self.calibration, self.held_out = calibration, held_out
        self.target: Target = target
        self.method: Method = method
        self.ledger = Ledger() if ledger is None else ledger
        self.layers: tuple[Layer, ...] = layers_of(self.model, next(iter(held_out)))
        self._names = frozenset(layer.name for layer in self.layers)
        self._sha256 = hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    @cached_property
    def to_quantize(self) -> tuple[Layer, ...]:
        """The layers that the quantizer can take, in the order of the graph."""
        if (known := self.ledger.get(question := self._about("layers"))) is None:
            known = sorted(_quantized(self.build(Mix(int8=self._names))))
            self.ledger.put(question, known)
        return tuple(layer for layer in self.layers if layer.name in known)

    @cached_property
    def kept(self) -> frozenset[str]:
        """The nodes, layers and others, that are no good in FP16, by rule or as the calibration shows."""
        if (known := self.ledger.get(question := self._about("kept"))) is None:
            known = sorted(fp32_nodes(self.model, self.spec, self.calibration))
            self.ledger.put(question, known)
        return frozenset(known)

    def build(self, mix: Mix) -> ModelProto:
        """The graph of a mix, for the target."""
        model = self.model
        if mix.int8:
            exclude = self._names - mix.int8 | left_alone(model, self._names, mix.int8, self.target)
            model = to_int8(model, self.calibration, target=self.target, exclude=exclude, ranges=self._ranges)
            read_unrounded(model, {name_of(node) for node in self.model.graph.node} - exclude, self.target)
        if mix.fp16:
            model = to_half(model, keep=self.kept | (self._names - mix.fp16))
        return model

    def drift(self, mix: Mix) -> Drift:
        """How far the mix's answers lie from the FP32 student's, on the held-out pictures."""
        question = self._about("drift", int8=sorted(mix.int8), fp16=sorted(mix.fp16))
        if (known := self.ledger.get(question)) is None:
            known = self._reference.drift(self._backend(self.build(mix))).to_dict()
            self.ledger.put(question, known)
        return Drift.from_dict(known)

    def latencies_ms(self, mixes: Iterable[Mix]) -> dict[Mix, float]:
        """The network's time on this CPU, in onnxruntime: the best of runs that take turns, for what others
        take of the machine is no mix's.
        """
        backends = {mix: Simulated(self.build(mix), fused=True) for mix in mixes}
        best = dict.fromkeys(backends, math.inf)
        inputs = next(iter(self.held_out))
        for _ in range(RUNS):
            for mix, backend in backends.items():
                ask(backend, inputs)  # warms its caches, which the one before has taken
                began = time.perf_counter()
                ask(backend, inputs)
                best[mix] = min(best[mix], (time.perf_counter() - began) * 1e3)
        return best

    def share(self, names: Iterable[str]) -> float:
        """The share of the student's multiply-accumulates that these layers have."""
        wanted = set(names)
        total = sum(layer.macs for layer in self.layers)
        return sum(layer.macs for layer in self.layers if layer.name in wanted) / max(total, 1)

    @cached_property
    def _ranges(self) -> Ranges:
        return calibrate(self.model, self.calibration, self.method)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self._backend(self.model), self.spec, self.held_out)

    def _backend(self, model: ModelProto) -> Simulated:
        return Simulated(model, fused=self.target == "cpu")

    def _about(self, what: str, **entries: Any) -> Mapping[str, Any]:
        return {
            "format": FORMAT,
            "what": what,
            "model": self._sha256,
            "spec": {k: v for k, v in self.spec.to_dict().items() if k not in ("certificate", "versions")},
            "calibration": self.calibration.sha256,
            "held_out": self.held_out.sha256,
            "target": self.target,
            "method": self.method,
            **entries,
        }


def _quantized(model: ModelProto) -> set[str]:
    made = producers(model.graph)
    return {name_of(node) for node in model.graph.node if is_quantized(node, made)}
