"""Between which values a network's activations lie, counted over samples by onnxruntime's calibration.

What was counted is kept on disk every few samples, under a name made of the contents of model and samples and
of the method: an interrupted run goes on where it was, and what is asked for again is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnxruntime.quantization.calibrate import HistogramCollector

from wholebody.export.precision.calibration import Inputs, Samples
from wholebody.runtime.cpu import cores
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.whole import whole

__all__ = ["Method", "Progress", "Ranges", "activation_ranges"]

log = logging.getLogger(__name__)

Method = Literal["entropy", "minmax", "percentile"]
Ranges = Mapping[str, tuple[float, float]]  # lowest and highest by tensor
Progress = Callable[[int, int], None]  # samples done, samples in all

KEPT_EVERY = 16  # samples
# Of a histogram. Entropy tries every one of them as a threshold: with 2048 it takes minutes.
BINS: Mapping[Method, int] = MappingProxyType({"entropy": 512, "minmax": 1, "percentile": 2048})
LEVELS = 128  # of the distribution that entropy compares with
PERCENTILE = 99.9


def activation_ranges(
    model: ModelProto,
    samples: Samples,
    tensors: Set[str],
    method: Method,
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Ranges:
    """Lowest and highest value of these tensors of `model`, FP32, as they are worth telling apart.

    method    "minmax" takes all that occurs; "percentile" leaves out the farthest value in a thousand;
              "entropy" cuts where the distribution of what is left and rounded differs least
    progress  is told after each sample how many are done
    cache     the folder of what was counted; None: below $XDG_CACHE_HOME, or ~/.cache

    Raises ArtefactError where an activation is not a number, naming it and the picture.
    """
    key = _key(model, samples, tensors, method)
    folder = cache or _default_cache()
    done, begun = folder / f"{key}.json", folder / f"{key}.npz"
    if (found := _read_ranges(done)) is not None:
        return found
    count = _Count(method)
    count.resume(begun)
    left = islice(zip(samples.names, samples, strict=True), count.samples, None)
    for name, activations in _activations(model, sorted(tensors), left):
        _require_numbers(model, activations, name)
        count.add(activations)
        if count.samples % KEPT_EVERY == 0:
            _keep(begun, count.state())
        if progress is not None:
            progress(count.samples, len(samples))
    ranges = count.ranges()
    _keep(done, json.dumps(ranges).encode())
    begun.unlink(missing_ok=True)
    return ranges


class _Count:
    """Histograms of tensors over the samples so far."""

    def __init__(self, method: Method) -> None:
        self.samples = 0
        self._method = method
        self._collector: Any = HistogramCollector(
            method="percentile" if method == "minmax" else method, symmetric=False, num_bins=BINS[method],
            num_quantized_bins=LEVELS, percentile=PERCENTILE, scenario="same",
        )  # fmt: skip

    def add(self, activations: Mapping[str, NDArray[Any]]) -> None:
        with redirect_stdout(io.StringIO()):  # it prints what it does
            self._collector.collect({name: [array] for name, array in activations.items()})
        self.samples += 1

    def ranges(self) -> dict[str, tuple[float, float]]:
        histograms = self._collector.histogram_dict
        if self._method == "minmax":
            return {name: (float(low), float(high)) for name, (_, _, low, high, _) in histograms.items()}
        with redirect_stdout(io.StringIO()):
            cut = self._collector.compute_collection_result()
        return {name: (float(low), float(high)) for name, (low, high, *_) in cut.items()}

    def state(self) -> bytes:
        """As NumPy's npz: of each tensor its counts, their edges, and lowest, highest and farthest value."""
        arrays = {
            f"{field}:{name}": array
            for name, histogram in self._collector.histogram_dict.items()
            for field, array in enumerate(histogram)
        }
        file = io.BytesIO()
        np.savez(file, samples=self.samples, **arrays)
        return file.getvalue()

    def resume(self, path: Path) -> None:
        """Go on from a state on disk; from nothing where there is none, or none that can be read."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                state = dict(arrays)
            samples = int(state.pop("samples"))
            names = [key.partition(":")[2] for key in state if key.startswith("0:")]
            histograms = {name: tuple(state[f"{field}:{name}"] for field in range(5)) for name in names}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return
        self.samples, self._collector.histogram_dict = samples, histograms


def _activations(
    model: ModelProto, tensors: list[str], samples: Iterator[tuple[str, Inputs]]
) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """For each sample the picture's name, and what the network makes of it on the way."""
    shown = ModelProto()
    shown.CopyFrom(model)
    there = {value.name for value in (*shown.graph.output, *shown.graph.input)}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(t) for t in tensors if t not in there)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, ["CPUExecutionProvider"])
    inputs = [value.name for value in session.get_inputs()]
    answered = [tensor for tensor in tensors if tensor not in inputs]
    for name, sample in samples:
        feed = dict(zip(inputs, sample.values(), strict=True)) if len(inputs) == 1 else dict(sample)
        answers = zip(answered, map(np.asarray, session.run(answered, feed)), strict=True)
        yield name, {**{tensor: feed[tensor] for tensor in tensors if tensor in feed}, **dict(answers)}


def _require_numbers(model: ModelProto, activations: Mapping[str, NDArray[Any]], picture: str) -> None:
    wrong = {name for name, array in activations.items() if not np.isfinite(array).all()}
    if wrong:
        at = next((n for n in model.graph.node if wrong.intersection(n.output)), None)
        what = f"{at.op_type} ({at.name})" if at else "its input"
        raise ArtefactError(
            f"{what} is not a number for {picture}: the student is damaged, or made for pictures that are "
            "normalised in another way; export it again"
        )


def _key(model: ModelProto, samples: Samples, tensors: Set[str], method: Method) -> str:
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    for text in (
        samples.sha256,
        *sorted(tensors),
        method,
        str((BINS[method], LEVELS, PERCENTILE)),
        onnxruntime.__version__,
    ):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wholebody" / "calibration"


def _read_ranges(path: Path) -> Ranges | None:
    try:
        return {
            name: (float(low), float(high)) for name, (low, high) in json.loads(path.read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _keep(path: Path, content: bytes) -> None:
    """Whoever cannot write here only has to count again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        log.warning("the calibration cannot be kept in %s (%s)", path.parent, error.strerror)
