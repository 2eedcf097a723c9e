"""Where a DOPE network's time goes in PyTorch, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wholebody.export.students.dope import PARTS, ROI_BINS, ROI_SAMPLES, Dope, DopeOutputs
from wholebody.export.students.roi_align import roi_align
from wholebody.runtime.people import Floats

__all__ = ["run_in_stages", "torch_threads"]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_in_stages(network: Dope, image: Floats, size: Floats) -> tuple[DopeOutputs, dict[str, float]]:
    """What `network(image, size)` answers, and the milliseconds of each stage on the CPU, in order.

    image (1, 3, H, W) and size (2,) as the network takes them. Stages: backbone (picture to C4), rpn (its
    convolutions), proposals (best boxes, decoded and suppressed), roi_align, head (C5 of every region),
    predictors (classes and poses of every region, decoded).
    """
    times: dict[str, float] = {}

    def timed(stage: str, work: Callable[..., Any], *inputs: Any) -> Any:
        began = time.perf_counter()
        answer = work(*inputs)
        times[stage] = (time.perf_counter() - began) * 1e3
        return answer

    pixels, within = (torch.from_numpy(np.ascontiguousarray(array)) for array in (image, size))
    with torch.inference_mode():
        features = timed("backbone", network.backbone.features, pixels)
        logits, deltas = timed("rpn", network.rpn, features)
        boxes, real = timed("proposals", _propose, network, logits, deltas, pixels, within)
        scale = 1.0 / network.config.c4_stride
        regions = timed("roi_align", roi_align, features, boxes, ROI_BINS, ROI_SAMPLES, scale)
        vectors = timed("head", network.backbone.head, regions)
        outputs = timed("predictors", _predict, network, vectors, boxes, real)
    return outputs, times


def _propose(network: Dope, logits: Tensor, deltas: Tensor, pixels: Tensor, size: Tensor) -> Any:
    return network.propose(logits[0], deltas[0], network.anchors(pixels), size)


def _predict(network: Dope, vectors: Tensor, boxes: Tensor, real: Tensor) -> DopeOutputs:
    outputs = [boxes]
    for part in PARTS:
        logits, deltas = network.predictor(vectors, part)
        outputs += [logits.float().softmax(dim=1) * real[:, None], *network.decode(boxes, deltas, part)]
    return DopeOutputs(*outputs)
