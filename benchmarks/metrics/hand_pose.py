"""How hands in space are brought onto the true ones before they are compared; joints as in COCO_HAND21."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.metrics.procrustes import procrustes

__all__ = ["WRIST", "from_joint", "scaled_to", "superposed", "with_palm"]

Doubles = NDArray[np.float64]
WRIST, MIDDLE_MCP, MIDDLE_PIP = 0, 9, 10
MIRROR = np.array([-1.0, 1, 1])


def with_palm(hands: Doubles) -> Doubles:
    """(G, 21, d) hands, the wrist replaced by the centre of the palm: half-way to the middle finger's base.

    hand3d's definition (ICCV 2017), whose root it is.
    """
    moved = hands.copy()
    moved[:, WRIST] = (hands[:, WRIST] + hands[:, MIDDLE_MCP]) / 2
    return moved


def from_joint(hands: Doubles, root: int = WRIST) -> Doubles:
    """(G, 21, 3) hands, the root at the origin."""
    return hands - hands[:, [root]]


def scaled_to(predicted: Doubles, truth: Doubles) -> Doubles:
    """(G, 21, 3) predicted hands around the origin, the middle finger's first bone as long as the true one.

    hand3d's scale: its network answers in units of this bone, which the evaluation multiplies by its length.
    """
    true, ours = (np.linalg.norm(h[:, MIDDLE_PIP] - h[:, MIDDLE_MCP], axis=1) for h in (truth, predicted))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled: Doubles = predicted * (true / ours)[:, None, None]
    return scaled


def superposed(predicted: Doubles, truth: Doubles) -> Doubles:
    """(G, 21, 3) each predicted hand moved, turned, scaled, and where it helps mirrored, onto the true one.

    FreiHAND's alignment (ICCV 2019), whose Procrustes may mirror.
    """
    plain, mirrored = procrustes(predicted, truth), procrustes(MIRROR * predicted, truth)
    nearer = _squares(plain, truth) <= _squares(mirrored, truth)
    return np.where(nearer[:, None, None], plain, mirrored)


def _squares(a: Doubles, b: Doubles) -> Doubles:
    squares: Doubles = np.nansum((a - b) ** 2, axis=(1, 2))
    return squares
