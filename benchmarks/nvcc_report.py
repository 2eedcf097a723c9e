"""What the kernels become on every architecture: `python -m wholebody.benchmarks.nvcc_report`.

nvcc compiles all of them, without a GPU, and says how many registers a thread of each takes, and how many
bytes of shared memory, of stack and of spilt registers.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from wholebody.runtime.compiler import FLAGS, source
from wholebody.runtime.errors import BackendError

__all__ = ["ARCHITECTURES", "Usage", "compile_all", "sources"]

ARCHITECTURES = tuple(f"sm_{n}" for n in (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121))
ENTRY = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)' for '(?P<arch>sm_\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill"
    r" loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Usage:
    """What one kernel takes on one architecture: registers a thread, and bytes."""

    kernel: str
    arch: str
    registers: int
    shared: int
    stack: int
    spilt: int


def sources() -> list[str]:
    """The names of all kernels' source files."""
    folder = resources.files("wholebody.runtime.kernels")
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".cu"))


def compile_all(files: list[str], architectures: tuple[str, ...]) -> Iterator[Usage]:
    """Compile files for architectures; BackendError with nvcc's words where it refuses or is not here."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        raise BackendError("nvcc is not here: put the CUDA toolkit's bin folder on PATH")
    targets = [f"-gencode=arch=compute_{arch[3:]},code={arch}" for arch in architectures]
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            path = Path(folder, file)
            path.write_text(source(file), "utf-8")
            command = [
                nvcc,
                "-c",
                *targets,
                *FLAGS,
                "-Xptxas",
                "-v",
                "-Werror",
                "all-warnings",
                "--threads",
                "0",
            ]
            done = subprocess.run([*command, "-o", f"{path}.o", str(path)], capture_output=True, text=True)
            if done.returncode:
                raise BackendError(f"nvcc cannot compile {file}: {' '.join(done.stderr.split())[:2000]}")
            yield from _usages(done.stderr)


def _usages(text: str) -> Iterator[Usage]:
    for found in ENTRY.finditer(text):
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        yield Usage(
            found["kernel"],
            found["arch"],
            int(found["registers"]),
            int(shared[1]) if shared else 0,
            int(found["stack"]),
            int(found["stores"]) + int(found["loads"]),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compile the kernels with nvcc and print what they take.")
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES, help="default: all of 7.5 to 12.1")
    architectures = tuple(parser.parse_args().arch)
    try:
        usages = list(compile_all(sources(), architectures))
    except BackendError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'kernel':22}{'arch':>8}{'registers':>11}{'shared':>9}{'stack':>7}{'spilt':>7}")
    for u in sorted(usages, key=lambda u: (u.kernel, architectures.index(u.arch))):
        print(f"{u.kernel:22}{u.arch:>8}{u.registers:11}{u.shared:9}{u.stack:7}{u.spilt:7}")
    spilt = sorted({f"{u.kernel} ({u.arch})" for u in usages if u.spilt})
    print(f"{len(usages)} compiled; registers spilt in {', '.join(spilt) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
