"""RTMPose and DWPose networks: the published sizes and numbers, and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from wholebody.export.openmmlab import load_openmmlab
from wholebody.export.students.cspnext import Block, CspNext, blocks_of
from wholebody.export.students.rtmpose import MEAN, RTMPOSE, STD, RtmPose, RtmPoseConfig, ScaleNorm, attend

Tiny = Callable[..., RtmPose]


def crops(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(1))


# --- the published numbers ------------------------------------------------------------------------

# Parameters in millions and multiply-accumulates in billions of the 133-keypoint networks.
SIZES = {
    "t-256x192": (5.52, 0.55),
    "s-256x192": (8.38, 0.90),
    "m-256x192": (17.95, 2.22),
    "l-256x192": (33.48, 4.51),
    "l-384x288": (33.61, 10.04),
    "x-384x288": (56.71, 18.05),
}


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiplications(name: str) -> None:
    with torch.device("meta"):
        network = RtmPose(RTMPOSE[name]).eval()
        image = torch.empty(1, 3, RTMPOSE[name].height, RTMPOSE[name].width)
    with FlopCounterMode(display=False) as counter:
        network(image)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    billions = counter.get_total_flops() / 2 / 1e9
    assert (round(millions, 2), round(billions, 2)) == SIZES[name]


def test_body_networks_have_the_published_parameters() -> None:
    """17 keypoints, the sizes that RTMPose's own table gives."""
    for name, millions in {"t": 3.34, "s": 5.47, "m": 13.59, "l": 27.66}.items():
        with torch.device("meta"):
            network = RtmPose(replace(RTMPOSE[f"{name}-256x192"], joints=17))
        assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "count"), [("t", 218), ("s", 254), ("m", 362), ("l", 470)])
def test_number_of_keys(name: str, count: int) -> None:
    with torch.device("meta"):
        state = RtmPose(RTMPOSE[f"{name}-256x192"]).state_dict()
    assert len(state) == count


def test_keys_of_the_head() -> None:
    with torch.device("meta"):
        head = RtmPose(RTMPOSE["t-256x192"]).head
    assert {key: tuple(tensor.shape) for key, tensor in head.state_dict().items()} == {
        "final_layer.weight": (133, 384, 7, 7),
        "final_layer.bias": (133,),
        "mlp.0.g": (1,),
        "mlp.1.weight": (256, 48),
        "gau.gamma": (2, 128),
        "gau.beta": (2, 128),
        "gau.o.weight": (256, 512),
        "gau.uv.weight": (1152, 256),
        "gau.ln.g": (1,),
        "gau.res_scale.scale": (256,),
        "cls_x.weight": (384, 256),
        "cls_y.weight": (512, 256),
    }  # fmt: skip


@pytest.mark.parametrize("size", ["t", "s"])
def test_golden_case(golden_rtmpose: Callable[[str], Any], size: str) -> None:
    case = golden_rtmpose(size)
    network, numbers = load_openmmlab(case.checkpoint).network, case.numbers
    with torch.inference_mode():
        x, y = network(torch.from_numpy(golden_crops(case)))
    np.testing.assert_allclose(x.numpy(), numbers["simcc_x"], rtol=0, atol=2e-4)
    np.testing.assert_allclose(y.numpy(), numbers["simcc_y"], rtol=0, atol=2e-4)
    keypoints = torch.stack([x.argmax(2), y.argmax(2)], dim=2).numpy() / network.config.split
    apart = np.abs(keypoints - numbers["keypoints_input"]).max(axis=2)
    assert apart.max() <= 0.51
    assert (apart < 1e-3).mean() > 0.99
    scores = torch.minimum(x.amax(2), y.amax(2)).numpy()
    np.testing.assert_allclose(scores, numbers["keypoint_scores"], rtol=0, atol=2e-4)


def golden_crops(case: Any) -> np.ndarray:
    width, height = (int(side) for side in case.numbers["input_wh"])
    warps = [source_to_crop(box, width, height) for box in case.numbers["boxes_xyxy"].astype(np.float64)]
    np.testing.assert_allclose(warps, case.numbers["warp"], rtol=0, atol=1e-3)
    cut = [cv2.warpAffine(case.image, warp, (width, height), flags=cv2.INTER_LINEAR) for warp in warps]
    rgb = np.stack(cut)[..., ::-1].astype(np.float32)
    pixels = (rgb - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)


def source_to_crop(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """The box and a quarter more, in the middle of the crop; the case's own `warp` is this rounded to FP32,
    which moves a few of OpenCV's 1/32 pixel steps."""
    centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 1.25
    zoom = min(width / side[0], height / side[1])
    return np.array([[zoom, 0, width / 2 - zoom * centre[0]], [0, zoom, height / 2 - zoom * centre[1]]])


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_output_shapes(tiny_rtmpose: Tiny, count: int) -> None:
    with torch.inference_mode():
        x, y = tiny_rtmpose(joints=5, split=3.0)(crops(count))
    assert x.shape == (count, 5, 96)
    assert y.shape == (count, 5, 192)


def test_a_batch_is_its_crops_one_by_one(tiny_rtmpose: Tiny) -> None:
    network, image = tiny_rtmpose(), crops(3)
    with torch.inference_mode():
        together = network(image)
        alone = [network(crop[None]) for crop in image]
    assert not torch.allclose(together.simcc_x[0], together.simcc_x[1], atol=1e-2)
    for axis in range(2):
        torch.testing.assert_close(together[axis], torch.cat([outputs[axis] for outputs in alone]))


def test_the_last_stage_has_no_shortcut() -> None:
    trunk = CspNext(0.33, 0.0625)
    shortcuts = [block.shortcut for block in trunk.modules() if isinstance(block, Block)]
    assert shortcuts == [True, True, True, True, True, False]
    assert blocks_of(0.33) == (1, 2, 2, 1)


def test_a_distribution_can_be_learnt(tiny_rtmpose: Tiny) -> None:
    """Training mode: every parameter has a gradient, and a few steps fit one batch."""
    network, image = tiny_rtmpose().train(), crops(4)
    target = torch.randint(0, 64, (4 * 17,), generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = sum(torch.nn.functional.cross_entropy(axis.flatten(0, 1), target) for axis in network(image))
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_untrained_weights_are_finite_and_small() -> None:
    network = RtmPose(RtmPoseConfig(0.167, 0.0625, 64, 32)).eval()
    with torch.inference_mode():
        assert all(axis.isfinite().all() and axis.abs().max() < 1 for axis in network(crops(2)))


# --- low precision --------------------------------------------------------------------------------


def test_training_in_bfloat16(tiny_rtmpose: Tiny) -> None:
    network = tiny_rtmpose().train()
    with torch.autocast("cpu", torch.bfloat16):
        x, y = network(crops(4))
    assert x.dtype == y.dtype == torch.bfloat16
    torch.autograd.backward(x.float().square().mean() + y.float().square().mean())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_bfloat16_is_close_to_float32(tiny_rtmpose: Tiny) -> None:
    network, image = tiny_rtmpose(), crops(4)
    with torch.inference_mode():
        reference = network(image).simcc_x
        with torch.autocast("cpu", torch.bfloat16):
            low = network(image).simcc_x.float()
    assert (low - reference).abs().max() < 0.05 * reference.abs().max()


def test_long_vectors_do_not_leave_the_range_of_half_precision() -> None:
    x = torch.full((1, 2, 108), 1000.0)
    torch.testing.assert_close(ScaleNorm(108)(x.half()).float(), torch.ones_like(x))


def test_a_vector_of_zeros_stays_zero() -> None:
    assert not ScaleNorm(4)(torch.zeros(1, 1, 4)).any()


def test_attention_sums_in_float32() -> None:
    """Its weights are (2 * 20 * 20 / sqrt(2)) ** 2 = 320,000, and FP16's largest number is 65,504."""
    query, value = torch.full((1, 2, 2), 20.0), torch.tensor([[[1.0], [-0.9]]])
    with torch.autocast("cpu", torch.float16):
        low = attend(query.half(), query.half(), value.half())
    assert attend(query, query, value)[0, 0, 0].item() == pytest.approx(32_000, rel=1e-4)
    assert low[0, 0, 0].item() == pytest.approx(32_000, rel=1e-2)


# --- sizes that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 100), ("width", 0), ("width", 32.0), ("joints", 0), ("joints", True), ("kernel", 4),
        ("widen", 0.01), ("widen", float("nan")), ("deepen", float("inf")), ("split", -1.0),
        ("hidden", "256"), ("deepen", 1e5),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="allowed"):
        replace(RTMPOSE["t-256x192"], **{field: value})
