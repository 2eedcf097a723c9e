"""Everything in which TensorRT 8.5, 8.6, 10 and 11 differ for us; all else calls what they have in common.

A feature is there or not by name, for enums were renumbered and releases between these were not looked at.
`trt` is the imported module. The tests hold this table to the names that were recorded from four releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from wholebody.runtime.errors import BackendError

__all__ = [
    "FEATURES",
    "OLDEST",
    "Feature",
    "contexts_share_profiles",
    "create_shared_context",
    "device_memory",
    "has",
    "may_run",
    "network_flags",
    "precision_flags",
    "release",
    "require",
    "share_profiles",
    "use_own_tactics",
]

OLDEST = (8, 5)
OWN_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")  # no cuBLAS, no cuDNN
NO_LIBRARY_TACTICS = "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"  # of 8.5 and 8.6
PROFILE_SHARING = "PROFILE_SHARING_0806"


@dataclass(frozen=True)
class Feature:
    """The class or enum and its attribute that a feature goes by, and the releases that have it."""

    owner: str
    name: str
    releases: str


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        # creating a network
        "explicit batch": Feature("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "8.5 to 10"),
        "strong types": Feature("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", "9 and newer"),
        # weak types, where a builder is told which precisions it may use
        "fp16": Feature("BuilderFlag", "FP16", "8.5 to 10"),
        "int8": Feature("BuilderFlag", "INT8", "8.5 to 10"),
        "precision of a layer": Feature("BuilderFlag", "OBEY_PRECISION_CONSTRAINTS", "8.5 to 10"),
        "dynamic range": Feature("ITensor", "set_dynamic_range", "8.5 to 10"),
        # options of a build
        "optimization level": Feature("IBuilderConfig", "builder_optimization_level", "8.6 and newer"),
        "hardware ampere+": Feature("HardwareCompatibilityLevel", "AMPERE_PLUS", "8.6 and newer"),
        "hardware same-capability": Feature(
            "HardwareCompatibilityLevel", "SAME_COMPUTE_CAPABILITY", "later releases of 10 and newer"
        ),
        "version-compatible": Feature("BuilderFlag", "VERSION_COMPATIBLE", "8.6 and newer"),
        "stripped": Feature("BuilderFlag", "STRIP_PLAN", "10 and newer"),
        "progress": Feature("IBuilderConfig", "progress_monitor", "10 and newer"),
        "library tactics off": Feature("PreviewFeature", NO_LIBRARY_TACTICS, "8.5 and 8.6"),
        "profile sharing": Feature("PreviewFeature", PROFILE_SHARING, "8.6 to 10"),
        # reading a parser's errors
        "named nodes": Feature("ParserError", "node_name", "10 and newer"),
        # running
        "code in a plan": Feature("Runtime", "engine_host_code_allowed", "8.6 and newer"),
        "memory v2": Feature("ICudaEngine", "device_memory_size_v2", "later releases of 10 and newer"),
        "bare context": Feature("ICudaEngine", "create_execution_context_without_device_memory", "8.5 to 10"),
        "set memory": Feature("IExecutionContext", "set_device_memory", "later releases of 10 and newer"),
        "refit from onnx": Feature("OnnxParserRefitter", "refit_from_bytes", "10 and newer"),
    }
)


def has(trt: Any, feature: str) -> bool:
    """Whether this TensorRT has a feature of the table."""
    known = FEATURES[feature]
    return hasattr(getattr(trt, known.owner, None), known.name)


def require(trt: Any, feature: str) -> None:
    """Raises BackendError where this TensorRT lacks it."""
    if not has(trt, feature):
        raise BackendError(
            f"TensorRT {trt.__version__} has no option '{feature}'; TensorRT {FEATURES[feature].releases} "
            "has: leave it out, or install another TensorRT"
        )


def release(version: str) -> tuple[int, ...]:
    """(10, 16, 1, 11) of "10.16.1.11": numbers, for as texts 10 comes before 8."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:4])


# --- building -----------------------------------------------------------------------------------------------


def network_flags(trt: Any, *, typed: bool) -> int:
    """For `create_network`. typed: the types in the graph are kept, where a release can be told so."""
    flags = trt.NetworkDefinitionCreationFlag
    bits = 0
    if has(trt, "explicit batch"):
        bits |= 1 << int(flags.EXPLICIT_BATCH)
    if typed and has(trt, "strong types") and has(trt, "fp16"):  # from 11 on there is nothing else to ask for
        bits |= 1 << int(flags.STRONGLY_TYPED)
    return bits


def precision_flags(trt: Any, *, half: bool, quantized: bool, typed: bool) -> list[Any]:
    """Flags that let a weakly typed network compute in the precisions of its graph, and in no others."""
    if not has(trt, "fp16") or (typed and has(trt, "strong types")) or not (half or quantized):
        return []
    flags = [trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS]
    if half:
        flags.append(trt.BuilderFlag.FP16)
    if quantized:
        flags.append(trt.BuilderFlag.INT8)
    return flags


def use_own_tactics(trt: Any, config: Any) -> None:
    """Choose among TensorRT's own kernels only, so that neither cuBLAS nor cuDNN need be there to run."""
    config.set_tactic_sources(sum(1 << int(getattr(trt.TacticSource, name)) for name in OWN_TACTICS))
    if has(trt, "library tactics off"):
        config.set_preview_feature(getattr(trt.PreviewFeature, NO_LIBRARY_TACTICS), True)


def share_profiles(trt: Any, config: Any) -> None:
    """Let several contexts of the engine run in one profile, where that must be asked for."""
    if has(trt, "profile sharing"):
        config.set_preview_feature(getattr(trt.PreviewFeature, PROFILE_SHARING), True)


# --- running ------------------------------------------------------------------------------------------------


def may_run(plan: str, here: str, *, version_compatible: bool) -> bool:
    """Whether a plan of one version of TensorRT runs in another.

    Only the very same, unless it was built to be version-compatible: then in the same or a newer release of
    its major version and in the next one (8 in 10, 10 in 11; never 8 in 11, and there is no 9 for us).
    """
    if plan == here:
        return True
    of, now = release(plan), release(here)
    following = {8: 10, 10: 11}.get(of[0])
    return version_compatible and ((of[0] == now[0] and of <= now) or now[0] == following)


def contexts_share_profiles(trt: Any) -> bool:
    """Whether an engine may have several contexts for one profile: not before 8.6."""
    return release(trt.__version__) >= (8, 6)


def device_memory(trt: Any, engine: Any) -> int:
    """Bytes of scratch memory that an execution context needs."""
    if has(trt, "memory v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def create_shared_context(trt: Any, engine: Any, memory: int, size: int) -> Any:
    """An execution context with `size` bytes at `memory` as its scratch memory, which others may share."""
    if has(trt, "bare context"):
        context = engine.create_execution_context_without_device_memory()
    else:
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if context is None:
        return None
    if has(trt, "set memory"):
        context.set_device_memory(memory, size)
    else:
        context.device_memory = memory
    return context
