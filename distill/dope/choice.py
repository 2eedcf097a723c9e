"""Random choices of fixed size in every picture of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose", "few_each", "rows"]


def choose(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(B, n) bool -> (B, count) random indices where the mask holds, and (B, count) bool: real ones first.

    Where a picture has fewer, the rest are indices of no meaning and False.
    """
    key = torch.where(mask, torch.rand(mask.shape, device=mask.device), 2.0)
    count = min(count, mask.shape[1])
    key, index = key.topk(count, dim=1, largest=False)
    return index, key < 1.5


def few_each(mask: Tensor, group: Tensor, count: int) -> Tensor:
    """(B, n) bool: at most `count` random places of each group where the mask holds; group (B, n) int64."""
    key = torch.where(
        mask, group + torch.rand(mask.shape, device=mask.device, dtype=torch.float64), torch.inf
    )
    key, order = key.sort(dim=1)
    first = torch.searchsorted(key, key.floor())
    rank = torch.arange(mask.shape[1], device=mask.device) - first
    few = torch.zeros_like(mask)
    return few.scatter(1, order, (rank < count) & key.isfinite())


def rows(values: Tensor, index: Tensor) -> Tensor:
    """(B, n, ...) values, (B, m) index -> (B, m, ...)."""
    return values[torch.arange(len(index), device=index.device)[:, None], index]
