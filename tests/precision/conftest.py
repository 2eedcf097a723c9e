"""Students as graphs, exported once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from onnx import ModelProto

from wholebody.export.onnx_graph import to_onnx
from wholebody.export.students.dope import DopeOutputs
from wholebody.export.students.rtmpose import SimCC


@pytest.fixture(scope="session")
def tiny_dope_onnx(tiny_dope: Callable[..., Any]) -> ModelProto:
    """`tiny_dope()` for pictures of 96 x 128."""
    inputs = {"image": torch.zeros(1, 3, 96, 128), "size": torch.tensor([96.0, 128.0])}
    return to_onnx(tiny_dope(), inputs, DopeOutputs._fields)


@pytest.fixture(scope="session")
def tiny_rtmpose_onnx(tiny_rtmpose: Callable[..., Any]) -> ModelProto:
    """`tiny_rtmpose()`: crops of 64 x 32, 17 keypoints."""
    return to_onnx(tiny_rtmpose(), {"image": torch.zeros(2, 3, 64, 32)}, SimCC._fields, open_batch=True)
