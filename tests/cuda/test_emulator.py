"""The GPU on the CPU itself: it must find what is wrong with a kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
RUN = """
#include <cstdio>
int main(int, char** argv) {
    static int x[128], y[129];
    for (int i = 0; i < 128; ++i) x[i] = i;
    int* px = x; int* py = y; int n = argv[1][0] - '0';
    void* arguments[] = {&px, &py, &n};
    const unsigned sides[] = {1, 1, 1, 128, 1, 1};
    emu_launch_work(sides, arguments);
    std::printf("%s", emu_signature_work());
    for (int i = 0; i < 128; ++i) std::printf(" %d", y[i]);
}
"""
REVERSE = """
extern "C" __global__ void work(const int* x, int* y, int barrier) {
    __shared__ int s[128];
    s[threadIdx.x] = x[threadIdx.x];
    if (barrier) __syncthreads();
    y[threadIdx.x] = s[127 - threadIdx.x];
}
"""
STUCK = """
extern "C" __global__ void work(const int*, int* y, int n) {
    if (threadIdx.x % 32 < 16 || !n) y[threadIdx.x] = __ballot_sync(~0u, 1);
    else if (n == 1) __syncthreads();
    else __shfl_sync(~0u, 1, 0);
}
"""
OUTSIDE = """
extern "C" __global__ void work(const int* x, int* y, int n) {
    __shared__ int s[4];
    if (n == 1) y[threadIdx.x + 2] = 0;
    if (n == 2) s[threadIdx.x / 25] = 0;
    if (n == 3) y[0] = 1 << (x[threadIdx.x] + n);
}
"""


def built(folder: Path, kernel: str, *flags: str) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not here")
    text, program = f"{kernel}\nCUDAEMU_EXPORT(work)\n{RUN}", folder / "program"
    sources = ["-include", str(HERE / "cudaemu.h"), "-x", "c++", "-", str(HERE / "cudaemu.cpp")]
    command = ["g++", "-std=c++20", "-O1", *flags, *sources, "-o", str(program)]
    subprocess.run(command, input=text, text=True, check=True)
    return program


def run(program: Path, number: int, order: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"CUDAEMU_ORDER": order} if order else {})}
    return subprocess.run([str(program), str(number)], env=env, capture_output=True, text=True)


def test_a_missing_barrier_shows(tmp_path: Path) -> None:
    program = built(tmp_path, REVERSE)
    right = "PPi " + " ".join(str(127 - i) for i in range(128))
    for order in ("", "reverse", "3"):
        assert run(program, 1, order).stdout == right
        assert run(program, 0, order).stdout != right


def test_lanes_that_wait_for_each_other(tmp_path: Path) -> None:
    program = built(tmp_path, STUCK)
    assert run(program, 0).returncode == 0
    barrier, shuffle = run(program, 1), run(program, 2)
    assert barrier.returncode < 0
    assert "deadlock" in barrier.stderr
    assert "thread 16 waits at __syncthreads" in barrier.stderr
    assert shuffle.returncode < 0
    assert "lanes of one mask are at different collectives" in shuffle.stderr


def test_the_sanitizers_find_what_is_outside(tmp_path: Path) -> None:
    program = built(tmp_path, OUTSIDE, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    assert run(program, 0).returncode == 0
    assert "global-buffer-overflow" in run(program, 1).stderr
    assert "index 4 out of bounds" in run(program, 2).stderr
    assert "shift exponent" in run(program, 3).stderr


def test_kernels_under_the_sanitizers() -> None:
    """A part of `scripts/sanitize-kernels`, which takes two minutes."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not here")
    some = "any_number and (bins or 65 or 31-17) or any_size and (47 or 17-5) or as_opencv_here"
    command = [str(ROOT / "scripts" / "sanitize-kernels"), "-q", "-k", some]
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
