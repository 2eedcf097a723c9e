"""Compiling kernels: the cache, the errors, and nvcc where it is here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wholebody.benchmarks.nvcc_report import _usages, compile_all, sources
from wholebody.runtime import compiler
from wholebody.runtime.errors import BackendError

Log = list[tuple[str, str]]


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """What a stand-in for NVRTC was asked to compile: sources and architectures."""
    asked: Log = []

    def nvrtc(text: str, arch: str) -> bytes:
        asked.append((text, arch))
        return f"code {len(asked)}".encode()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "find_compiler", lambda: ("nvrtc", "nvrtc 13.0"))
    monkeypatch.setattr(compiler, "_nvrtc", nvrtc)
    return asked


def test_includes_stand_in_the_text_once() -> None:
    for file in sources():
        text = compiler.source(file)
        assert '#include "' not in text
        assert text.count("struct half16 {") == 1


def test_what_was_compiled_is_kept(compiled: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 1"
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 1"
    assert compiler.cubin("simcc.cu", "sm_87") == b"code 2"
    monkeypatch.setattr(compiler, "FLAGS", ("-std=c++17",))
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 3"
    monkeypatch.setattr(compiler, "find_compiler", lambda: ("nvrtc", "nvrtc 13.1"))
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 4"
    files = [path.name for path in (tmp_path / "wholebody" / "kernels").iterdir()]
    assert len(files) == 4
    assert all(name.startswith("simcc-sm_") and name.endswith(".cubin") for name in files)


def test_a_cache_that_cannot_be_written_to(compiled: Log, tmp_path: Path) -> None:
    (tmp_path / "wholebody").write_text("a file")
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 1"
    assert compiler.cubin("simcc.cu", "sm_90") == b"code 2"


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_nvrtc_library", lambda: None)
    monkeypatch.setattr(compiler.shutil, "which", lambda *_, **__: None)
    compiler.find_compiler.cache_clear()
    with pytest.raises(BackendError, match="neither NVRTC nor nvcc is here: pip install nvidia-cuda-nvrtc"):
        compiler.cubin("simcc.cu", "sm_90")
    compiler.find_compiler.cache_clear()


@pytest.fixture
def nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("nvcc is not here; it compiles kernels without a GPU")
    return found


def test_a_source_that_is_refused(nvcc: str) -> None:
    with pytest.raises(
        BackendError, match=r"cannot compile a kernel for sm_90: .*error.*undeclared"
    ) as caught:
        compiler._nvcc(nvcc, "void f() { undeclared(); }", "sm_90")
    assert "\n" not in str(caught.value)


def test_nvcc_compiles_a_kernel(nvcc: str) -> None:
    assert compiler._nvcc(nvcc, compiler.source("simcc.cu"), "sm_87").startswith(b"\x7fELF")


def test_no_hot_kernel_spills_registers(nvcc: str) -> None:
    """`python -m wholebody.benchmarks.nvcc_report` compiles all of them for every architecture."""
    hot = {
        "bgr_half",
        "nv12_half",
        "bgr_levels_half",
        "crop_bgr_half",
        "yolox_half",
        "nms_near",
        "nms_resolve",
    }
    files = ["preprocess.cu", "crop.cu", "detections.cu", "pose_nms.cu"]
    usages = list(compile_all(files, ("sm_90", "sm_87")))
    assert {u.kernel for u in usages} >= hot
    assert not [u for u in usages if u.spilt or u.stack]
    assert all(0 < u.registers <= 64 for u in usages)


def test_what_nvcc_says_is_read() -> None:
    said = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_75'
ptxas info    : Function properties for one
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 14544 bytes smem, 456 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""
    one, two = _usages(said)
    assert (one.kernel, one.arch, one.registers, one.shared, one.stack, one.spilt) == (
        "one", "sm_75", 40, 14544, 16, 20,
    )  # fmt: skip
    assert (two.kernel, two.registers, two.shared, two.spilt) == ("two", 8, 0, 0)
