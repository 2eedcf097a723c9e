"""What `gpu_check` asks of a GPU over time: many threads, many frames, forks, errors, ends of processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wholebody.benchmarks.gpu_kernels import small
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError

__all__ = ["endurance"]

THREADS, FRAMES = 8, 1000
LONG = 100_000  # frames in a row, during which memory must not grow


def endurance(gpu: Cuda) -> dict[str, Callable[[], str]]:
    """What is asked, by name; each raises where it fails."""
    frames = f"{THREADS} threads of {FRAMES} frames"
    return {
        f"{frames}, a stream each": partial(_threads, gpu, alone=True),
        f"{frames}, one stream": partial(_threads, gpu, alone=False),
        f"memory over {LONG} frames": partial(_memory, gpu),
        "a process forked from this one": partial(_fork, gpu),
        "the end of a process": partial(_silent_process, END),
        "an illegal address, and on": partial(_silent_process, ILLEGAL),
    }


def _threads(gpu: Cuda, *, alone: bool) -> str:
    """Each thread makes its own work, on a stream of its own or all on one, and checks it now and then."""
    errors: list[BaseException] = []

    def frames(number: int) -> None:
        try:
            mine = Cuda(gpu.device) if alone else gpu
            works = [work for i, work in enumerate(small(mine)) if i % THREADS == number]
            for frame in range(FRAMES):
                work = works[frame % len(works)]
                work.runs[0]()
                if frame % 50 == number:
                    work.check()
        except BaseException as error:
            errors.append(error)

    began = time.perf_counter()
    threads = [threading.Thread(target=frames, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gpu.synchronize()
    if errors:
        raise errors[0]
    return f"passed in {time.perf_counter() - began:.1f} s"


def _memory(gpu: Cuda) -> str:
    works = list(small(gpu))
    before = None
    for frame in range(LONG):
        if frame == LONG // 10:
            gpu.synchronize()
            before = gpu.free_memory(), _resident()
        works[frame % len(works)].runs[0]()
        if frame % 1000 == 0:
            gpu.synchronize()
    gpu.synchronize()
    assert before is not None
    on_gpu, on_host = before[0] - gpu.free_memory(), _resident() - before[1]
    assert on_gpu <= 0, f"{on_gpu} bytes more are in use on the GPU"
    assert on_host < 4 << 20, f"{on_host} bytes more are in use on the host"
    return f"{on_gpu} bytes more on the GPU, {on_host} on the host"


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Things made on a thread that is gone and on its own, and never let go of.
END = """
import threading, numpy as np
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.kernels.simcc_gpu import SimccDecoder
kept = []
def work():
    cuda = Cuda()
    decode = SimccDecoder(cuda, 2, 17, 2.0)
    on_gpu = cuda.upload(np.ones((2, 17, 64), np.float32))
    decode(on_gpu, on_gpu)
    with cuda.capture() as graph:
        decode(on_gpu, on_gpu)
    graph.launch()
    kept.extend([cuda, decode, on_gpu, graph, cuda.event(), cuda.pinned(10, np.float32)])
thread = threading.Thread(target=work)
thread.start()
thread.join()
work()
kept[1] = None
"""


ILLEGAL = """
import numpy as np
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import BackendError
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.kernels.simcc_gpu import SimccDecoder
cuda = Cuda()
decode, graph = SimccDecoder(cuda, 2, 17, 2.0), None
right = cuda.upload(np.ones((2, 17, 64), np.float32))
decode(right, right)
with cuda.capture() as graph:
    decode(right, right)
wrong = DeviceArray(64, right.shape, right.dtype)
try:
    decode(wrong, wrong)
    cuda.synchronize()
except BackendError as error:
    assert "illegal" in str(error) and "this frame is lost" in str(error), error
else:
    raise AssertionError("nobody saw the illegal address")
assert cuda.lost
try:
    cuda.synchronize()
except BackendError as error:
    assert "was reset after an error" in str(error), error
old, cuda = cuda, Cuda()
del old, decode, right, graph
keypoints, scores = SimccDecoder(cuda, 2, 17, 2.0)(*[cuda.upload(np.ones((2, 17, 64), np.float32))] * 2)
assert (cuda.download(scores) == 1).all()
"""


def _silent_process(script: str) -> str:
    """A process that shall succeed and end in silence, whatever it has not let go of."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-600:]}"
    assert not done.stderr, done.stderr[-600:]
    return "passed"


def _fork(gpu: Cuda) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            gpu.synchronize()
            answer = "no error"
        except BackendError as error:
            answer = str(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reader, 1000).decode()
    assert "forked" in answer, answer
    return answer
