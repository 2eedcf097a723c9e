"""What a Q/DQ pair does to a tensor, in PyTorch, with gradients for the tensor and for the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Rounding"]


@dataclass(frozen=True)
class Rounding:
    """To the nearest (whole number - zero) * scale, whole numbers from `low` to `high`.

    axis  of the channels, where each has a scale and a zero of its own
    """

    low: int
    high: int
    axis: int = 1

    def __call__(self, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """The gradient goes straight through rounding, and stops where a value is cut off.

        A scale of its own learns as in Esser et al., "Learned step size quantization", 2020: finer steps
        against fewer values cut off. Those of channels do not.
        """
        zero = zero.int()
        if scale.numel() > 1:
            fixed = scale.detach()  # that of a bias hangs on its input's, which learns
            return torch.fake_quantize_per_channel_affine(x, fixed, zero, self.axis, self.low, self.high)
        rounded: Tensor = _Round.apply(x, scale.reshape(()), zero.reshape(()), self.low, self.high)  # type: ignore[no-untyped-call]
        return rounded

    def whole_numbers(self, x: Tensor, scale: Tensor, zero: Tensor) -> NDArray[np.int64]:
        """Of the nearest values."""
        shape = [1] * x.ndim
        shape[self.axis if x.ndim > 1 else 0] = -1
        steps = (x.detach().double() / scale.double().reshape(shape)).round() + zero.reshape(shape)
        return np.asarray(steps.clamp(self.low, self.high).numpy(), np.int64)


class _Round(torch.autograd.Function):
    """PyTorch's own rounding; its public one has no gradient for the scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        rounded = torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)
        ctx.save_for_backward(x, rounded, scale)
        ctx.limits = (low - zero) * scale, (high - zero) * scale
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, rounded, scale = ctx.saved_tensors
        lowest, highest = ctx.limits
        inside = (x >= lowest) & (x <= highest)
        of_x = gradients[0] * inside
        of_scale = (gradients[0] * rounded - of_x * x).sum() / scale
        return of_x, of_scale, None, None, None
