"""A PyTorch network behind the runtime's seam: eager or compiled, on the CPU or on a GPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.reference import PyTorch, PyTorchCrops, with_proposals
from wholebody.runtime.backends.backend import Array
from wholebody.runtime.errors import BackendError
from wholebody.runtime.spec import StudentSpec, TopDownSpec

__all__ = ["TorchNetwork", "load_torch_network"]

COMPILERS = ("g++", "clang++", "c++")


class TorchNetwork:
    """A checkpoint's network as loaded, in FP32 with PyTorch's own settings.

    reference   the network on the CPU, whose inputs and outputs these are
    network     what is run: of the same inputs and outputs
    device      "cpu", "cuda" or "cuda:1"

    On a GPU `stage_ms` holds the milliseconds of upload, network and download of all calls since it was last
    cleared, by events in PyTorch's stream; every call waits for the GPU.
    """

    def __init__(
        self, reference: PyTorch | PyTorchCrops, network: nn.Module, *, device: str, compiled: bool
    ) -> None:
        kind, where = "torch.compile" if compiled else "pytorch", "" if device == "cpu" else f":{device} "
        self.name = f"{kind}{where or ':'}{torch.__version__}"
        self.inputs, self.outputs = reference.inputs, reference.outputs
        self.stage_ms: dict[str, float] = {}
        self.network = network
        self._device = torch.device(device)
        moved = network.to(self._device)
        self._run: Any = torch.compile(moved) if compiled else moved

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """One array per input, one per output, all in NumPy."""
        with torch.inference_mode():
            return self._on_cpu(inputs) if self._device.type == "cpu" else self.on_gpu(inputs)

    def _on_cpu(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(output.numpy() for output in self._run(*map(_tensor, inputs)))

    def on_gpu(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The same, with the stages counted."""
        marks = [_mark()]
        tensors = [_tensor(array).to(self._device) for array in inputs]
        marks.append(_mark())
        outputs = self._run(*tensors)
        marks.append(_mark())
        arrays = tuple(output.cpu().numpy() for output in outputs)
        marks.append(_mark())
        torch.cuda.synchronize(self._device)
        for stage, began, ended in zip(("upload", "network", "download"), marks, marks[1:], strict=False):
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + began.elapsed_time(ended)
        return arrays


def load_torch_network(
    path: Path, spec: StudentSpec | TopDownSpec, backend: str, *, proposals: int | None, threads: int
) -> TorchNetwork:
    """A checkpoint's network for "pytorch", "torch.compile" or either with ":cuda".

    Raises CheckpointError for another file, BackendError where a compiler or GPU is missing.
    """
    kind, _, where = backend.partition(":")
    _check(kind, where)
    torch.set_num_threads(threads)
    checkpoint = load_checkpoint(path)
    reference: PyTorch | PyTorchCrops
    if isinstance(checkpoint, DopeCheckpoint):
        assert isinstance(spec, StudentSpec)
        assert proposals is not None
        reference = PyTorch(checkpoint, (spec.input.height, spec.input.width), proposals)
        network: nn.Module = with_proposals(checkpoint.network, proposals)
    else:
        reference, network = PyTorchCrops(checkpoint), checkpoint.network
    return TorchNetwork(reference, network, device=where or "cpu", compiled=kind == "torch.compile")


def _check(kind: str, where: str) -> None:
    if where and not torch.cuda.is_available():
        raise BackendError(f"{kind}:{where} needs a GPU, and PyTorch {torch.__version__} finds none here")
    named = os.environ.get("CXX")
    if kind == "torch.compile" and not where and not any(map(shutil.which, [named] if named else COMPILERS)):
        raise BackendError(
            f"torch.compile needs a C++ compiler; no {named or ' or '.join(COMPILERS)} is here: install it"
        )


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _mark() -> Any:
    """An event in PyTorch's stream, recorded now."""
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event
