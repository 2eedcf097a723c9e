"""The builder over each release's recorded names: what it asks TensorRT for, and what it writes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wholebody.export.build_plan import BuildOptions, plan_build
from wholebody.export.timing_cache import default_timing_cache
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.plan import read_plan

TYPED = ("10", "11")  # releases that keep the types of the graph


def build(fake: Any, onnx_file: Path, *, rebuild: bool = False, progress: Any = None, **options: Any) -> Any:
    plan = plan_build(onnx_file, options=BuildOptions(**options))
    return fake.engine.build_engine(plan, cuda=fake.cuda, rebuild=rebuild, progress=progress)


def asked(fake: Any) -> Any:
    """The configuration of the last build."""
    return vars(fake.world.builds[-1].config)


def flags(fake: Any) -> set[str]:
    return {flag.name for flag in asked(fake)["_set_flags"]}


def test_what_is_asked_of_a_plain_build(fake: Any, conv: Path) -> None:
    built = build(fake, conv, batch=(1, 2, 4))
    config = asked(fake)
    assert config["_profiles"][0]._shapes == {"image": [[1, 3, 8, 8], [2, 3, 8, 8], [4, 3, 8, 8]]}
    assert config["_tactics"] == {"EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"}
    assert set(config["_previews"].values()) <= {True}
    assert set(config["_previews"]) == {
        "8.5": {"DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"},
        "8.6": {"DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", "PROFILE_SHARING_0806"},
        "10": {"PROFILE_SHARING_0806"}, "11": set(),
    }[fake.release]  # fmt: skip
    assert config["_profiling_verbosity"].name == "DETAILED"
    assert flags(fake) == set(), "FP32 is FP32: not even TF32"
    assert config["_pools"] == {}
    assert fake.world.plugins >= 1
    assert built.path == conv.with_suffix(".engine")
    assert fake.world.builds[-1].bits == {
        "8.5": {"EXPLICIT_BATCH"}, "8.6": {"EXPLICIT_BATCH"}, "11": set(),
        "10": {"EXPLICIT_BATCH", "STRONGLY_TYPED"},
    }[fake.release]  # fmt: skip


def test_the_sidecar_tells_what_decides(fake: Any, conv: Path) -> None:
    built = build(fake, conv)
    plan, data = read_plan(built.path)
    assert plan == built.plan
    assert data == built.path.read_bytes()
    assert (plan.onnx, plan.gpu, plan.capability) == ("conv.onnx", "Fake H200", (9, 0))
    assert plan.tensorrt == fake.trt.__version__
    assert plan.profile == {"image": [[1, 3, 8, 8], [4, 3, 8, 8], [16, 3, 8, 8]]}
    assert plan.layers == {"count": 2, "precisions": {"FP32": 1, "none": 1}}
    assert plan.student is None


def test_layers_by_precision(fake_of: Any) -> None:
    """As TensorRT 8.6 and 10 word it."""
    fake_of("10")
    from wholebody.export.engine_build import _precisions

    formats = [
        "Row major linear FP32", "Channel major INT8 format where channel % 32 == 0",
        "Two wide channel vectorized row major FP16 format", "N/A due to dynamic shapes",
    ]  # fmt: skip
    layers = [{"Outputs": [{"Format/Datatype": text}]} for text in formats]
    text = json.dumps({"Layers": [*layers, layers[0], {"Outputs": []}, "a layer's name only"]})
    assert _precisions(text) == {"FP32": 2, "INT8": 1, "FP16": 1, "unknown": 1, "none": 2}
    assert _precisions("not JSON") == _precisions("{}") == {}


def test_options(fake: Any, conv: Path) -> None:
    build(fake, conv, workspace=0.5, refit=True, tf32=True)
    assert asked(fake)["_pools"] == {"WORKSPACE": 1 << 29}
    assert flags(fake) == {"REFIT", "TF32"}


@pytest.mark.parametrize(
    ("options", "since"),
    [
        ({"optimization_level": 0}, "8.6"),
        ({"hardware": "ampere+"}, "8.6"),
        ({"hardware": "same-capability"}, "10"),
        ({"version_compatible": True}, "8.6"),
        ({"strip": True}, "10"),
    ],
)
def test_options_of_newer_releases(fake: Any, conv: Path, options: Any, since: str) -> None:
    releases = ["8.5", "8.6", "10", "11"]
    if releases.index(fake.release) < releases.index(since):
        with pytest.raises(BackendError, match=r"has no option .*: leave it out, or install another"):
            build(fake, conv, **options)
        return
    build(fake, conv, **options)
    config = asked(fake)
    if "optimization_level" in options:
        assert config["_builder_optimization_level"] == 0
    if "hardware" in options:
        level = {"ampere+": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}
        assert config["_hardware_compatibility_level"].name == level[options["hardware"]]
    assert flags(fake) == (
        ({"VERSION_COMPATIBLE"} if "version_compatible" in options else set())
        | ({"STRIP_PLAN"} if "strip" in options else set())
    )


def test_half_is_what_the_graph_says(fake: Any, tmp_path: Path, make_onnx: Any) -> None:
    """Before types bound TensorRT, FP16 had to be allowed, and layers in FP32 held to it."""
    build(fake, make_onnx.conv(tmp_path / "half.onnx", half=True))
    held = {layer.name: vars(layer).get("_precision") for layer in fake.world.builds[-1].network._layers}
    if fake.release in TYPED:
        assert flags(fake) == set()
        assert set(held.values()) == {None}
        return
    assert flags(fake) == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
    assert held["conv"] is None
    assert held["mean"] == fake.trt.DataType.FLOAT
    assert held["to half"] is None


def test_int8_is_what_the_graph_says(fake: Any, tmp_path: Path) -> None:
    build(fake, quantized(tmp_path / "int8.onnx"))
    assert flags(fake) == (set() if fake.release in TYPED else {"INT8", "OBEY_PRECISION_CONSTRAINTS"})


def test_the_same_build_is_recognised(fake: Any, conv: Path) -> None:
    first, second = build(fake, conv), build(fake, conv)
    assert (first.reused, second.reused) == (False, True)
    assert second.plan == first.plan
    assert len(fake.world.builds) == 1
    assert not build(fake, conv, rebuild=True).reused
    assert not build(fake, conv, batch=(1, 1, 2)).reused
    assert not build(fake, conv, batch=(1, 1, 2), workspace=1).reused
    fake.cuda.name = "Fake H100"
    assert not build(fake, conv, batch=(1, 1, 2), workspace=1).reused


def test_a_damaged_engine_is_built_again(fake: Any, conv: Path) -> None:
    path = build(fake, conv).path
    path.write_bytes(path.read_bytes()[:-1])
    assert not build(fake, conv).reused
    read_plan(path)


def test_a_changed_onnx_file_is_built_again(fake: Any, conv: Path, make_onnx: Any) -> None:
    path = build(fake, conv).path
    make_onnx.conv(conv, batch="number")
    with pytest.raises(
        ArtefactError, match=r"built from another conv.onnx than the one beside it.*--rebuild"
    ):
        read_plan(path)
    assert not build(fake, conv).reused


def test_a_build_that_fails_writes_nothing(fake: Any, conv: Path) -> None:
    fake.world.build_message = "Could not find any implementation for node conv."
    with pytest.raises(
        BackendError, match=r"conv.onnx: TensorRT .* cannot build it at conv.*raise --workspace"
    ):
        build(fake, conv)
    assert [path.name for path in conv.parent.iterdir() if path.is_file()] == ["conv.onnx"]
    fake.world.build_message = None
    build(fake, conv)


def test_out_of_memory(fake: Any, conv: Path) -> None:
    fake.world.build_message = (
        "Requested amount of GPU memory (9 bytes) could not be allocated: out of memory"
    )
    with pytest.raises(BackendError, match="free GPU memory, or lower --workspace"):
        build(fake, conv)


def test_a_builder_that_does_not_start(fake: Any, conv: Path) -> None:
    fake.world.no_builder = True
    with pytest.raises(BackendError, match=r"cannot start: CUDA initialization failure.*wholebody doctor"):
        build(fake, conv)


@pytest.mark.parametrize(
    ("code", "desc", "cure"),
    [
        ("UNSUPPORTED_NODE", "No importer registered for op: Cnov", "express it in operators"),
        ("INVALID_NODE", "Assertion failed: reshape of\n0 boxes", "fixed shape"),
        ("UNSUPPORTED_GRAPH", "opset 99 is not known", "export it with opset 17"),
        ("INTERNAL_ERROR", "???", "simplify it with onnxslim"),
    ],
)
def test_a_parser_error_is_a_sentence(fake: Any, conv: Path, code: str, desc: str, cure: str) -> None:
    error = {"code": code, "desc": desc, "node": 1, "node_name": "mean", "node_operator": "ReduceMean"}
    fake.world.parser_errors = [error, error]
    with pytest.raises(ArtefactError) as raised:
        build(fake, conv)
    message = str(raised.value)
    assert f"cannot take the ReduceMean 'mean': {desc.split()[0]}" in message
    assert "(and 1 more)" in message
    assert cure in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("message", "error", "cure"),
    [
        (
            "Unable to open library: libnvinfer_vc_plugin.so.8 due to libnvinfer_vc_plugin.so.8: cannot open "
            "shared object file: No such file or directory",
            BackendError,
            "link libnvinfer_vc_plugin.so.8 to libnvinfer_plugin.so.8 in their folder tensorrt_libs",
        ),
        ("a shape\nthat nobody knows", ArtefactError, "give every tensor a fixed shape"),
    ],
)
def test_a_parser_that_breaks_off(
    fake: Any, conv: Path, message: str, error: type[Exception], cure: str
) -> None:
    fake.world.parser_raises = message
    with pytest.raises(error, match=r"conv.onnx: TensorRT .* broke off parsing it: ") as raised:
        build(fake, conv)
    assert cure in str(raised.value)
    assert "\n" not in str(raised.value)


MADE = ["IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "ITimingCache", "OnnxParser"]


def fails_in_the_end(fake: Any, conv: Path) -> None:
    fake.world.build_message = "Could not find any implementation for node conv."


def fails_to_parse(fake: Any, conv: Path) -> None:
    error = {"code": "UNSUPPORTED_NODE", "desc": "?", "node": 0, "node_name": "", "node_operator": ""}
    fake.world.parser_errors = [error]


def breaks_off_parsing(fake: Any, conv: Path) -> None:
    fake.world.parser_raises = "Unable to open library: libx.so"


def has_a_timing_cache_that_cannot_be_read(fake: Any, conv: Path) -> None:
    default_timing_cache(fake.trt.__version__, fake.cuda.name, fake.cuda.capability).mkdir(parents=True)


def has_a_profile_that_is_refused(fake: Any, conv: Path) -> None:
    fake.world.refuses_profiles = True


@pytest.mark.parametrize(
    "failure",
    [
        None, fails_in_the_end, fails_to_parse, breaks_off_parsing, has_a_timing_cache_that_cannot_be_read,
        has_a_profile_that_is_refused,
    ],
)  # fmt: skip
def test_the_builder_goes_last(fake: Any, conv: Path, failure: Any) -> None:
    """TensorRT 8.6 crashes where something that a builder made outlives it, be it in an error's frames."""
    if failure is None:
        build(fake, conv)
        assert sorted(set(fake.world.let_go)) == sorted([*MADE, "Builder"])
    else:
        failure(fake, conv)
        with pytest.raises((ArtefactError, BackendError)) as raised:
            build(fake, conv)
        assert raised.value.__traceback__ is not None, "the error is held, and what it holds"
    assert fake.world.let_go[-1] == "Builder"
    assert fake.world.let_go.index("IBuilderConfig") < fake.world.let_go.index("INetworkDefinition")
    assert fake.world.let_go.count("OnnxParser") == 1


def test_progress_and_interruption(fake: Any, conv: Path) -> None:
    seen: list[Any] = []
    build(fake, conv, progress=seen.append)
    if fake.release not in TYPED:
        assert not seen
        return
    assert [round(p.done, 1) for p in seen] == [0.0, 0.5, 1.0, 1.0]
    assert {p.phase for p in seen} == {"building"}

    def interrupt(progress: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(fake, conv, rebuild=True, progress=interrupt)
    assert fake.world.let_go[-1] == "Builder", fake.world.let_go


def test_a_dla_and_what_it_cannot_do(fake: Any, tmp_path: Path, make_onnx: Any, caplog: Any) -> None:
    half = make_onnx.conv(tmp_path / "half.onnx", half=True)
    with pytest.raises(BackendError, match="DLA core 0 is not there; this device has 0"):
        build(fake, half, dla=0)
    fake.world.cores, fake.world.on_dla = 2, ("conv",)
    with caplog.at_level(logging.WARNING):
        built = build(fake, half, dla=1)
    assert (asked(fake)["_DLA_core"], asked(fake)["_default_device_type"].name) == (1, "DLA")
    assert flags(fake) >= {"GPU_FALLBACK"}
    assert ("FP16" in flags(fake)) is (fake.release != "11")
    assert "STRONGLY_TYPED" not in fake.world.builds[-1].bits
    assert built.plan.layers["not_on_dla"] == ["to half", "to float", "mean"]
    assert "3 of 4 layers run on the GPU instead of the DLA" in caplog.text


def test_an_old_dla_gets_ranges_instead_of_pairs(fake: Any, tmp_path: Path) -> None:
    fake.world.cores = 1
    build(fake, quantized(tmp_path / "int8.onnx"), dla=0)
    layers = [layer.name for layer in fake.world.builds[-1].network._layers]
    ranges = {t.name: vars(t)["_range"] for t in fake.world.builds[-1].network._inputs if "_range" in vars(t)}
    if fake.release == "11":
        assert len(layers) == 4
        return
    assert layers == ["conv"]
    assert ranges == {"x": (-127 * 0.5, 127 * 0.5)}
    assert flags(fake) >= {"INT8", "FP16"}


def quantized(path: Path) -> Path:
    """A convolution of INT8, with Q/DQ pairs."""
    weights = np.random.default_rng(0).integers(-127, 127, (4, 3, 3, 3)).astype(np.int8)
    arrays = {
        "step": np.float32(0.5), "zero": np.int8(0), "w8": weights, "steps": np.full(4, 0.25, np.float32),
        "zeros": np.zeros(4, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x8"], "quantize"),
        helper.make_node("DequantizeLinear", ["x8", "step", "zero"], ["xq"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "steps", "zeros"], ["w"], "weights", axis=0),
        helper.make_node("Conv", ["xq", "w"], ["y"], "conv", pads=[1] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_student_is_described_by_its_engine(fake: Any, constant_student: Path, tmp_path: Path) -> None:
    copy = tmp_path / "constant.onnx"
    copy.write_bytes(constant_student.read_bytes())
    copy.with_suffix(".json").write_text(constant_student.with_suffix(".json").read_text())
    plan = build(fake, copy).plan
    assert plan.student is not None
    assert plan.student["name"] == "constant"
    assert plan.profile == {}
    assert json.loads((tmp_path / "constant.engine.json").read_text())["student"]["skeleton"] == "dope139"


def test_a_whole_pipeline_runs_on_an_engine(fake: Any, constant_student: Path, tmp_path: Path) -> None:
    from wholebody.runtime.backends.onnxrt import OnnxRuntime
    from wholebody.runtime.pipelines.dope import DopePose
    from wholebody.runtime.spec import StudentSpec

    plan = plan_build(constant_student, tmp_path / "constant.engine")
    built = fake.engine.build_engine(plan, cuda=fake.cuda)
    spec = StudentSpec.from_dict(plan.student)
    picture = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    engine = DopePose(fake.runner.TensorRT(built.path, cuda=fake.cuda), spec)
    other = DopePose(OnnxRuntime(constant_student, providers=["CPUExecutionProvider"]), spec)
    got, want = engine(picture), other(picture)
    assert len(got) == 1
    np.testing.assert_array_equal(got.keypoints, want.keypoints)
    np.testing.assert_array_equal(got.scores, want.scores)
    assert got.metadata["backend"] == f"tensorrt:{fake.trt.__version__}"


def test_layers_that_the_parser_adds_are_held_with_their_node(fake_of: Any) -> None:
    """A norm is three layers, of which the last has the name in the ONNX file."""
    from wholebody.export.precision.holding import hold_fp32

    trt = fake_of("8.6").trt
    names = ["squared?", "summed?", "norm", "cast?", "halved", "index?", "picked"]
    kinds = [trt.LayerType.ELEMENTWISE] * 3 + [trt.LayerType.CAST] * 2 + [trt.LayerType.GATHER] * 2
    dtypes = [trt.DataType.FLOAT] * 5 + [trt.DataType.INT32, trt.DataType.FLOAT]
    layers = [_layer(trt, *each) for each in zip(names, kinds, dtypes, strict=True)]
    hold_fp32(trt, layers, {"norm": "fp32", "halved": "fp16", "picked": "fp32"})
    held = [vars(layer).get("_precision") == trt.DataType.FLOAT for layer in layers]
    assert held == [True, True, True, False, False, False, True]
    assert vars(layers[2])["_set_types"] == {0: trt.DataType.FLOAT}


def _layer(trt: Any, name: str, kind: Any, dtype: Any) -> Any:
    tensor = object.__new__(trt.ITensor)
    vars(tensor).update(_name=name, _dtype=dtype, _is_shape_tensor=False)
    layer = object.__new__(trt.ILayer)
    vars(layer).update(_name=name, _type=kind, _outputs=[tensor], _num_outputs=1)
    return layer


def test_a_refused_engine_is_built_again(fake: Any, conv: Path, monkeypatch: Any) -> None:
    path = build(fake, conv, batch=(1, 2, 4), workspace=0.5, refit=True).path
    monkeypatch.setattr(fake.engine, "Cuda", lambda: fake.cuda)
    fake.cuda.name = "Fake H100"
    path.write_bytes(b"damaged")
    built = fake.engine.rebuild_engine(path)
    assert (built.plan.gpu, built.reused) == ("Fake H100", False)
    assert built.plan.flags == ("--batch=1:2:4", "--workspace=0.5", "--refit")
    assert asked(fake)["_pools"] == {"WORKSPACE": 1 << 29}
    conv.unlink()
    with pytest.raises(ArtefactError, match=r"conv.onnx: no such file"):
        fake.engine.rebuild_engine(path)
