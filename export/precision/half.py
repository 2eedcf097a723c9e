"""FP16 where it is safe: typed mixed-precision ONNX, its inputs and outputs as they were."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from onnx import ModelProto

from wholebody.runtime.spec import AnySpec

__all__ = ["always_fp32", "to_half"]


def to_half(model: ModelProto, *, keep: AbstractSet[str]) -> ModelProto:
    """The graph in FP16 but for the nodes named in `keep`; a node without a name goes by its first output's."""
    raise NotImplementedError


def always_fp32(model: ModelProto, spec: AnySpec) -> set[str]:
    """Names of the nodes that must stay in FP32 whatever a measurement says: decode, suppression, norms."""
    raise NotImplementedError
