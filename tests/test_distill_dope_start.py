"""What a training starts from: weights of a seed, and anchor poses of the first scenes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from wholebody.benchmarks.synthetic.truth import part_truths
from wholebody.distill.dope.anchor_poses import anchor_poses
from wholebody.distill.dope.start import cluster, initialise
from wholebody.distill.scenes import Sample
from wholebody.export.students.dope import PARTS, Dope, DopeConfig
from wholebody.runtime.skeletons import DOPE

SIDE = 96
CONFIG = DopeConfig(
    width=4, blocks=(1, 1, 1, 1), c4_stride=8, rpn_width=8, classes={"body": 4, "hand": 4, "face": 2},
    candidates=40, proposals=10, min_size=SIDE, max_size=SIDE,
)  # fmt: skip


def sample(seed: int) -> Sample:
    """Two people, one of whom has no legs in the picture."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(10, 80, (2, 139, 2)).astype(np.float32)
    pixels[1, :4, 1] += 200
    metres = rng.normal(0, 0.3, (2, 139, 3)).astype(np.float32)
    return Sample(np.zeros((SIDE, SIDE, 3), np.uint8), pixels, metres, np.ones((2, 139), bool), DOPE)


STOCK: Any = [sample(seed) for seed in range(8)]


def started(seed: int) -> Dope:
    network = Dope(CONFIG)
    initialise(network, seed)
    return network


def test_a_start_is_the_same_for_a_seed_and_another_for_another() -> None:
    one, same, other = (started(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    for name in ("backbone.conv1.weight", "rpn.conv.weight", "predictor.pose_pred.hand.weight"):
        assert not torch.equal(one[name], other[name])


def test_blocks_start_as_their_shortcut_and_objects_rare() -> None:
    network = started(1)
    for name, tensor in network.state_dict().items():
        if name.endswith("bn3.weight"):
            assert not tensor.any(), name
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, deltas = network.train().rpn(network.backbone.features(image))
    assert 0.01 < float(logits.sigmoid().mean()) < 0.2
    assert float(deltas.abs().mean()) < 0.2


def test_anchor_poses_are_clusters_of_the_first_scenes() -> None:
    network = started(1)
    cluster(network, STOCK, seed=3, scenes=6)
    found = [part_truths(s.keypoints, s.keypoints3d, s.visible, SIDE, SIDE) for s in STOCK[:6]]
    for part in PARTS:
        poses = network.get_buffer(f"{part}_anchor_poses")
        expected = anchor_poses(part, [truths[part] for truths in found], CONFIG.classes[part], 3)
        np.testing.assert_array_equal(poses, expected)
        assert len({row.numpy().tobytes() for row in poses}) == CONFIG.classes[part]


def test_fewer_scenes_than_asked_are_all_clustered() -> None:
    some, all_of_them = started(1), started(1)
    cluster(some, STOCK, seed=3, scenes=len(STOCK))
    cluster(all_of_them, STOCK, seed=3, scenes=1000)
    for part in PARTS:
        name = f"{part}_anchor_poses"
        assert torch.equal(some.get_buffer(name), all_of_them.get_buffer(name))
