"""What the calls of the recorded module do: ONNX Runtime computes, on memory that is given by its address.

`World` holds what tests set (errors to come) and what they look at (what was built, and how).

Two things are as a real GPU showed them: what a builder made crashes where it outlives it, and before 8.6, or
without profile sharing in 8.6, a second context for a profile fails when it runs.
"""

from __future__ import annotations

import ctypes
import json
import math
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

MAGIC = b"FAKEPLAN"
KINDS = {
    TensorProto.FLOAT: ("FLOAT", np.float32), TensorProto.FLOAT16: ("HALF", np.float16),
    TensorProto.INT32: ("INT32", np.int32), TensorProto.INT64: ("INT64", np.int64),
    TensorProto.BOOL: ("BOOL", np.bool_), TensorProto.UINT8: ("UINT8", np.uint8),
    TensorProto.INT8: ("INT8", np.int8),
}  # fmt: skip
LAYERS = {
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Constant": "CONSTANT",
    "Cast": "CAST",
}


def view(pointer: int, shape: Sequence[int], dtype: Any) -> Any:
    """The memory at an address."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    memory: Any = (ctypes.c_uint8 * max(1, size)).from_address(pointer)
    return np.frombuffer(memory, kind, math.prod(shape)).reshape(shape)


def _from_cpp(call: Any) -> Any:
    """Call without a Python frame above, so that errors hold none of the fake's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@dataclass
class World:
    """parser_errors: dicts of what an error tells; parser_raises: what parsing raises; refuses_profiles:
    every one; build_message: why a build fails; cores: DLA cores; host_tensors: outputs in host memory;
    broken: runs fail; contexts: how many were made; let_go: what a build made, in the order in which it was
    let go of."""

    cuda: Any = None
    parser_errors: list[dict[str, Any]] = field(default_factory=list)
    parser_raises: str | None = None
    refuses_profiles: bool = False
    build_message: str | None = None
    cores: int = 0
    on_dla: tuple[str, ...] = ()
    host_tensors: tuple[str, ...] = ()
    broken: bool = False
    no_builder: bool = False
    builds: list[SimpleNamespace] = field(default_factory=list)
    contexts: int = 0
    let_go: list[str] = field(default_factory=list)
    refitted: list[bytes] = field(default_factory=list)
    plugins: int = 0


def behaviours(world: World, module: ModuleType) -> tuple[dict[str, type], dict[str, Any]]:
    """Classes and functions for `recorded.make_module`; `module` is filled after they are made."""
    t: Any = module

    def fresh(kind: str, /, **values: Any) -> Any:
        made = object.__new__(getattr(t, kind))
        vars(made).update({f"_{key}": value for key, value in values.items()})
        return made

    def watched(made: Any) -> Any:
        """Tells the world when nobody holds it any more."""
        weakref.finalize(made, world.let_go.append, type(made).__name__)
        return made

    def tell(logger: Any, text: str) -> None:
        logger.log(t.ILogger.Severity.ERROR, text)

    class ILogger:
        def log(self, severity: Any, msg: str) -> None:
            raise AssertionError("the logger must say what it does with messages")

    class Builder:
        def __init__(self, logger: Any) -> None:
            if world.no_builder:
                tell(logger, "CUDA initialization failure with error: 100")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            watched(self)
            vars(self).update(_logger=logger, _num_DLA_cores=world.cores)

        def create_network(self, flags: int) -> Any:
            known = t.NetworkDefinitionCreationFlag
            bits = {m.name for m in known if flags & 1 << int(m)}
            assert flags == sum(1 << int(known[name]) for name in bits), "unknown bits"
            if "EXPLICIT_BATCH" in known.__members__ and "STRONGLY_TYPED" not in known.__members__:
                assert "EXPLICIT_BATCH" in bits, "TensorRT 8 parses ONNX only with an explicit batch"
            return watched(fresh("INetworkDefinition", bits=bits, num_inputs=0, num_layers=0))

        def create_builder_config(self) -> Any:
            tf32 = {t.BuilderFlag.TF32}
            return watched(
                fresh("IBuilderConfig", set_flags=tf32, pools={}, profiles=[], cache=None, previews={})
            )

        def create_optimization_profile(self) -> Any:
            return watched(fresh("IOptimizationProfile", shapes={}))

        def build_serialized_network(self, network: Any, config: Any, *rest: Any) -> Any:
            monitor = vars(config).get("_progress_monitor")
            world.builds.append(_kept(network, config))
            logger = vars(self)["_logger"]
            if monitor is not None:
                _from_cpp(lambda: monitor.phase_start("building", None, 2))
                for step in range(2):
                    if not _from_cpp(lambda step=step: monitor.step_complete("building", step)):
                        tell(logger, "the build was stopped")
                        return None
                _from_cpp(lambda: monitor.phase_finish("building"))
            if world.build_message:
                tell(logger, world.build_message)
                return None
            cache = vars(config)["_cache"]
            if cache is not None:
                vars(cache)["_lines"].add(b"tactic of " + vars(network)["_model"].graph.name.encode())
            return fresh("IHostMemory", data=_plan(network, config))

    class IHostMemory:
        def __bytes__(self) -> bytes:
            data: bytes = vars(self)["_data"]
            return data

    class IBuilderConfig:
        def set_flag(self, flag: Any) -> None:
            vars(self)["_set_flags"].add(flag)

        def clear_flag(self, flag: Any) -> None:
            vars(self)["_set_flags"].discard(flag)

        def set_tactic_sources(self, tactic_sources: int) -> bool:
            vars(self)["_tactics"] = {m.name for m in t.TacticSource if tactic_sources & 1 << int(m)}
            return True

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            vars(self)["_previews"][feature.name] = enable

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            vars(self)["_pools"][pool.name] = pool_size

        def add_optimization_profile(self, profile: Any) -> int:
            if world.refuses_profiles:
                return -1
            vars(self)["_profiles"].append(profile)
            return len(vars(self)["_profiles"]) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            if serialized_timing_cache.startswith(b"garbage"):
                return None
            return watched(fresh("ITimingCache", lines=set(serialized_timing_cache.split(b"\n")) - {b""}))

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            vars(self)["_cache"] = cache
            return True

        def get_timing_cache(self) -> Any:
            return vars(self)["_cache"]

        def can_run_on_DLA(self, layer: Any) -> bool:
            return layer.name in world.on_dla

    class ITimingCache:
        def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
            vars(self)["_lines"] |= vars(input_cache)["_lines"]
            return True

        def serialize(self) -> Any:
            return fresh("IHostMemory", data=b"\n".join(sorted(vars(self)["_lines"])))

    class IOptimizationProfile:
        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            vars(self)["_shapes"][input] = [list(min), list(opt), list(max)]

    class INetworkDefinition:
        def get_input(self, index: int) -> Any:
            return vars(self)["_inputs"][index]

        def get_layer(self, index: int) -> Any:
            return vars(self)["_layers"][index]

    class ILayer:
        def get_output(self, index: int) -> Any:
            return vars(self)["_outputs"][index]

        def set_output_type(self, index: int, dtype: Any) -> None:
            vars(self)["_set_types"] = {**vars(self).get("_set_types", {}), index: dtype}

    class ITensor:
        def set_dynamic_range(self, min: float, max: float) -> bool:
            vars(self)["_range"] = (min, max)
            return True

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            watched(self)
            vars(self).update(_network=network, _num_errors=len(world.parser_errors))

        def parse(self, model: bytes, path: str) -> bool:
            if world.parser_raises:
                raise RuntimeError(world.parser_raises)
            if world.parser_errors:
                return False
            _fill(vars(self)["_network"], model)
            return True

        def get_error(self, index: int) -> Any:
            return fresh("ParserError", **world.parser_errors[index])

    class ParserError:
        def code(self) -> Any:
            return t.ErrorCode[vars(self)["_code"]]

        def desc(self) -> str:
            return str(vars(self)["_desc"])

        def node(self) -> int:
            return int(vars(self)["_node"])

        def node_name(self) -> str:
            return str(vars(self)["_node_name"])

        def node_operator(self) -> str:
            return str(vars(self)["_node_operator"])

    class Runtime:
        def __init__(self, logger: Any) -> None:
            vars(self)["_logger"] = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            if not serialized_engine.startswith(MAGIC):
                tell(vars(self)["_logger"], "Magic tag does not match")
                return None
            size = int.from_bytes(serialized_engine[8:12], "little")
            header = json.loads(serialized_engine[12 : 12 + size])
            model = serialized_engine[12 + size :]
            logger = vars(self)["_logger"]
            return fresh(
                "ICudaEngine", header=header, model=model, num_io_tensors=len(header["tensors"]),
                num_layers=header["layers"], device_memory_size=1000, device_memory_size_v2=1000,
                engine_logger=logger, live=weakref.WeakSet(),
            )  # fmt: skip

    class ICudaEngine:
        def _tensor(self, name: str) -> dict[str, Any]:
            found: dict[str, Any] = vars(self)["_header"]["tensors"][name]
            return found

        def get_tensor_name(self, index: int) -> str:
            return list(vars(self)["_header"]["tensors"])[index]

        def get_tensor_mode(self, name: str) -> Any:
            return t.TensorIOMode[self._tensor(name)["mode"]]

        def get_tensor_dtype(self, name: str) -> Any:
            return t.DataType[self._tensor(name)["dtype"]]

        def get_tensor_shape(self, name: str) -> list[int]:
            return [-1 if isinstance(side, str) else side for side in self._tensor(name)["shape"]]

        def get_tensor_location(self, name: str) -> Any:
            return t.TensorLocation.HOST if name in world.host_tensors else t.TensorLocation.DEVICE

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
            shape = self.get_tensor_shape(name)
            return vars(self)["_header"]["profile"].get(name, [shape] * 3)

        def create_engine_inspector(self) -> Any:
            return fresh("EngineInspector")

        def create_execution_context_without_device_memory(self) -> Any:
            return _context(self)

        def create_execution_context(self, strategy: Any) -> Any:
            assert strategy == t.ExecutionContextAllocationStrategy.USER_MANAGED
            return _context(self)

    class EngineInspector:
        def get_engine_information(self, format: Any) -> str:
            assert format == t.LayerInformationFormat.JSON
            outputs = [{"Name": "y", "Format/Datatype": "Row major linear FP32"}]
            return json.dumps(
                {"Layers": [{"Name": "conv", "Outputs": outputs}, {"Name": "void", "Outputs": []}]}
            )

    class IExecutionContext:
        def set_device_memory(self, memory: int, size: int) -> None:
            assert size >= 1000
            vars(self)["_device_memory"] = memory

        def set_input_shape(self, name: str, shape: Any) -> bool:
            vars(self)["_shapes"][name] = list(shape)
            return True

        def get_tensor_shape(self, name: str) -> list[int]:
            tensors = vars(self)["_engine"]._tensor(name), vars(self)["_shapes"]
            known = _sizes(vars(self)["_engine"], tensors[1])
            return [known.get(side, -1) if isinstance(side, str) else side for side in tensors[0]["shape"]]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            assert memory > 0
            vars(self)["_addresses"][name] = memory
            return True

        def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
            vars(self)["_allocators"][name] = output_allocator
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            return _execute(self, stream_handle)

    class Refitter:
        def __init__(self, engine: Any, logger: Any) -> None:
            pass

        def refit_cuda_engine(self) -> bool:
            return bool(world.refitted)

    class OnnxParserRefitter:
        def __init__(self, refitter: Any, logger: Any) -> None:
            pass

        def refit_from_bytes(self, model: bytes, path: str) -> bool:
            world.refitted.append(model)
            return True

    def _kept(network: Any, config: Any) -> SimpleNamespace:
        """What tests look at once a build has let go of everything."""
        own = {key: value for key, value in vars(config).items() if key != "_cache"}
        own["_profiles"] = [SimpleNamespace(**vars(profile)) for profile in own["_profiles"]]
        return SimpleNamespace(
            network=SimpleNamespace(**vars(network)), config=SimpleNamespace(**own),
            bits=vars(network)["_bits"],
        )  # fmt: skip

    def _kind(number: Any) -> str:
        """TensorRT 8 makes INT32 of INT64."""
        name = KINDS[number][0]
        return name if name in t.DataType.__members__ else "INT32"

    def _fill(network: Any, data: bytes) -> None:
        model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
        values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
        kinds: Any = {v.name: _kind(v.type.tensor_type.elem_type) for v in values}

        def tensor(name: str, kept: bool = True) -> Any:
            kind = kinds.get(name, "FLOAT")
            dtype = t.DataType["FLOAT" if kind == "HALF" and not kept else kind]
            return fresh("ITensor", name=name, dtype=dtype, is_shape_tensor=False)

        def layer(node: Any) -> Any:
            kind = t.LayerType.__members__.get(LAYERS.get(node.op_type, "CONVOLUTION"), t.LayerType.IDENTITY)
            keeps = node.op_type == "Cast" or not t.__version__.startswith("8")
            outputs = [tensor(name, keeps) for name in node.output]
            return fresh("ILayer", name=node.name, type=kind, outputs=outputs, num_outputs=len(outputs))

        vars(network).update(
            _model=model, _data=data, _inputs=[tensor(v.name) for v in model.graph.input],
            _layers=[layer(n) for n in model.graph.node], _num_inputs=len(model.graph.input),
            _num_layers=len(model.graph.node),
        )  # fmt: skip

    def _plan(network: Any, config: Any) -> bytes:
        graph = vars(network)["_model"].graph
        modes = [("INPUT", v) for v in graph.input] + [("OUTPUT", v) for v in graph.output]
        profiles = vars(config)["_profiles"]
        shapes = {v.name: _shape(v) for _, v in modes}
        assert profiles or not any(
            isinstance(s, str) for _, v in modes[: len(graph.input)] for s in _shape(v)
        )
        header = {
            "layers": len(graph.node),
            "shared": not t.__version__.startswith("8")
            or vars(config)["_previews"].get("PROFILE_SHARING_0806", False),
            "profile": vars(profiles[0])["_shapes"] if profiles else {},
            "tensors": {
                v.name: {
                    "mode": mode, "shape": shapes[v.name], "dtype": _kind(v.type.tensor_type.elem_type)
                }
                for mode, v in modes
            },
        }  # fmt: skip
        text = json.dumps(header).encode()
        return MAGIC + len(text).to_bytes(4, "little") + text + vars(network)["_data"]

    def _shape(value: Any) -> list[Any]:
        return [
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim
        ]

    def _context(engine: Any) -> Any:
        session = ort.InferenceSession(vars(engine)["_model"], providers=["CPUExecutionProvider"])
        made = fresh(
            "IExecutionContext", engine=engine, session=session, shapes={}, addresses={}, allocators={}
        )
        live = vars(engine)["_live"]
        vars(made)["_profile"] = -1 if live and not vars(engine)["_header"]["shared"] else 0
        live.add(made)
        world.contexts += 1
        return made

    def _sizes(engine: Any, shapes: dict[str, list[int]]) -> dict[str, int]:
        known = {}
        for name, sides in shapes.items():
            for label, side in zip(engine._tensor(name)["shape"], sides, strict=True):
                if isinstance(label, str):
                    known[label] = side
        return known

    def _execute(context: Any, stream_handle: int) -> bool:
        state, cuda = vars(context), world.cuda
        engine = state["_engine"]
        logger = vars(engine)["_engine_logger"]
        assert stream_handle == cuda.stream.handle
        assert state["_device_memory"], "the context has no scratch memory"
        if state["_profile"] < 0:
            tell(logger, "Internal Error (Assertion mOptimizationProfile >= 0 failed. )")
            return False
        if world.broken:
            tell(logger, "an illegal memory access was encountered")
            return False
        names = list(vars(engine)["_header"]["tensors"])
        inputs = [n for n in names if engine.get_tensor_mode(n) == t.TensorIOMode.INPUT]
        outputs = [n for n in names if n not in inputs]
        addresses, shapes = dict(state["_addresses"]), {n: list(s) for n, s in state["_shapes"].items()}
        assert set(addresses) >= {*inputs, *(n for n in outputs if n not in state["_allocators"])}

        def run() -> dict[str, Any]:
            feeds = {n: view(addresses[n], shapes[n], _dtype(engine._tensor(n)["dtype"])) for n in inputs}
            answers = zip(outputs, state["_session"].run(outputs, feeds), strict=True)
            return {n: a.astype(_dtype(engine._tensor(n)["dtype"])) for n, a in answers}

        def work() -> None:
            for name, array in run().items():
                if name in addresses:
                    view(addresses[name], array.shape, array.dtype)[...] = array

        if not state["_allocators"]:
            cuda.submit(work)
            return True
        if cuda.capturing is not None:
            tell(logger, "operation not permitted when stream is capturing")
            return False
        cuda.synchronize()  # sizes are not known before
        for name, array in run().items():
            allocator = state["_allocators"].get(name)
            if allocator is None:
                view(addresses[name], array.shape, array.dtype)[...] = array
                continue
            if t.__version__.startswith("8"):
                address = allocator.reallocate_output(name, 0, max(1, array.nbytes), 256)
            else:
                address = allocator.reallocate_output_async(name, 0, max(1, array.nbytes), 256, stream_handle)
            if not address:
                tell(logger, "out of memory")
                return False
            allocator.notify_shape(name, list(array.shape))
            view(address, array.shape, array.dtype)[...] = array
        return True

    def _dtype(kind: str) -> Any:
        return next(dtype for name, dtype in KINDS.values() if name == kind)

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        world.plugins += 1
        return True

    classes = {k: v for k, v in locals().items() if isinstance(v, type)}
    return classes, {"init_libnvinfer_plugins": init_libnvinfer_plugins}
