"""The DOPE network: the published numbers through the real loader, and its pieces by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wholebody.export.checkpoints import load_dope_checkpoint
from wholebody.export.students.batch_norm import fold_batch_norm
from wholebody.export.students.dope import JOINTS, PARTS, Dope, DopeConfig
from wholebody.export.students.resnet_c4 import ResNetC4
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.spec import InputSpec

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def network(tiny_dope: Callable[..., Dope]) -> Dope:
    return tiny_dope()


def picture(height: int = 96, width: int = 128) -> tuple[Tensor, Tensor]:
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return image, torch.tensor([height - 6.0, width - 8.0])


# --- the published numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dope_0", "dope_1"])
def test_golden_case(golden_dope: Callable[[str], Any], name: str) -> None:
    case = golden_dope(name)
    checkpoint = load_dope_checkpoint(case.checkpoint)
    outputs, to_source = run_on_picture(checkpoint.network, case.image)
    boxes, expected = outputs["boxes"] * np.tile(to_source, 2), case.numbers["out/boxes"]
    apart = np.abs(expected[:, None] - boxes[None]).max(axis=2)
    nearest = apart.argmin(axis=1)
    matched = apart.min(axis=1) < 0.05
    assert matched.mean() >= 0.97
    for part in PARTS:
        got = {key: outputs[f"{part}_{key}"][nearest][matched] for key in ("scores", "pose2d", "pose3d")}
        want = {key: case.numbers[f"out/{part}_{key}"][matched] for key in got}
        np.testing.assert_allclose(got["scores"], want["scores"], atol=2e-4)
        np.testing.assert_allclose(got["pose2d"] * to_source, want["pose2d"], atol=0.05)
        np.testing.assert_allclose(got["pose3d"], want["pose3d"], atol=2e-4)


def run_on_picture(network: Dope, image: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Outputs by name in network pixels, and the (x, y) factors to source pixels."""
    config, (height, width) = network.config, image.shape[:2]
    box = letterbox((height, width), InputSpec(9999, 9999, config.min_size, config.max_size, *IMAGENET))
    high, wide = (-(-side // 32) * 32 for side in box.size)
    spec = InputSpec(high, wide, config.min_size, config.max_size, *IMAGENET)
    tensors = torch.from_numpy(preprocess(image, box, spec)), torch.tensor(box.size, dtype=torch.float32)
    with torch.inference_mode():
        outputs = network(*tensors)
    return {k: v.numpy() for k, v in outputs._asdict().items()}, np.array(box.to_source, np.float32)


# --- the whole ------------------------------------------------------------------------------------


def test_output_shapes(network: Dope) -> None:
    outputs = network(*picture())
    n, classes = network.config.proposals, network.config.classes
    assert outputs.boxes.shape == (n, 4)
    for part in PARTS:
        assert getattr(outputs, f"{part}_scores").shape == (n, classes[part] + 1)
        assert getattr(outputs, f"{part}_pose2d").shape == (n, classes[part], JOINTS[part], 2)
        assert getattr(outputs, f"{part}_pose3d").shape == (n, classes[part], JOINTS[part], 3)


def test_boxes_stay_inside_the_picture_and_scores_sum_to_one(network: Dope) -> None:
    image, size = picture()
    outputs = network(image, size)
    real = outputs.boxes[:, 2] > 0
    assert real.any()
    assert outputs.boxes.min() >= 0
    assert (outputs.boxes[:, 2:] <= size.flip(0)).all()
    for part in PARTS:
        torch.testing.assert_close(getattr(outputs, f"{part}_scores").sum(dim=1), real.float())


def test_a_picture_without_proposals(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope()
    with torch.no_grad():
        network.rpn.get_parameter("bbox_pred.bias")[
            2::4
        ] = -40  # every box is narrower than the least allowed
    outputs = network(*picture())
    assert not outputs.boxes.any()
    for part in PARTS:
        assert not getattr(outputs, f"{part}_scores").any()
    assert all(torch.isfinite(output).all() for output in outputs)


def test_more_proposals_than_anchors(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope(anchor_sizes=(64,), anchor_ratios=(1.0,), proposals=50)
    outputs = network(*picture(32, 64))  # 2 x 4 cells, one anchor each
    assert outputs.boxes.shape == (50, 4)
    assert not outputs.boxes[8:].any()


@pytest.mark.parametrize(("stride", "cells"), [(16, (6, 8)), (8, (12, 16))])
def test_c4_stride(tiny_dope: Callable[..., Dope], stride: int, cells: tuple[int, int]) -> None:
    network = tiny_dope(c4_stride=stride)
    image, size = picture()
    assert network.backbone.features(image).shape[2:] == cells
    anchors = network.anchors(image)
    assert len(anchors) == cells[0] * cells[1] * 15
    assert ((anchors[15] - anchors[0]) == torch.tensor([stride, 0.0, stride, 0])).all()
    assert network(image, size).boxes.any()


# --- decoding -------------------------------------------------------------------------------------


def test_decoding_by_hand(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope()
    anchors = torch.zeros(4, 21, 5)
    anchors[1, 20] = torch.tensor([0.5, 0.25, 1.0, 2.0, 3.0])
    network.hand_anchor_poses = anchors
    deltas = torch.zeros(1, 4, 21 * 5)
    deltas[0, 1, 2 * 20 : 2 * 20 + 2] = torch.tensor([0.5, 1.0])
    deltas[0, 1, 42 + 3 * 20 : 42 + 3 * 20 + 3] = torch.tensor([0.5, 1.0, 1.5])
    flat, solid = network.decode(torch.tensor([[10.0, 20, 30, 60]]), deltas, "hand")
    torch.testing.assert_close(flat[0, 1, 20], torch.tensor([10 + 0.6 * 20, 20 + 0.45 * 40]))
    torch.testing.assert_close(solid[0, 1, 20], torch.tensor([1.1, 2.2, 3.3]))
    torch.testing.assert_close(flat[0, 0, 0], torch.tensor([10.0, 20]))  # no delta, no anchor: the corner
    assert not solid[0, 0].any()


def test_decoding_no_boxes(network: Dope) -> None:
    flat, solid = network.decode(torch.zeros(0, 4), torch.zeros(0, 3, 84 * 5), "face")
    assert flat.shape == (0, 3, 84, 2)
    assert solid.shape == (0, 3, 84, 3)


def test_pooling_no_boxes(network: Dope) -> None:
    features = network.backbone.features(picture()[0])
    assert network.pool(features, torch.zeros(0, 4)).shape == (0, 32 * network.config.width)


# --- folding --------------------------------------------------------------------------------------


def test_folding_changes_no_number(network: Dope) -> None:
    folded = copy.deepcopy(network)
    fold_batch_norm(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image, size = picture()
    for got, expected in zip(folded(image, size), network(image, size), strict=True):
        torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-4)


def test_epsilon_counts_when_folding() -> None:
    plain, shifted = (ResNetC4(4, (1, 1, 1, 1), 16, eps) for eps in (0.0, 1.0))
    shifted.load_state_dict(plain.state_dict())
    for backbone in (plain, shifted):
        fold_batch_norm(backbone)
    torch.testing.assert_close(shifted.conv1.weight * 2**0.5, plain.conv1.weight)  # running variance is 1


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0), ("width", 4.0), ("width", True), ("width", 10**9),
        ("width", {"x": 4}), ("blocks", 3), ("blocks", (1, 1, 1)), ("blocks", (1, 1, 1, 0)),
        ("classes", {"body": 3}), ("classes", {"body": 3, "hand": -1, "face": 2}), ("min_size", "800"),
        ("rpn_threshold", float("nan")), ("anchor_ratios", (0.0,)), ("anchor_sizes", ()),
        ("proposals", None), ("bn_eps", -1e-5),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(DopeConfig(), **{field: value})


def test_only_two_strides_exist() -> None:
    with pytest.raises(ValueError, match="8 or 16, got 4"):
        ResNetC4(4, (1, 1, 1, 1), 4, 1e-5)
