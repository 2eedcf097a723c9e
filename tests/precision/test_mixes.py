"""Mixes of precisions as graphs, their layers counted and their measurements kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from wholebody.export.precision.calibration import Samples
from wholebody.export.precision.companions import left_alone, read_unrounded
from wholebody.export.precision.drift import Drift, Reference
from wholebody.export.precision.graph import HEAVY
from wholebody.export.precision.layers import layers_of
from wholebody.export.precision.ledger import Ledger, default_ledger
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.placement import Target
from wholebody.export.precision.sensitivity import measure_sensitivity
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import WholebodyError
from wholebody.runtime.spec import CropInput, TopDownSpec, WeightsSpec

SPEC = TopDownSpec(
    name="tiny",
    head="simcc",
    input=CropInput(64, 32, (0, 0, 0), (1, 1, 1), "rgb"),
    skeleton="coco17",
    weights=WeightsSpec("made up", "0" * 64, "none"),
)


class Crops:
    """Noise, as `Samples` would give it."""

    def __init__(self, seed: int, count: int = 4) -> None:
        self.seed, self.names = seed, tuple(f"{i}.jpg" for i in range(count))
        self.sha256 = f"noise {seed}"

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Mapping[str, NDArray[np.float32]]]:
        rng = np.random.default_rng(self.seed)
        for _ in self.names:
            yield {"image": rng.normal(size=(1, 3, 64, 32)).astype(np.float32)}


@pytest.fixture
def mixes_of(
    tiny_rtmpose_onnx: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Mixes]:
    """`mixes_of(target, ledger)` of a small random student."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(target: Target = "cpu", ledger: Ledger | None = None) -> Mixes:
        calibration, held_out = cast("Samples", Crops(0)), cast("Samples", Crops(1))
        return Mixes(
            tiny_rtmpose_onnx, SPEC, calibration, held_out, target=target, method="minmax", ledger=ledger
        )

    return make


# --- layers -------------------------------------------------------------------------------------------------


def test_multiply_accumulates_are_counted() -> None:
    weights = {"conv": (8, 2, 3, 3), "up": (8, 5, 2, 2), "gemm": (7, 80), "back": (80, 3), "matmul": (6, 4)}
    nodes = [
        helper.make_node("Conv", ["image", "conv"], ["a"], "conv", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "up"], ["b"], "up", strides=[2, 2]),
        helper.make_node("Reshape", ["b", "flat"], ["c"]),
        helper.make_node("Gemm", ["c", "gemm"], ["d"], "gemm", transB=1),
        helper.make_node("Gemm", ["c", "back"], ["e"], "back"),
        helper.make_node("NonZero", ["e"], ["where"]),  # of a shape that nothing tells beforehand
        helper.make_node("Cast", ["where"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "six"], ["f"]),
        helper.make_node("MatMul", ["f", "matmul"], ["g"]),
    ]
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    tensors += [numpy_helper.from_array(np.array(v), n) for n, v in (("flat", [-1, 80]), ("six", [-1, 6]))]
    graph = helper.make_graph(
        nodes, "counted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 4, "h", "w"))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "dg"],
        tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    layers = layers_of(model, {"image": np.ones((1, 4, 6, 4), np.float32)})
    rows = 5 * 12 * 8 // 80  # of the flattened answer
    assert [(layer.name, layer.macs) for layer in layers] == [
        ("conv", 8 * 24 * 2 * 9),
        ("up", 8 * 24 * 5 * 4),
        ("gemm", rows * 7 * 80),
        ("back", rows * 3 * 80),
        ("g", rows * 3 * 2 // 6 * 6 * 4),  # every number is not 0, and each has two indices
    ]


def test_a_whole_student_is_counted(tiny_dope_onnx: ModelProto) -> None:
    inputs = {"image": np.zeros((1, 3, 96, 128), np.float32), "size": np.array([96, 128], np.float32)}
    layers = layers_of(tiny_dope_onnx, inputs)
    assert layers[0].macs == 48 * 64 * 4 * 3 * 49
    assert all(layer.macs > 0 for layer in layers)


# --- graphs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_only_the_named_layers_are_quantized(mixes_of: Callable[..., Mixes], target: Target) -> None:
    mixes = mixes_of(target)
    names = [layer.name for layer in mixes.to_quantize]
    for chosen in (names[:1], names[3:5], names):
        model = mixes.build(Mix.of(int8=chosen))
        assert quantized(model) == set(chosen)
    one = mixes.build(Mix.of(int8=names[3:4]))
    rounded = {n.input[0] for n in one.graph.node if n.op_type == "QuantizeLinear"}
    layer = next(node for node in mixes.model.graph.node if node.name == names[3])
    assert layer.input[0] in rounded
    assert len(rounded) <= 3  # no stream behind it


def test_the_rest_may_be_in_fp16(mixes_of: Callable[..., Mixes]) -> None:
    mixes = mixes_of("tensorrt")
    able = [layer.name for layer in mixes.to_quantize if layer.name not in mixes.kept]
    mix = Mix.of(int8=able[:3], fp16=able[:6])
    model = mixes.build(mix)
    assert quantized(model) == set(able[:3])
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    in_half = {n.name for n in model.graph.node if n.op_type in HEAVY and n.input[1] in halves}
    assert in_half == set(able[3:6])


def quantized(model: ModelProto) -> set[str]:
    """The layers whose weights are dequantized."""
    made = {
        output for node in model.graph.node for output in node.output if node.op_type == "DequantizeLinear"
    }
    return {node.name for node in model.graph.node if node.op_type in HEAVY and node.input[1] in made}


def test_a_mix_of_nothing_is_the_student(mixes_of: Callable[..., Mixes]) -> None:
    mixes = mixes_of()
    assert mixes.build(Mix()) == mixes.model
    drift = mixes.drift(Mix())
    assert all(part.oks == 1 and part.px.max == 0 for part in drift.parts.values())
    assert mixes.share([]) == 0
    assert mixes.share([layer.name for layer in mixes.layers]) == 1
    assert mixes.latencies_ms([Mix()])[Mix()] > 0


def test_companions_stay_where_their_layers_do() -> None:
    """A residual block and the next: its sum goes with its convolutions, the next one's does not."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w"], ["c"], "second"),
        helper.make_node("Add", ["b", "c"], ["d"], "sum"),
        helper.make_node("Conv", ["d", "w"], ["e"], "third"),
        helper.make_node("Add", ["d", "e"], ["f"], "next"),
    ]
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 4, 4))
    answer = helper.make_tensor_value_info("f", TensorProto.FLOAT, (1, 3, 4, 4))
    model = helper.make_model(helper.make_graph(nodes, "two", [value], [answer], [weight]))
    layers = {"first", "second", "third"}

    def left(int8: set[str], target: Target) -> set[str]:
        return left_alone(model, layers, int8, target)

    assert left(set(), "cpu") == left(set(), "tensorrt") == {"relu", "sum", "next"}
    assert left(layers, "cpu") == left(layers, "tensorrt") == set()
    assert left({"second"}, "cpu") == {"relu", "sum", "next"}
    assert left({"first", "second"}, "cpu") == {"next"}
    assert left({"second"}, "tensorrt") == {"relu", "next"}


@pytest.mark.parametrize(("target", "behind"), [("cpu", "a_rounded"), ("tensorrt", "a")])
def test_what_is_rounded_for_one_is_not_for_all(target: Target, behind: str) -> None:
    """The picture is rounded for `quantized` alone; on a CPU so is its answer, for whoever reads it."""

    def rounded(tensor: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [tensor, "scale"], [f"{tensor}_8"]),
            helper.make_node("DequantizeLinear", [f"{tensor}_8", "scale"], [f"{tensor}_rounded"]),
        ]

    nodes = [
        *rounded("image"),
        helper.make_node("Conv", ["image_rounded", "w"], ["a"], "quantized"),
        helper.make_node("Conv", ["image_rounded", "w"], ["b"], "beside"),
        *rounded("a"),
        helper.make_node("Add", ["a_rounded", "b"], ["c"], "behind"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "shared", [], []))
    read_unrounded(model, {"quantized"}, target)
    reads = {node.name: list(node.input) for node in model.graph.node}
    assert reads["quantized"] == ["image_rounded", "w"]
    assert reads["beside"] == ["image", "w"]
    assert reads["behind"] == [behind, "b"]


# --- what was measured --------------------------------------------------------------------------------------


def test_work_that_was_cut_off_goes_on(
    mixes_of: Callable[..., Mixes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, measured = tmp_path / "ledger.jsonl", list[str]()
    drift = Reference.drift

    def counted(self: Reference, candidate: Backend) -> Drift:
        measured.append(candidate.name)
        return drift(self, candidate)

    monkeypatch.setattr(Reference, "drift", counted)

    def stop(done: int, count: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(mixes_of(ledger=Ledger(path)), groups=5, report=stop)
    assert len(measured) == 3
    whole = measure_sensitivity(mixes_of(ledger=Ledger(path)), groups=5)
    assert len(measured) == 5
    assert measure_sensitivity(mixes_of(ledger=Ledger(path)), groups=5) == whole
    assert len(measured) == 5
    measure_sensitivity(mixes_of("tensorrt", Ledger(path)), groups=1)  # another question
    assert len(measured) == 6


def test_a_ledger_keeps_and_forgets_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "ledger.jsonl"
    ledger = Ledger(path)
    assert ledger.get({"a": 1}) is None
    ledger.put({"a": 1, "b": 2}, {"x": [1, 2]})
    ledger.put({"a": 2}, 5)
    with path.open("ab") as file:
        file.truncate(path.stat().st_size - 4)
    again = Ledger(path)
    assert again.get({"b": 2, "a": 1}) == {"x": [1, 2]}
    assert again.get({"a": 2}) is None
    again.put({"a": 2}, 6)
    assert Ledger(path).get({"a": 2}) == 6


def test_a_ledger_of_no_file_forgets() -> None:
    ledger = Ledger()
    ledger.put({"a": 1}, 2)
    assert (ledger.get({"a": 1}), len(ledger), len(Ledger())) == (2, 1, 0)


def test_a_ledger_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Ledger(default_ledger("abc")).put({}, 1)
    assert len(Ledger(tmp_path / "wholebody" / "precision" / "abc.jsonl")) == 1


def test_a_ledger_says_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(WholebodyError, match="cannot be read"):
        Ledger(tmp_path / "file")
    with pytest.raises(WholebodyError, match="cannot be written"):
        Ledger(tmp_path / "file" / "ledger").put({}, 1)
