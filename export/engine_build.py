"""The build itself: an ONNX file parsed into a network, a configuration, and the engine they give."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import clear_frames
from typing import Any

import tensorrt as trt  # pyright: ignore[reportMissingImports]

from wholebody.export.build_errors import build_error, parser_error, parser_failure
from wholebody.export.build_plan import GIB, BuildPlan
from wholebody.export.build_progress import BuildProgress, Progress
from wholebody.export.precision.holding import hold_fp32
from wholebody.export.timing_cache import load_timing_cache, save_timing_cache
from wholebody.runtime.backends.trt_engine import Log
from wholebody.runtime.backends.trt_versions import (
    has,
    network_flags,
    precision_flags,
    require,
    share_profiles,
    use_own_tactics,
)
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.onnxfile import tensor_types

__all__ = ["EngineBuild"]

log = logging.getLogger(__name__)

Report = Callable[[Progress], None]

_PRECISION = re.compile(r"\b(FP\d+|BF16|U?INT\d+|BOOL)\b", re.IGNORECASE)
_LEVELS = {"ampere+": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}


class EngineBuild:
    """One build of one plan, on the current GPU.

    Raises BackendError where TensorRT cannot start.
    """

    def __init__(self, plan: BuildPlan, progress: Report | None) -> None:
        self.plan, self.options = plan, plan.options
        self.log = Log()
        self.typed = (
            plan.options.dla is None
        )  # a DLA is told its precisions by flags as long as there are any
        trt.init_libnvinfer_plugins(self.log, "")
        self.builder = self._builder()
        self.network = self.builder.create_network(network_flags(trt, typed=self.typed))
        self.config = self.builder.create_builder_config()
        self.monitor = _monitor(progress) if progress and has(trt, "progress") else None

    def _builder(self) -> Any:
        try:
            return trt.Builder(self.log)
        except TypeError:  # what the bindings make of a builder that could not be made
            raise BackendError(f"TensorRT cannot start: {self.log.last()}; see `wholebody doctor`") from None

    def run(self, cache: Path) -> tuple[bytes, dict[str, Any]]:
        """The serialized engine, and what is known of its layers.

        cache: the file of timings. Raises ArtefactError for an ONNX file that TensorRT cannot take,
        BackendError where an option or memory is missing.
        """
        try:
            return self._run(cache)
        except BaseException as error:
            _forget_variables(error)
            raise
        finally:  # in this order: TensorRT crashes where what a builder made outlives it
            del self.config, self.network, self.builder

    def _run(self, cache: Path) -> tuple[bytes, dict[str, Any]]:
        self._parse()
        self._configure()
        self._add_profile()
        report = self._use_dla() if self.options.dla is not None else {}
        load_timing_cache(self.config, cache)
        serialized = self.builder.build_serialized_network(self.network, self.config)
        if self.monitor is not None and self.monitor.stopped_by is not None:
            raise self.monitor.stopped_by
        if serialized is None:
            raise build_error(trt, self.plan.onnx, self.log.last())
        save_timing_cache(self.config, cache)
        data = bytes(serialized)
        return data, {**self._inspect(data), **report}

    def _parse(self) -> None:
        """Fill the network, and allow the precisions that it has."""
        data = self.plan.onnx.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.plan.onnx_sha256:
            raise ArtefactError(f"{self.plan.onnx} changed while it was being built: build it again")
        types = tensor_types(data)
        ranges: dict[str, float] = {}
        if self.options.dla is not None and self.plan.precision == "int8" and has(trt, "dynamic range"):
            from wholebody.export.dla import without_qdq  # needs onnx, which no other build does

            data, ranges = without_qdq(data)
        parser = trt.OnnxParser(self.network, self.log)
        try:
            parsed = parser.parse(data, str(self.plan.onnx))
        except RuntimeError as error:  # as where one of TensorRT's own libraries is missing
            raise parser_failure(trt, self.plan.onnx, str(error)) from None
        if not parsed:
            raise parser_error(trt, parser, self.plan.onnx, data)
        self._choose_precision(types, ranges)

    def _layers(self) -> Iterator[Any]:
        return (self.network.get_layer(i) for i in range(self.network.num_layers))

    def _tensors(self) -> Iterator[Any]:
        yield from (self.network.get_input(i) for i in range(self.network.num_inputs))
        for layer in self._layers():
            yield from (layer.get_output(i) for i in range(layer.num_outputs))

    def _choose_precision(self, types: dict[str, str], ranges: dict[str, float]) -> None:
        """Where the graph's types do not bind TensorRT, allow those that are there, and hold FP32 to FP32."""
        halves = any(tensor.dtype == trt.DataType.HALF for tensor in self._tensors())
        half = halves or "fp16" in types.values() or bool(ranges)  # a DLA does in FP16 what it cannot in INT8
        quantized = bool(ranges) or any(layer.type == trt.LayerType.QUANTIZE for layer in self._layers())
        flags = precision_flags(trt, half=half, quantized=quantized, typed=self.typed)
        for flag in flags:
            self.config.set_flag(flag)
        if flags and half and not ranges:
            hold_fp32(trt, self._layers(), types)
        for tensor in self._tensors():
            if tensor.name in ranges:
                tensor.set_dynamic_range(-ranges[tensor.name], ranges[tensor.name])

    def _configure(self) -> None:
        options, config = self.options, self.config
        use_own_tactics(trt, config)
        share_profiles(trt, config)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the sidecar tells precisions by layer
        if options.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace * GIB))
        if options.optimization_level is not None:
            require(trt, "optimization level")
            config.builder_optimization_level = options.optimization_level
        if options.hardware != "this":
            require(trt, f"hardware {options.hardware}")
            level = getattr(trt.HardwareCompatibilityLevel, _LEVELS[options.hardware])
            config.hardware_compatibility_level = level
        if options.version_compatible:
            require(trt, "version-compatible")
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if not options.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)  # on unless told: 10 bits where the graph says FP32
        if options.refit:
            config.set_flag(trt.BuilderFlag.REFIT)
        if options.strip:
            require(trt, "stripped")
            config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        if self.monitor:
            config.progress_monitor = self.monitor

    def _add_profile(self) -> None:
        if not self.plan.profile:
            return
        profile = self.builder.create_optimization_profile()
        for name, shapes in self.plan.profile.items():
            profile.set_shape(name, shapes.smallest, shapes.typical, shapes.largest)
        if self.config.add_optimization_profile(profile) < 0:
            raise build_error(trt, self.plan.onnx, f"profile refused: {self.log.last()}")

    def _use_dla(self) -> dict[str, Any]:
        """Put on the DLA what can run there; answers with the layers that cannot."""
        if self.options.dla is None or self.options.dla >= self.builder.num_DLA_cores:
            raise BackendError(
                f"DLA core {self.options.dla} is not there; this device has {self.builder.num_DLA_cores}: "
                "build it without --dla"
            )
        self.config.default_device_type = trt.DeviceType.DLA
        self.config.DLA_core = self.options.dla
        self.config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        back = [layer.name for layer in self._layers() if not self.config.can_run_on_DLA(layer)]
        log.warning("%d of %d layers run on the GPU instead of the DLA", len(back), self.network.num_layers)
        return {"not_on_dla": back}

    def _inspect(self, data: bytes) -> dict[str, Any]:
        """How many layers the engine has after fusion, and how many answer in each precision."""
        runtime = trt.Runtime(self.log)
        if self.options.version_compatible and has(trt, "code in a plan"):
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise build_error(trt, self.plan.onnx, f"the engine cannot be read back: {self.log.last()}")
        text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        return {"count": int(engine.num_layers), "precisions": _precisions(text)}


def _forget_variables(error: BaseException | None) -> None:
    """Let go of what was at hand where an error was raised, which would live as long as the error."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def _precisions(text: str) -> dict[str, int]:
    """Layers by the precision of their first output, as the engine inspector tells; {} where it does not.

    Where shapes are open it does not tell: "N/A due to dynamic shapes".
    """
    try:
        layers = json.loads(text, strict=False)["Layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    counts: dict[str, int] = {}
    for layer in layers:
        outputs = layer.get("Outputs") if isinstance(layer, dict) else None
        told = _PRECISION.search(str(outputs[0].get("Format/Datatype"))) if outputs else None
        kind = told[0] if told else "unknown" if outputs else "none"
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _monitor(report: Report) -> Any:
    """A TensorRT progress monitor over `BuildProgress`; whatever `report` raises ends the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # there from TensorRT 10 on
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._progress = BuildProgress(report)
            self.stopped_by: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(self._progress.phase_start, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(self._progress.step_complete, phase_name, step)
            return self.stopped_by is None

        def phase_finish(self, phase_name: str) -> None:
            self._tell(self._progress.phase_finish, phase_name)

        def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
            try:
                what(*arguments)
            except BaseException as error:  # Ctrl-C, too: no exception may cross C++
                self.stopped_by = error

    return Monitor()
