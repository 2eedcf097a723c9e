"""Random choices in each picture of a batch: where the mask holds, as many as asked, all alike likely."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wholebody.distill.dope.choice import choose, few_each, rows

BATCH, PLACES = 3, 12
SEEDS, SHARES = st.integers(0, 2**31), st.sampled_from([0.0, 0.2, 0.7, 1.0])


def drawn(seed: int, share: float) -> Tensor:
    torch.manual_seed(seed)
    return torch.rand(BATCH, PLACES) < share


def test_of_nothing_nothing_is_chosen() -> None:
    index, real = choose(torch.zeros(BATCH, 0, dtype=torch.bool), 5)
    assert index.shape == real.shape == (BATCH, 0)
    nothing = torch.zeros(BATCH, 0, dtype=torch.bool)
    assert few_each(nothing, torch.zeros(BATCH, 0, dtype=torch.int64), 5).shape == (BATCH, 0)
    assert rows(torch.rand(BATCH, 4, 2), torch.zeros(BATCH, 0, dtype=torch.int64)).shape == (BATCH, 0, 2)


@given(SEEDS, SHARES, st.integers(1, PLACES + 4))
def test_the_chosen_lie_where_the_mask_holds(seed: int, share: float, count: int) -> None:
    mask = drawn(seed, share)
    index, real = choose(mask, count)
    assert index.shape == real.shape == (BATCH, min(count, PLACES))
    for allowed, places, which in zip(mask, index, real, strict=True):
        assert int(which.sum()) == min(count, int(allowed.sum()))
        assert which.tolist() == sorted(which.tolist(), reverse=True)
        chosen = places[which]
        assert bool(allowed[chosen].all())
        assert len(set(chosen.tolist())) == len(chosen)


@given(SEEDS, SHARES, st.integers(0, 5))
def test_each_group_has_as_many_as_it_may(seed: int, share: float, count: int) -> None:
    mask, group = drawn(seed, share), torch.randint(0, 3, (BATCH, PLACES))
    few = few_each(mask, group, count)
    assert few.dtype == torch.bool
    assert not bool((few & ~mask).any())
    for g in range(3):
        there = (mask & (group == g)).sum(dim=1)
        assert torch.equal((few & (group == g)).sum(dim=1), there.clamp(max=count))


def test_every_place_is_as_likely_as_any_other() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([True, False, True, True, True, False]).expand(1000, 6)
    index, _ = choose(mask, 2)
    often = torch.bincount(index.flatten(), minlength=6) / 1000
    torch.testing.assert_close(often, 0.5 * mask[0].float(), atol=0.06, rtol=0)
    group = torch.tensor([0, 0, 0, 7, 7, 7]).expand(1000, 6)
    often = few_each(mask, group, 1).float().mean(dim=0)
    torch.testing.assert_close(often, 0.5 * mask[0].float(), atol=0.06, rtol=0)


def test_rows_are_taken_picture_by_picture() -> None:
    values = torch.arange(BATCH * 4 * 2).reshape(BATCH, 4, 2)
    index = torch.tensor([[3, 3], [0, 1], [2, 0]])
    torch.testing.assert_close(rows(values, index), torch.stack([values[b][index[b]] for b in range(BATCH)]))
