"""Poses with bones as long as the truth's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["with_true_bones"]

Numbers = NDArray[Any]
Doubles = NDArray[np.float64]


def with_true_bones(predicted: Numbers, truth: Numbers, parents: Sequence[int]) -> Doubles:
    """(N, J, 3) predicted poses whose every bone keeps its direction and takes the true one's length.

    parents: the joint that each joint hangs on; the one that hangs on itself stays where it is. What hangs on
    a joint that is not known (NaN) is not known either. MuPoTS-3D's publishers rescale so before they judge.
    """
    bones = predicted.astype(np.float64) - predicted[:, parents]
    true_length = np.linalg.norm(truth - truth[:, parents], axis=2, keepdims=True)
    length = np.linalg.norm(bones, axis=2, keepdims=True)
    scaled = bones * np.divide(true_length, length, out=np.zeros_like(length), where=length != 0)
    root = next(joint for joint, parent in enumerate(parents) if joint == parent)
    return np.asarray(predicted[:, root, None] + _sum_of_chains(scaled, parents), np.float64)


def _sum_of_chains(bones: Doubles, parents: Sequence[int]) -> Doubles:
    """(N, J, 3): for each joint the sum of the bones from the root to it."""
    chains = np.zeros((len(parents), len(parents)), np.bool_)
    for joint in range(len(parents)):
        on_chain = joint
        while not chains[joint, on_chain]:
            chains[joint, on_chain] = True
            on_chain = parents[on_chain]
    # Not a product of matrices: 0 · NaN of a joint that is not on the chain would spoil it.
    steps = np.where(chains[None, :, :, None], bones[:, None], 0)
    total: Doubles = steps.sum(axis=2)
    return total
