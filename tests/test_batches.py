"""Cutting many items into batches of a network: every item answered once and in order."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from wholebody.runtime.backends.backend import Array, TensorSpec
from wholebody.runtime.pipelines.batches import BUCKETS, run_in_batches


class Doubler:
    """Answers each item's double and its own number in the batch."""

    name = "doubler"
    outputs = (TensorSpec("double", (None, 2), np.dtype(np.float32)),)

    def __init__(self, batch: int | None = None, dtype: type[np.floating] = np.float32) -> None:
        self.inputs = (TensorSpec("items", (batch, 2), np.dtype(dtype)),)
        self.sizes: list[int] = []

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        items = cast("np.ndarray", inputs[0])
        assert items.dtype == self.inputs[0].dtype
        self.sizes.append(len(items))
        return items * 2, np.arange(len(items))


def items(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (5, [5]), (8, [8]), (9, [8, 1]), (16, [8, 8]), (21, [8, 8, 5])]
)
def test_any_size_is_cut_but_never_filled_up(count: int, sizes: list[int]) -> None:
    network = Doubler()
    double, _ = run_in_batches(network, items(count))
    assert network.sizes == sizes
    np.testing.assert_array_equal(double, items(count) * 2)


@pytest.mark.parametrize(("batch", "count", "calls"), [(1, 3, 3), (4, 3, 1), (4, 8, 2), (4, 9, 3)])
def test_a_network_of_one_size(batch: int, count: int, calls: int) -> None:
    network = Doubler(batch)
    double, _ = run_in_batches(network, items(count), BUCKETS)
    assert network.sizes == [batch] * calls
    np.testing.assert_array_equal(double, items(count) * 2)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (3, [4]), (8, [8]), (9, [16]), (17, [16, 1]), (40, [16, 16, 8])]
)
def test_buckets(count: int, sizes: list[int]) -> None:
    network = Doubler()
    double, numbers = run_in_batches(network, items(count), BUCKETS)
    assert network.sizes == sizes
    np.testing.assert_array_equal(double, items(count) * 2)
    assert len(numbers) == count


def test_the_networks_own_precision() -> None:
    (double, _) = run_in_batches(Doubler(dtype=np.float16), items(3))
    assert double.dtype == np.float16
