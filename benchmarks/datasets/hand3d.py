"""The protocol of hand3d (ICCV 2017) for RHD and STB: palm at the origin, true scale, AUC to 50 mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.dataset import Metric, Picture
from wholebody.benchmarks.datasets.found_parts import Pairs, distances
from wholebody.benchmarks.datasets.hands import HandDataset
from wholebody.benchmarks.metrics.curves import area_under_pck
from wholebody.benchmarks.metrics.hand_pose import from_joint, scaled_to, with_palm
from wholebody.benchmarks.metrics.joint_tallies import Cells, by_joint, found_alone, where_labelled

__all__ = ["Hand3d"]

Doubles = NDArray[np.float64]
THRESHOLDS = np.linspace(0, 50, 20)  # millimetres
UPPER = THRESHOLDS[8:]  # hand3d's "20 to 50 mm", which begins at 21


@dataclass(frozen=True, eq=False)
class Hand3d(HandDataset):
    """Areas under the PCK over joints that can be seen, mean over joints."""

    @property
    def space_metrics(self) -> tuple[Metric, ...]:
        return (
            Metric("auc", "AUC 0 to 50 mm, true scale", "share", "higher"),
            Metric("auc_20_50", "AUC 20 to 50 mm, true scale", "share", "higher"),
            Metric("epe", "mean error, true scale, found", "mm", "lower"),
            Metric("auc_own_scale", "AUC 0 to 50 mm, own scale", "share", "higher"),
        )

    @property
    def space_notes(self) -> str:
        return (
            "In space as hand3d: of the joints that can be seen, the palm's centre (half-way between wrist "
            "and middle finger's base) at the origin; true scale: the middle finger's first bone as long as "
            "the true one. Own scale: the student's metres as they are. hand3d's median is left out."
        )

    def in_space(self, pairs: Pairs, picture: Picture) -> dict[str, Cells]:
        solid, ours = pairs.truth.keypoints3d, pairs.keypoints3d
        assert solid is not None
        assert ours is not None
        truth, ours = from_joint(self.in_palm(solid)), from_joint(self.in_palm(ours))
        own, true_scale = (
            np.where(pairs.truth.visible, 1000 * distances(hands, truth), np.nan)
            for hands in (ours, scaled_to(ours, truth))
        )
        return {
            "auc": by_joint(where_labelled(area_under_pck(true_scale, THRESHOLDS), true_scale)),
            "auc_20_50": by_joint(where_labelled(area_under_pck(true_scale, UPPER), true_scale)),
            "epe": by_joint(found_alone(true_scale)),
            "auc_own_scale": by_joint(where_labelled(area_under_pck(own, THRESHOLDS), own)),
        }

    def in_palm(self, hands: Doubles) -> Doubles:
        """(G, 21, 3) hands with the palm's centre in the wrist's place."""
        return with_palm(hands)
