"""An engine's sidecar: what it takes, what it refuses, and the command that mends it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.plan import Plan, engine_beside, is_engine, plan_sidecar, read_plan, write_plan

DATA = b"an engine"
PLAN = Plan(
    sha256=hashlib.sha256(DATA).hexdigest(), onnx="student.onnx", onnx_sha256="0" * 64, tensorrt="8.6.1",
    gpu="NVIDIA H200", capability=(9, 0), hardware="this", version_compatible=False, stripped=False,
    flags=("--batch=1:4:16",), key="k", student={"name": "x"},
)  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "student.engine"
    write_plan(path, DATA, PLAN)
    return path


def test_what_is_written_is_read(engine: Path) -> None:
    assert read_plan(engine) == (PLAN, DATA)
    assert sorted(p.name for p in engine.parent.iterdir()) == ["student.engine", "student.engine.json"]


def test_names() -> None:
    assert engine_beside("a/student.onnx") == Path("a/student.engine")
    assert plan_sidecar("a/student.engine") == Path("a/student.engine.json")
    assert [is_engine(name) for name in ("x.engine", "x.PLAN", "x.trt", "x.onnx", "engine")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", DATA[:-1], b"An engine", DATA + b"\0"])
def test_damaged_engines(engine: Path, data: bytes) -> None:
    engine.write_bytes(data)
    with pytest.raises(
        ArtefactError, match=r"cut short or changed .*`wholebody build .*--batch=1:4:16 --rebuild`"
    ):
        read_plan(engine)


def test_missing_files(engine: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no such engine; `wholebody build student.onnx` makes one"):
        read_plan(tmp_path / "absent.engine")
    with pytest.raises(ArtefactError, match=r"cannot be read"):
        read_plan(tmp_path)
    plan_sidecar(engine).unlink()
    with pytest.raises(ArtefactError, match=r"has no student.engine.json beside it.*build it again"):
        read_plan(engine)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "\xff", "[" * 100_000, '{"format": 1}', '{"format": 2}']
)
def test_sidecars_that_are_none(engine: Path, text: str) -> None:
    plan_sidecar(engine).write_text(text, "latin-1")
    with pytest.raises(ArtefactError, match=r"student.engine.json"):
        read_plan(engine)


@pytest.mark.parametrize("name", [name for name in PLAN.to_dict() if name != "student"])
@pytest.mark.parametrize("value", [None, [], {}, "?", -1, [1, "a"]])
def test_entries_that_are_wrong(engine: Path, name: str, value: Any) -> None:
    if name in ("flags", "profile", "layers") and isinstance(value, type(PLAN.to_dict()[name]) | list):
        return
    if value == "?" and isinstance(PLAN.to_dict()[name], str) and name != "hardware":
        return
    plan_sidecar(engine).write_text(json.dumps({**PLAN.to_dict(), name: value}))
    with pytest.raises(ArtefactError, match=rf"student.engine.json: .*{name}"):
        read_plan(engine)


def test_another_onnx_file_beside_it(engine: Path) -> None:
    engine.with_name("student.onnx").write_bytes(b"another")
    with pytest.raises(
        ArtefactError, match=r"built from another student.onnx than the one beside it: `wholebody"
    ):
        read_plan(engine)


HERE = {"tensorrt": "8.6.1", "gpu": "NVIDIA H200", "capability": (9, 0)}


@pytest.mark.parametrize(
    ("plan", "here", "refusal"),
    [
        ({}, {}, None),
        ({}, {"gpu": "NVIDIA H100"}, "built on NVIDIA H200 (sm_90) for that GPU only; this is NVIDIA H100"),
        ({}, {"gpu": "Orin", "capability": (8, 7)}, "built on NVIDIA H200"),
        ({}, {"tensorrt": "10.3.0"}, "built with TensorRT 8.6.1 on NVIDIA H200; this is"),
        ({"hardware": "same-capability"}, {"gpu": "NVIDIA H100"}, None),
        ({"hardware": "same-capability"}, {"gpu": "L4", "capability": (8, 9)}, "GPUs of sm_90"),
        ({"hardware": "ampere+"}, {"gpu": "L4", "capability": (8, 9)}, None),
        ({"hardware": "ampere+"}, {"gpu": "T4", "capability": (7, 5)}, "for sm_80 and newer"),
        ({"version_compatible": True}, {"tensorrt": "10.3.0"}, None),
        ({"version_compatible": True}, {"tensorrt": "11.4.0"}, "built with TensorRT 8.6.1"),
    ],
)  # fmt: skip
def test_where_it_may_run(plan: Any, here: Any, refusal: str | None) -> None:
    told = replace(PLAN, **plan).refusal(**{**HERE, **here})
    assert told is None if refusal is None else refusal in (told or "")


def test_the_command_is_safe_to_paste(engine: Path) -> None:
    plan = replace(PLAN, onnx="a; rm b.onnx", flags=("$(x)",))
    assert (
        plan.rebuild(Path("d/e.engine"))
        == "wholebody build 'd/a; rm b.onnx' --output d/e.engine '$(x)' --rebuild"
    )


def test_processes_that_build_at_once(engine: Path) -> None:
    """Whoever is last, engine and sidecar are of one build."""
    code = (
        "import hashlib, sys; from dataclasses import replace; from pathlib import Path\n"
        "from wholebody.runtime.plan import read_sidecar, write_plan\n"
        "path, plan = Path(sys.argv[1]), read_sidecar(sys.argv[1])\n"
        "for i in range(100):\n"
        "    data = f'{sys.argv[2]} {i}'.encode() * 999\n"
        "    write_plan(path, data, replace(plan, sha256=hashlib.sha256(data).hexdigest()))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(engine), str(n)]) for n in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert read_plan(engine)[1].endswith(b" 99")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="the engine cannot be written there"):
        write_plan(tmp_path / "absent" / "x.engine", DATA, PLAN)
