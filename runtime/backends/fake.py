"""A backend without a network: it answers with the arrays it was given."""

from __future__ import annotations

from collections.abc import Mapping

from wholebody.runtime.backends.backend import Array, TensorSpec

__all__ = ["FakeBackend"]


class FakeBackend:
    """Answers every call with the same `outputs`; `calls` keeps what it was asked, for tests to look at."""

    name = "fake"

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: Mapping[str, Array]) -> None:
        self.inputs = inputs
        self.outputs = tuple(TensorSpec(name, array.shape, array.dtype) for name, array in outputs.items())
        self.calls: list[tuple[Array, ...]] = []
        self._answer = tuple(outputs.values())

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        if len(inputs) != len(self.inputs):
            raise TypeError(f"expected {len(self.inputs)} inputs, got {len(inputs)}")
        self.calls.append(inputs)
        return self._answer
