"""What would be built, without TensorRT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from wholebody.export.build_plan import BuildOptions, Range, parse_batch, parse_shape, plan_build
from wholebody.runtime.errors import ArtefactError, WholebodyError
from wholebody.runtime.onnxfile import node_at, tensor_types


def identity(path: Path, *shape: Any) -> Path:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "answer")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["answer"])], "g", value[:1], value[1:]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def open_batch(tmp_path: Path) -> Path:
    return identity(tmp_path / "open.onnx", "batch", 3, 64, 48)


def test_an_open_batch(open_batch: Path) -> None:
    plan = plan_build(open_batch)
    assert plan.output == open_batch.with_suffix(".engine")
    assert plan.profile == {"image": Range((1, 3, 64, 48), (4, 3, 64, 48), (16, 3, 64, 48))}
    assert plan_build(open_batch, options=BuildOptions(batch=(2, 2, 2))).profile["image"].smallest[0] == 2


def test_a_student_is_printed(constant_student: Path) -> None:
    text = str(plan_build(constant_student, "out/constant.engine", BuildOptions(workspace=2, strip=True)))
    for part in (
        "constant.onnx (constant, SHA-256", "out/constant.engine and constant.engine.json",
        "fp32, by the types",
        "image 1x3x96x128", "size 2", "2 GiB", "level 3, TensorRT's own choice",
        "this model of GPU, this version of TensorRT only", "none: they are taken from the ONNX file",
    ):  # fmt: skip
        assert part in text
    assert plan_build(constant_student).student["name"] == "constant"  # type: ignore[index]


def test_printing_needs_no_tensorrt(open_batch: Path) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorrt', 'pycuda', 'torch', 'onnx']));"
        "from wholebody.export.build_plan import plan_build; print(plan_build(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(open_batch)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "1x3x64x48:4x3x64x48:16x3x64x48" in done.stdout


def test_flags_say_what_was_asked() -> None:
    assert BuildOptions().flags() == ()
    name, shapes = parse_shape("image=1x3x8x8:2x3x8x8:4x3x8x8")
    options = BuildOptions(
        batch=(1, 2, 4), shapes={name: shapes}, workspace=1.5, optimization_level=5, tf32=True,
        hardware="ampere+", version_compatible=True, refit=True, strip=True,
    )  # fmt: skip
    assert options.flags() == (
        "--batch=1:2:4", "--shape=image=1x3x8x8:2x3x8x8:4x3x8x8", "--workspace=1.5", "--optimization-level=5",
        "--hardware=ampere+", "--tf32", "--version-compatible", "--refit", "--strip",
    )  # fmt: skip
    assert BuildOptions(dla=1).flags() == ("--dla=1",)
    for some in (options, BuildOptions(), BuildOptions(dla=1)):
        assert BuildOptions.from_flags(some.flags()) == some
    with pytest.raises(WholebodyError, match="--force is no option of `wholebody build`"):
        BuildOptions.from_flags(["--force"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workspace": 0}, "workspace is 0; allowed is GiB above 0"),
        ({"optimization_level": 6}, "optimization level is 6; allowed is 0 to 5"),
        ({"hardware": "all"}, "hardware is all; allowed is this, same-capability, ampere+"),
        ({"dla": -1}, "dla is -1"),
        ({"dla": 0, "hardware": "ampere+"}, "runs on its own device only"),
    ],
)
def test_options_that_are_not_allowed(options: Any, message: str) -> None:
    with pytest.raises(WholebodyError, match=message.replace("+", r"\+")):
        BuildOptions(**options)


@pytest.mark.parametrize(("text", "batch"), [("1:4:16", (1, 4, 16)), ("8", (8, 8, 8))])
def test_batches(text: str, batch: Any) -> None:
    assert parse_batch(text) == batch


@pytest.mark.parametrize("text", ["", "1:2", "4:2:1", "0:1:2", "0", "a", "1:2:3:4", "-1"])
def test_batches_that_are_none(text: str) -> None:
    with pytest.raises(WholebodyError, match=r"batch is|do not rise"):
        parse_batch(text)


@pytest.mark.parametrize(
    "text",
    ["", "image", "image=1x3", "=1:2:3", "image=1x3:2x3:3", "image=2:1:3", "image=a:b:c", "image=1:2:3:4"],
)
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(WholebodyError, match=r"shape is|do not rise"):
        parse_shape(text)


def test_sizes_that_do_not_fit_the_file(tmp_path: Path, open_batch: Path) -> None:
    fixed = identity(tmp_path / "fixed.onnx", 1, 3, 64, 48)
    assert plan_build(fixed, options=BuildOptions(batch=(1, 1, 1))).profile == {}
    with pytest.raises(WholebodyError, match=r"every size in this ONNX file is fixed: leave out --batch"):
        plan_build(fixed, options=BuildOptions(batch=(1, 2, 4)))
    shapes = dict([parse_shape("image=1x3x64x50:1x3x64x50:1x3x64x50")])
    with pytest.raises(WholebodyError, match=r"does not fit the input image, which is \?x3x64x48"):
        plan_build(open_batch, options=BuildOptions(shapes=shapes))
    with pytest.raises(WholebodyError, match=r"there is no input picture; allowed are image"):
        plan_build(open_batch, options=BuildOptions(shapes={"picture": shapes["image"]}))
    free = identity(tmp_path / "free.onnx", "batch", 3, "height", "width")
    with pytest.raises(WholebodyError, match=r"leaves more than its batch open: say --shape image="):
        plan_build(free)
    assert plan_build(free, options=BuildOptions(shapes=shapes)).profile == shapes


def test_files_that_are_refused(tmp_path: Path, open_batch: Path, constant_student: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no such file"):
        plan_build(tmp_path / "absent.onnx")
    with pytest.raises(WholebodyError, match=r"name the engine \*.engine"):
        plan_build(open_batch, tmp_path / "out.onnx")
    open_batch.with_suffix(".json").write_text("a file of others may have a sidecar of theirs")
    assert plan_build(open_batch).student is None
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(constant_student.read_bytes())
    with pytest.raises(ArtefactError, match=r"copy.json is not beside it"):
        plan_build(copy)
    with pytest.raises(WholebodyError, match=r"a DLA computes in fp16 and int8, constant.onnx is fp32"):
        plan_build(constant_student, options=BuildOptions(dla=0))


def test_the_key_changes_with_all_that_decides(open_batch: Path) -> None:
    plan = plan_build(open_batch)
    choices: list[Any] = [{"batch": (1, 1, 1)}, {"refit": True}, {"workspace": 1.0}, {"tf32": True}]
    keys = {
        plan.key("8.6.1", "A", (9, 0)), plan.key("8.6.2", "A", (9, 0)), plan.key("8.6.1", "B", (9, 0)),
        plan.key("8.6.1", "A", (8, 9)),
        *(
            plan_build(open_batch, options=BuildOptions(**o)).key("8.6.1", "A", (9, 0))
            for o in choices
        ),
    }  # fmt: skip
    assert len(keys) == 8
    assert plan.key("8.6.1", "A", (9, 0)) == plan_build(open_batch, "elsewhere.engine").key(
        "8.6.1", "A", (9, 0)
    )


def test_types_of_tensors_are_read_without_a_library(open_batch: Path, constant_student: Path) -> None:
    assert tensor_types(open_batch.read_bytes()) == {"image": "fp32", "answer": "fp32"}
    assert tensor_types(constant_student.read_bytes())["body_scores"] == "fp32"
    assert tensor_types(b"") == tensor_types(b"not ONNX") == {}


def test_nodes_are_read_without_a_library(open_batch: Path) -> None:
    data = open_batch.read_bytes()
    assert node_at(data, 0) == ("answer", "Identity")
    assert node_at(data, 1) is node_at(data, -1) is node_at(b"not ONNX", 0) is None
