"""Students as graphs, exported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
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


@dataclass(frozen=True)
class Given:
    """Samples as `calibration.samples` makes them, of inputs that are given."""

    inputs: tuple[Mapping[str, NDArray[Any]], ...]
    sha256: str = "given"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{i}.png" for i in range(len(self.inputs)))

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        return iter(self.inputs)


@pytest.fixture(scope="session")
def given() -> Callable[..., Any]:
    """`given(*inputs)`: samples of these inputs."""
    return lambda *inputs: Given(inputs, str(hash(tuple(a.tobytes() for i in inputs for a in i.values()))))


@pytest.fixture(scope="session")
def noise(given: Callable[..., Any]) -> Callable[..., Any]:
    """`noise(model, 4)`: so many samples of noise for a graph."""

    def make(model: ModelProto, count: int = 4) -> Any:
        rng = np.random.default_rng(0)
        shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
        inputs = [
            {
                name: np.array([96, 128], np.float32)
                if name == "size"
                else rng.normal(size=shape).astype(np.float32)
                for name, shape in shapes.items()
            }
            for _ in range(count)
        ]
        return given(*inputs)

    return make


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that measurements and calibrations of a test are kept in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
