"""The stages of a DOPE network in PyTorch, and its threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wholebody.export.stages import run_in_stages, torch_threads
from wholebody.export.students.dope import Dope

HEIGHT, WIDTH = 96, 128


def test_the_stages_together_are_the_network(tiny_dope: Callable[..., Dope]) -> None:
    network = tiny_dope(proposals=7)
    image = np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)
    size = np.array([90, 120], np.float32)
    outputs, times = run_in_stages(network, image, size)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image), torch.from_numpy(size))
    for name, got, wanted in zip(expected._fields, outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, msg=name)
    assert all(ms > 0 for ms in times.values())


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError), torch_threads(before + 2):
        torch.zeros(2).add(torch.zeros(3))
    assert torch.get_num_threads() == before
