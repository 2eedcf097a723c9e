"""A network over more items than it takes at once: cut into batches, filled up where it must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wholebody.runtime.backends.backend import Array, Backend
from wholebody.runtime.people import Floats

__all__ = ["BUCKETS", "run_in_batches"]

BUCKETS = (1, 2, 4, 8, 16)
LARGEST = 8  # ONNX Runtime on a CPU: 16 at once take 5 % longer than twice 8, whose activations fit the cache


def run_in_batches(
    backend: Backend, items: Floats, buckets: Sequence[int] | None = None
) -> tuple[Array, ...]:
    """The network's answers for (N, ...) items, N of at least 1: one array an output, of length N each.

    buckets  the only sizes of a batch, ascending, for a backend to which a new size means new work; a batch
             is filled up with zeros to the next one. None: any size, or the one that the network's input has
    """
    allowed = _allowed(backend, buckets)
    largest = allowed[-1] if allowed else LARGEST
    answers = [_run(backend, items[at : at + largest], allowed) for at in range(0, len(items), largest)]
    if len(answers) == 1:
        return answers[0]
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


def _allowed(backend: Backend, buckets: Sequence[int] | None) -> Sequence[int]:
    fixed = backend.inputs[0].shape[0]
    return [fixed] if fixed is not None else buckets or []


def _run(backend: Backend, items: Floats, allowed: Sequence[int]) -> tuple[Array, ...]:
    count = len(items)
    size = next((size for size in allowed if size >= count), count)
    if size > count:
        items = np.concatenate([items, np.zeros((size - count, *items.shape[1:]), items.dtype)])
    answer = backend(items.astype(backend.inputs[0].dtype, copy=False))
    return tuple(array[:count] for array in answer)
