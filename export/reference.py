"""The PyTorch networks behind the same seam as their students: what drift and latency are measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from wholebody.export.dope_checkpoint import DopeCheckpoint
from wholebody.export.openmmlab import RtmPoseCheckpoint
from wholebody.export.students.dope import JOINTS, PARTS, Dope
from wholebody.runtime.backends.backend import Array, TensorSpec

__all__ = ["PyTorch", "PyTorchCrops", "with_proposals"]


class PyTorch:
    """A checkpoint's network as loaded, in FP32 on the CPU, for inputs of one size and `proposals` boxes."""

    def __init__(self, checkpoint: DopeCheckpoint, input_size: tuple[int, int], proposals: int) -> None:
        self.name = f"pytorch:{torch.__version__}"
        self._network = with_proposals(checkpoint.network, proposals)
        self.inputs = _specs({"image": (1, 3, *input_size), "size": (2,)})
        self.outputs = _specs(_output_shapes(checkpoint.config.classes, proposals))

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """image (1, 3, H, W) and size (2,), float32, to the arrays of `DopeOutputs`."""
        return _answer(self._network, inputs)


class PyTorchCrops:
    """A top-down checkpoint's network as loaded, in FP32 on the CPU, for any number of crops."""

    def __init__(self, checkpoint: RtmPoseCheckpoint) -> None:
        self.name = f"pytorch:{torch.__version__}"
        self._network, config = checkpoint.network, checkpoint.config
        bins_x, bins_y = config.bins
        self.inputs = _specs({"image": (None, 3, config.height, config.width)})
        self.outputs = _specs(
            {"simcc_x": (None, config.joints, bins_x), "simcc_y": (None, config.joints, bins_y)}
        )

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """image (N, 3, H, W) float32 to the arrays of `SimCC`."""
        return _answer(self._network, inputs)


def _answer(network: nn.Module, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs]
    with torch.inference_mode():
        outputs: tuple[Tensor, ...] = network(*tensors)
    return tuple(output.numpy() for output in outputs)


def with_proposals(network: Dope, proposals: int) -> Dope:
    """The same network, its weights shared, with room for another number of proposals."""
    other = Dope.__new__(Dope)
    other.__dict__ = {**network.__dict__, "config": replace(network.config, proposals=proposals)}
    return other


def _output_shapes(classes: dict[str, int], n: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"boxes": (n, 4)}
    for part in PARTS:
        k, joints = classes[part], JOINTS[part]
        shapes[f"{part}_scores"] = (n, k + 1)
        shapes[f"{part}_pose2d"] = (n, k, joints, 2)
        shapes[f"{part}_pose3d"] = (n, k, joints, 3)
    return shapes


def _specs(shapes: Mapping[str, tuple[int | None, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, shape, np.dtype(np.float32)) for name, shape in shapes.items())
