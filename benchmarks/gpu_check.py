"""What only a GPU can prove: `python -m wholebody.benchmarks.gpu_check --json OUT`.

Every kernel against its reference, its time, graphs, threads, memory, and the compute sanitizer where that is
there. pycuda runs the kernels, CuPy where it is missing; what was left out is said. Times are the GPU's own,
between events around a graph of many runs, so that Python's share is not in them; `called` is the time of a
call from Python until the GPU is done.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.cupy_gpu import CupyGpu
from wholebody.benchmarks.gpu_endurance import endurance
from wholebody.benchmarks.gpu_kernels import Work, large, many, small
from wholebody.benchmarks.json_file import write_json
from wholebody.benchmarks.machine import Machine
from wholebody.runtime.compiler import cubin
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError

SOURCES = (
    "simcc", "heatmap", "preprocess", "crop", "detections", "pose_nms", "oks_nms", "people", "ppi_groups",
    "ppi_modes",
)  # fmt: skip
LAUNCHES, REPEATS = 32, 30  # in a graph that is timed, and how often it is
SANITIZER_SECONDS = 90
MODULE = "wholebody.benchmarks.gpu_check"

AnyGpu = Any  # Cuda or CupyGpu


class Report:
    """What was found so far; printed as it comes."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {"checks": {}, "times": {}, "failed": [], "left_out": []}

    def check(self, name: str, work: Callable[[], Any]) -> None:
        """Keep what `work` answers; a failure is kept and the check goes on."""
        try:
            answer = work()
        except Exception as error:
            self.entries["failed"].append(name)
            answer = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:600]}"
            traceback.print_exc()
        self.entries["checks"][name] = answer
        print(f"{name}: {answer}", flush=True)

    def leave_out(self, what: str) -> None:
        self.entries["left_out"].append(what)
        print(f"left out: {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check and time the kernels on this machine's GPU.")
    parser.add_argument("--json", type=Path, help="write everything that was found to this file")
    parser.add_argument("--through", choices=("pycuda", "cupy"), help="default: pycuda, else CuPy")
    parser.add_argument("--only-small", action="store_true", help="the kernels at small sizes, nothing else")
    parser.add_argument("--probe", action="store_true", help="only say whether there is a GPU")
    options = parser.parse_args()
    report = Report()
    try:
        gpu = _open(options.through, report)
    except BackendError as error:
        print(error, file=sys.stderr)
        return 2
    if options.probe:
        print(f"{gpu.name}, {gpu.arch}, through {type(gpu).__name__}")
        return 0
    _compile(gpu.arch)
    _check(report, gpu, small(gpu))
    if not options.only_small:
        _everything(report, gpu)
        _keep(report, gpu, options.json)
        _sanitize(report, gpu)
    _keep(report, gpu, options.json)
    failed = report.entries["failed"]
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


def _keep(report: Report, gpu: AnyGpu, path: Path | None) -> None:
    if path is not None:
        write_json(path, {**_machine(gpu), **report.entries})


def _everything(report: Report, gpu: AnyGpu) -> None:
    _check(report, gpu, many(gpu))
    bandwidth = _bandwidth(gpu)
    report.entries["copy_bytes_per_second"] = bandwidth
    print(f"copies on the GPU: {bandwidth / 1e12:.2f} TB/s, read and written")
    for work in large(gpu):
        report.check(work.name, work.check)
        report.check(f"time of {work.name}", partial(_time, report, gpu, work, bandwidth))
    if isinstance(gpu, Cuda):
        for name, endure in endurance(gpu).items():
            report.check(name, endure)
    else:
        report.leave_out("threads, memory, forks, errors and the end of a process: they need pycuda")


# --- the machine --------------------------------------------------------------------------------------------


def _open(through: str | None, report: Report) -> AnyGpu:
    missing = ""
    if through != "cupy":
        try:
            return Cuda()
        except BackendError as error:
            if through == "pycuda" or "pycuda" not in str(error):
                raise
            missing = str(error)
    try:
        gpu = CupyGpu()
    except Exception as error:  # whatever a broken installation raises
        reason = " ".join(str(error).split())[:200]
        raise BackendError(
            f"nothing to check: neither pycuda nor CuPy reaches a GPU here ({reason}); see `wholebody doctor`"
        ) from error
    if missing:
        report.leave_out(f"pycuda: {missing}")
    return gpu


def _machine(gpu: AnyGpu) -> dict[str, Any]:
    query = "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit"
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        state = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0].split(", ")
    except (OSError, IndexError):
        state = []
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gpu": gpu.name,
        "arch": gpu.arch,
        "cuda_of_driver": gpu.driver,
        "nvidia_smi": dict(zip(query.split(","), state, strict=False)),
        "through": type(gpu).__name__,
        "machine": Machine.here().to_dict(),
    }


def _compile(arch: str) -> None:
    """All sources at once, on as many cores as there are."""
    began = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda source: cubin(f"{source}.cu", arch), SOURCES))
    print(f"kernels for {arch} in {time.perf_counter() - began:.1f} s")


def _bandwidth(gpu: AnyGpu) -> float:
    """Bytes a second that a copy from GPU memory to GPU memory reads and writes."""
    source, to = (gpu.empty(2**30, np.uint8) for _ in range(2))
    gpu.fill(source)
    best = 0.0
    for _ in range(10):
        before = gpu.event()
        gpu.copy_over(source, to)
        best = max(best, 2 * source.nbytes / gpu.event().since(before) * 1e3)
    return best


# --- kernels ------------------------------------------------------------------------------------------------


def _check(report: Report, gpu: AnyGpu, works: Iterable[Work]) -> None:
    for work in works:
        report.check(work.name, work.check)


def _time(report: Report, gpu: AnyGpu, work: Work, bandwidth: float) -> str:
    """Microseconds of one run: in a graph, as a graph that is launched alone, and called from Python."""
    with gpu.capture() as all_of_them:
        for i in range(LAUNCHES):
            work.runs[i % len(work.runs)]()
    with gpu.capture() as one:
        work.runs[0]()
    measured = {
        "in_graph": _between_events(gpu, all_of_them.launch) / LAUNCHES,
        "graph_alone": _between_events(gpu, one.launch),
        "called": _on_the_clock(gpu, work.runs[0]),
    }
    times = {name: {"min": float(us.min()), "median": float(np.median(us))} for name, us in measured.items()}
    entry: dict[str, Any] = {"microseconds": times, "aim_microseconds": work.aim}
    median = {name: np.median(us) for name, us in measured.items()}
    text = "{in_graph:.2f} us in a graph, {graph_alone:.2f} alone, {called:.1f} called".format(**median)
    if work.moved:
        floor = work.moved / bandwidth * 1e6
        entry |= {"bytes": work.moved, "floor_microseconds": floor}
        entry["share_of_floor"] = floor / float(median["in_graph"])
        text += f"; {entry['share_of_floor']:.0%} of the bandwidth's floor"
    if work.aim is not None:
        text += f"; the aim is {work.aim} us{'' if median['in_graph'] <= work.aim else ': MISSED'}"
    report.entries["times"][work.name] = entry
    return text


def _between_events(gpu: AnyGpu, launch: Callable[[], Any]) -> Any:
    for _ in range(3):
        launch()
    times = []
    for _ in range(REPEATS):
        before = gpu.event()
        launch()
        times.append(gpu.event().since(before) * 1e3)
    return np.array(times)


def _on_the_clock(gpu: AnyGpu, run: Callable[[], Any]) -> Any:
    times = []
    for _ in range(REPEATS):
        gpu.synchronize()
        began = time.perf_counter()
        run()
        gpu.synchronize()
        times.append((time.perf_counter() - began) * 1e6)
    return np.array(times)


# --- the compute sanitizer ----------------------------------------------------------------------------------


def _sanitize(report: Report, gpu: AnyGpu) -> None:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    through = "pycuda" if isinstance(gpu, Cuda) else "cupy"
    for tool in ("memcheck", "racecheck", "synccheck"):
        if sanitizer is None:
            report.leave_out(f"{tool}: compute-sanitizer is not here")
            continue
        command = [sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", "9"]
        command += [sys.executable, "-m", MODULE, "--only-small", "--through", through]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SANITIZER_SECONDS)
        except subprocess.TimeoutExpired:
            report.leave_out(f"{tool}: not done in {SANITIZER_SECONDS} s")
            continue
        report.check(tool, partial(_clean, done))


def _clean(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("=========")]
    assert done.returncode == 0, f"status {done.returncode}: {' '.join(lines)[:500] or done.stderr[-500:]}"
    return lines[-1].strip("= ") if lines else "passed"


if __name__ == "__main__":
    sys.exit(main())
