"""Body proportions, from small children to tall adults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Lengths and radii of one person in metres; pairs are the same left and right.

    `girth` scales every radius (1 is average), `head` is the distance from chin to head top, `body` the
    height of the chin above the floor.
    """

    height: float
    head: float
    body: float
    girth: float
    shoulder: float
    hip: float
    ankle: float
    shank: float
    thigh: float
    lower_spine: float
    upper_spine: float
    neck: float
    upper_arm: float
    forearm: float
    hand: float
    foot: float

    @property
    def hip_height(self) -> float:
        return self.ankle + self.shank + self.thigh

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm


def sample_proportions(rng: np.random.Generator) -> Proportions:
    """An adult of 1.5 to 1.95 m (four in five) or a child of 1.0 to 1.45 m."""
    child = rng.random() < 0.2
    height = rng.uniform(1.0, 1.45) if child else np.clip(rng.normal(1.71, 0.1), 1.5, 1.95)
    head = rng.uniform(0.2, 0.215) if child else 0.1 + 0.073 * height + rng.normal(0, 0.005)
    body = height - head

    def length(share: float, spread: float = 0.04) -> float:
        return float(body * share * np.clip(rng.normal(1, spread), 1 - 2 * spread, 1 + 2 * spread))

    return Proportions(
        height=float(height), head=float(head), body=float(body),
        girth=float(np.clip(rng.normal(1, 0.14), 0.8, 1.4)),
        shoulder=length(0.125, 0.06), hip=length(0.06, 0.06), ankle=length(0.05), shank=length(0.275),
        thigh=length(0.282), lower_spine=length(0.16), upper_spine=length(0.17), neck=length(0.075),
        upper_arm=length(0.195), forearm=length(0.168), hand=length(0.122), foot=length(0.165),
    )  # fmt: skip
