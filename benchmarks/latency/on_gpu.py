"""The network alone on a GPU, with its copies, by events on the GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from wholebody.runtime.backends.backend import GpuBackend
from wholebody.runtime.pipelines.on_gpu import Stages, Upload

__all__ = ["network_on_gpu"]


def network_on_gpu(backend: GpuBackend, crops: Any) -> Callable[[int], dict[str, float]]:
    """`times = run(i)`: milliseconds of upload, network and download by events on the GPU, and of all."""
    cuda = backend.cuda
    upload = Upload(cuda)
    hosts: list[Any] = []

    def run(index: int) -> dict[str, float]:
        began = time.perf_counter()
        with cuda.active():
            stages = Stages(cuda)
            given = upload(crops)
            stages.done("upload")
            answers = backend.enqueue(given)
            stages.done("network")
            hosts.extend(cuda.pinned(a.shape, a.dtype) for a in answers[len(hosts) :])
            for answer, host in zip(answers, hosts, strict=True):
                cuda.copy_out(answer, host)
            stages.done("download")
            times = stages.milliseconds()  # waits for the GPU
        return {**times, "total": (time.perf_counter() - began) * 1e3}

    return run
