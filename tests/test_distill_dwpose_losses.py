"""SimCC's labels and losses: nothing where the answer is right, and scores that mean something."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wholebody.distill.dwpose.batches import Batch
from wholebody.distill.dwpose.crops import ABSENT, HIDDEN, VISIBLE
from wholebody.distill.dwpose.losses import BETA, PART_WEIGHTS, centred, crop_losses, divergence, labels
from wholebody.export.students.rtmpose import RtmPose, RtmPoseConfig, SimCC
from wholebody.runtime.kernels.simcc import decode_simcc
from wholebody.runtime.skeletons import WHOLEBODY133

CONFIG = RtmPoseConfig(deepen=0.1, widen=0.125, height=64, width=64, kernel=1, hidden=64, key=32)


def batch(crops: int = 3, presence: int = VISIBLE, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randint(0, 256, (crops, 64, 64, 3), generator=draw, dtype=torch.uint8),
        4 + 56 * torch.rand(crops, 133, 2, generator=draw),
        torch.full((crops, 133), presence, dtype=torch.uint8),
    )


def right(some: Batch) -> SimCC:
    """The answer that fits best."""
    height = torch.tensor([0, 0.4, 1])[some.presence.long()]
    x, y = (
        labels(some.keypoints[..., axis], height, bins, CONFIG.split) for axis, bins in enumerate(CONFIG.bins)
    )
    return SimCC(x, y)


def total(outputs: SimCC, some: Batch) -> float:
    return float(sum(crop_losses(outputs, some, CONFIG).values()))


def test_a_label_is_mmpose_s() -> None:
    """Deviations 4.9 and 5.66 bins at 192 x 256; the best bin is the coordinate's, as it is decoded."""
    for side, sigma in ((192, 4.9), (256, 5.66), (288, 6.0), (384, 6.93)):
        label = labels(torch.tensor([50.0]), torch.ones(1), 2 * side, 2.0)[0]
        assert int(label.argmax()) == 100
        assert float(label.max()) == 1
        assert float(label[105]) == pytest.approx(math.exp(-25 / 2 / sigma**2), rel=2e-3)
    assert not labels(torch.tensor([50.0]), torch.zeros(1), 384, 2.0).any()


@pytest.mark.parametrize("presence", [ABSENT, HIDDEN, VISIBLE])
def test_a_right_answer_costs_nothing(presence: int) -> None:
    some = batch(presence=presence)
    assert total(right(some), some) < 1e-5
    elsewhere = batch(presence=VISIBLE, seed=1)
    assert total(right(elsewhere), some) > 1


def test_the_best_logit_is_decoded_as_place_and_score() -> None:
    some = batch()
    some.presence[:, 40:50] = HIDDEN
    some.presence[:, 50:] = ABSENT
    x, y = right(some)
    keypoints, scores = decode_simcc(x.numpy(), y.numpy(), CONFIG.split)
    np.testing.assert_allclose(keypoints[:, :50], some.keypoints[:, :50], atol=0.25 + 1e-4)
    assert scores[:, :40].min() > 0.98
    assert 0.39 < scores[:, 40:50].min() <= scores[:, 40:50].max() <= 0.4
    assert not scores[:, 50:].any()


def test_centred_weights_answer_the_same_with_a_mean_of_0() -> None:
    torch.manual_seed(0)
    network, pictures = RtmPose(CONFIG), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for layer in (network.head.cls_x, network.head.cls_y):
            layer.weight += torch.randn(CONFIG.hidden)
        before = network(pictures)
        network.load_state_dict(centred(network.state_dict()))
        after = network(pictures)
    for free, held in zip(before, after, strict=True):
        assert free.mean(dim=-1).abs().max() > 1e-2
        assert held.mean(dim=-1).abs().max() < 1e-5
        torch.testing.assert_close(held.softmax(dim=-1), free.softmax(dim=-1))


@pytest.mark.parametrize("odds", [0.1, 0.5, 0.9])
def test_the_score_tells_how_likely_a_keypoint_is(odds: float) -> None:
    """The best logits for a keypoint at a known place that is absent now and then."""
    label = labels(torch.tensor([96.0, 96.0]), torch.tensor([1.0, 0.0]), 384, 2.0)
    chance = torch.tensor([odds, 1 - odds])
    logits = torch.zeros(384, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=300, line_search_fn="strong_wolfe")

    def expected() -> Tensor:
        optimizer.zero_grad()
        loss = (chance * divergence(logits.expand(2, 384), label)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(expected)  # type: ignore[no-untyped-call]
    score = float((logits - logits.mean()).detach().max())
    assert score == pytest.approx(0.46 + math.log(odds / (1 - odds)) / BETA, abs=0.05)


def test_what_is_not_seen_counts_less_and_a_part_as_it_should() -> None:
    some, wrong = batch(), right(batch(seed=1))
    losses = crop_losses(wrong, some, CONFIG)
    assert list(losses) == list(WHOLEBODY133.parts)
    expected = (21 * PART_WEIGHTS["left_hand"]) / (6 * PART_WEIGHTS["feet"])
    assert float(losses["left_hand"] / losses["feet"]) == pytest.approx(expected, rel=0.2)
    some.presence[:, 91:] = ABSENT  # two hands of 122 weights in all
    weightier = crop_losses(wrong, some, CONFIG)["feet"] / losses["feet"]
    assert float(weightier) == pytest.approx(122 / (80 + 0.3 * 42))


def test_pictures_are_normalised_rgb() -> None:
    some = batch(2)
    pictures = some.normalised()
    assert pictures.shape == (2, 3, 64, 64)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    red = (float(some.images[1, 5, 7, 2]) - 123.675) / 58.395
    assert float(pictures[1, 0, 5, 7]) == pytest.approx(red, rel=1e-5)


def test_a_network_learns_a_batch() -> None:
    torch.manual_seed(0)
    network, some = RtmPose(CONFIG), batch(4)
    some.presence[:, 60:] = ABSENT
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = torch.stack(list(crop_losses(network(some.normalised()), some, CONFIG).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]
