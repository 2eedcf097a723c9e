"""A checkpoint's tensors into a network: every one expected, present, finite and of the right shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wholebody.export.students.batch_norm import fold_batch_norm
from wholebody.runtime.errors import CheckpointError

__all__ = ["load_exactly", "plain_tensors", "some"]

COUNTERS = "num_batches_tracked"  # of BatchNorm, used in training only
LISTED = 8  # names given in an error before it counts the rest

Network = TypeVar("Network", bound=nn.Module)


def plain_tensors(state: Mapping[Any, Any], family: str, path: Path) -> dict[str, Tensor]:
    """A `state_dict` with its floating-point tensors in FP32. Raises CheckpointError for anything else."""
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise CheckpointError(
                f"{path}: state_dict[{key!r}] is no plain tensor, as those of {family} are: give another file"
            )
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def load_exactly(
    build: Callable[[], Network], tensors: Mapping[str, Tensor], family: str, path: Path, *, fold: bool
) -> Network:
    """The network that `build` makes, holding these tensors, in evaluation mode and without gradients.

    fold: write the BatchNorm into the convolutions. Raises CheckpointError, naming every key at fault.
    """
    with torch.device("meta"):  # no memory, and none asked for by a damaged file, before the shapes agree
        network = build()
    expected = {name: t.shape for name, t in network.state_dict().items() if not name.endswith(COUNTERS)}
    given = {name: t for name, t in tensors.items() if not name.endswith(COUNTERS)}
    if faults := _faults(expected, given):
        raise CheckpointError(f"{path}: does not fit the {family} network: {'; '.join(faults)}")
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTERS)}
    network.load_state_dict({**given, **counters}, assign=True)
    network.eval()
    if fold:
        fold_batch_norm(network)
    return network.requires_grad_(False)


def _faults(expected: Mapping[str, torch.Size], given: Mapping[str, Tensor]) -> list[str]:
    """Every disagreement, in words."""
    faults = [f"missing {name}" for name in expected if name not in given]
    faults += [f"unexpected {name}" for name in given if name not in expected]
    for name in expected.keys() & given.keys():
        tensor, shape = given[name], expected[name]
        if tensor.shape != shape:
            faults.append(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        elif tensor.dtype != torch.float32:
            faults.append(f"{name} holds {tensor.dtype}, expected floating point")
        elif not torch.isfinite(tensor).all():
            faults.append(f"{name} holds NaN or infinity")
    return sorted(faults)


def some(entries: Mapping[Any, Any]) -> str:
    """The first few names of a dictionary, and how many more there are."""
    names = sorted(map(str, entries))
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "") if names else "nothing"
