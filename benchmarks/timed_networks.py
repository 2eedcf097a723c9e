"""Networks whose time is counted, apart from the pipeline around them: ours, and onnxruntime sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wholebody.runtime.backends.backend import Array, Backend, TensorSpec

__all__ = ["BackendSession", "TimedBackend", "TimedSession", "Watch"]


@dataclass
class Watch:
    """Counts the time that the networks of one pipeline take."""

    ms: float = 0.0

    def timed(self, network: Callable[..., Any]) -> Callable[..., Any]:
        """The same network, counted."""

        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            answer = network(*args, **kwargs)
            self.ms += (time.perf_counter() - began) * 1e3
            return answer

        return run


class TimedBackend:
    """A backend whose time is counted."""

    def __init__(self, backend: Backend, watch: Watch) -> None:
        self.name, self.inputs, self.outputs = backend.name, backend.inputs, backend.outputs
        self._run = watch.timed(backend)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        answer: tuple[Array, ...] = self._run(*inputs)
        return answer


class TimedSession:
    """A session of rtmlib's whose time is counted."""

    def __init__(self, session: Any, watch: Watch) -> None:
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.run = watch.timed(session.run)


class BackendSession:
    """One of our backends as the onnxruntime session that rtmlib expects."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get_inputs(self) -> Sequence[TensorSpec]:
        return self._backend.inputs

    def get_outputs(self) -> Sequence[TensorSpec]:
        return self._backend.outputs

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        return list(self._backend(*feed.values()))
