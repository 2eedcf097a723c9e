"""Which part of the package may import what, read from the sources; and what `import wholebody` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wholebody

ROOT = Path(__file__).resolve().parents[1]
# Each layer imports itself and those below it.
MAY_IMPORT = {
    "runtime": {"runtime"},
    "export": {"export", "runtime"},
    "benchmarks": {"benchmarks", "export", "runtime"},
    "distill": {"distill", "benchmarks", "export", "runtime"},
}
RUNTIME_LIBRARIES = {"numpy", "cv2"}
# Heavy libraries in the runtime, each in the files of the one backend that needs it; the doctor tries them.
RUNTIME_HOMES = {
    "onnxruntime": ("onnxrt",),
    "tensorrt": ("trt", "trt_engine", "trt_execution", "trt_outputs"),
}
DOCTOR = "runtime/doctor.py"
TORCH_LAYERS = {"export", "distill"}

SOURCES = sorted(path.relative_to(ROOT) for layer in MAY_IMPORT for path in (ROOT / layer).rglob("*.py"))


def homes(library: str) -> Iterator[str]:
    return (f"runtime/backends/{name}.py" for name in RUNTIME_HOMES[library])


def imported(path: Path, *, in_functions: bool = True) -> Iterator[str]:
    """Every module that a file imports; what only type checkers see does not count."""
    nodes = [ast.parse((ROOT / path).read_text("utf-8"))]  # type: list[ast.AST]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if in_functions or not isinstance(node, ast.FunctionDef):
            nodes += ast.iter_child_nodes(node)


def libraries(path: Path, *, in_functions: bool = True) -> set[str]:
    names = {module.split(".")[0] for module in imported(path, in_functions=in_functions)}
    return names - set(sys.stdlib_module_names) - {"wholebody"}


def test_the_sources_are_found() -> None:
    assert {path.parts[0] for path in SOURCES} == set(MAY_IMPORT)
    assert "wholebody.runtime.people.People" in set(imported(Path("runtime/geometry.py"))) | set(
        imported(Path("runtime/pipelines/dope.py"))
    )


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    ours = [module.split(".") for module in imported(path) if module.split(".")[0] == "wholebody"]
    layers = {parts[1] for parts in ours} - {"__version__"}
    assert layers <= MAY_IMPORT[path.parts[0]]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_heavy_libraries_have_a_home(path: Path) -> None:
    used = libraries(path)
    if path.parts[0] not in TORCH_LAYERS:
        assert "torch" not in (used if path.parts[0] == "runtime" else libraries(path, in_functions=False))
    if path.parts[0] == "runtime":
        at_home = {name for name in RUNTIME_HOMES if path.as_posix() in (DOCTOR, *homes(name))}
        assert used <= RUNTIME_LIBRARIES | at_home
    if path.parts[:2] == ("benchmarks", "synthetic"):
        assert used <= RUNTIME_LIBRARIES


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_wholebody_costs_nothing() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import wholebody; took = time.perf_counter() - began;"
        "heavy = {'torch', 'cv2', 'onnxruntime', 'numpy'} & set(sys.modules); assert not heavy, heavy;"
        "print(took)"
    )
    assert min(float(run(code)) for _ in range(2)) < 0.3


def test_the_runtime_needs_neither_torch_nor_a_backend() -> None:
    at_home = {home for library in RUNTIME_HOMES for home in homes(library)}
    others = [
        path.with_suffix("").as_posix().replace("/", ".")
        for path in SOURCES
        if path.parts[0] == "runtime" and path.as_posix() not in at_home
    ]
    names = [f"wholebody.{module.removesuffix('.__init__')}" for module in others]
    blocked = ["torch", "onnx", *RUNTIME_HOMES]
    run(f"import sys; sys.modules.update(dict.fromkeys({blocked}))\nfor m in {names}: __import__(m)")


def test_loading_imports_the_backend_only_when_a_student_is_loaded() -> None:
    run("import sys, wholebody; wholebody.load; assert not {'torch', 'onnxruntime'} & set(sys.modules)")


def test_public_names() -> None:
    assert dir(wholebody) == sorted(wholebody.__all__)
    assert len(set(wholebody.__all__)) == len(wholebody.__all__)
    for name in wholebody.__all__:
        assert getattr(wholebody, name) is not None
    run(f"from wholebody import *; assert set({wholebody.__all__}) <= set(globals())")


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse((ROOT / "wholebody/__init__.py").read_text("utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {
        alias.name: n.module for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names
    }  # fmt: skip
    homes = {name: f"wholebody.{module}" for module, names in wholebody._HOMES.items() for name in names}
    assert seen == homes
    assert {*homes, "__version__"} == set(wholebody.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'wholebody' has no attribute 'loud'"):
        _ = wholebody.loud
