"""How often a network's activations take which values, counted over samples by onnxruntime's collector.

What was counted is kept on disk every few samples, under a name made of the contents of model and samples: an
interrupted count goes on where it was, and what is asked for again is there.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
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

__all__ = ["Counted", "Progress", "collector", "count_activations", "keep"]

log = logging.getLogger(__name__)

Histograms = dict[str, tuple[NDArray[Any], ...]]  # by tensor, as onnxruntime's collector holds them
Activations = Mapping[str, NDArray[Any]]
Progress = Callable[[int, int], None]  # samples done, samples in all

LEVELS = 128  # of the distribution that entropy compares with
FORMAT = 1  # of what is kept; another way to count is another number
KEPT_EVERY = 16  # samples
FIELDS = 5  # of a histogram: counts, their edges, and lowest, highest and farthest value


@dataclass(frozen=True)
class Counted:
    """Histograms, and the file that keeps them."""

    path: Path
    histograms: Histograms


def collector(histograms: Histograms, *, method: str, bins: int, percentile: float = 100.0) -> Any:
    """onnxruntime's, which goes on from these histograms. method: "percentile" or "entropy"."""
    made: Any = HistogramCollector(
        method=method, symmetric=False, num_bins=bins, num_quantized_bins=LEVELS, percentile=percentile,
        scenario="same",
    )  # fmt: skip
    made.histogram_dict = histograms
    return made


def count_activations(
    model: ModelProto,
    samples: Samples,
    tensors: Set[str],
    bins: int,
    *,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Counted:
    """Histograms of these tensors of an FP32 model.

    bins      between the farthest values of the first sample; more are added for what is farther
    progress  is told after each sample how many are done
    cache     the folder of what was counted; None: below $XDG_CACHE_HOME, or ~/.cache

    Raises ArtefactError where an activation is not a number, naming it and the picture.
    """
    path = (cache or _default_cache()) / f"{_key(model, samples, tensors, bins)}.npz"
    done, histograms = _resumed(path)
    if done == len(samples):
        return Counted(path, histograms)
    counting = collector(histograms, method="percentile", bins=bins)
    kept = True
    left = islice(zip(samples.names, samples, strict=True), done, None)
    for name, activations in _activations(model, sorted(tensors), left):
        _require_numbers(model, activations, name)
        with redirect_stdout(io.StringIO()):  # it prints what it does
            counting.collect({tensor: [array] for tensor, array in activations.items()})
        done += 1
        if kept and (done % KEPT_EVERY == 0 or done == len(samples)):
            kept = keep(path, _state(done, counting.histogram_dict))
        if progress is not None:
            progress(done, len(samples))
    return Counted(path, counting.histogram_dict)


def _activations(
    model: ModelProto, tensors: list[str], samples: Iterator[tuple[str, Inputs]]
) -> Iterator[tuple[str, Activations]]:
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


def _require_numbers(model: ModelProto, activations: Activations, picture: str) -> None:
    wrong = {name for name, array in activations.items() if not np.isfinite(array).all()}
    if wrong:
        at = next((n for n in model.graph.node if wrong.intersection(n.output)), None)
        what = f"what {at.op_type} ({at.name}) answers" if at else "its input"
        raise ArtefactError(
            f"{what} is not a number for {picture}: the student is damaged, or made for pictures that are "
            "normalised in another way; export it again"
        )


def _key(model: ModelProto, samples: Samples, tensors: Set[str], bins: int) -> str:
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    for text in (samples.sha256, *sorted(tensors), str(bins), str(FORMAT), onnxruntime.__version__):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wholebody" / "calibration"


def _resumed(path: Path) -> tuple[int, Histograms]:
    """Samples that were counted, and their histograms; none where there is no file that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = dict(arrays)
        names = [key.partition(":")[2] for key in kept if key.startswith("0:")]
        histograms = {name: tuple(kept[f"{i}:{name}"] for i in range(FIELDS)) for name in names}
        return int(kept["samples"]), histograms
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return 0, {}


def _state(samples: int, histograms: Histograms) -> bytes:
    arrays: dict[str, Any] = {
        f"{i}:{name}": array for name, fields in histograms.items() for i, array in enumerate(fields)
    }
    file = io.BytesIO()
    np.savez_compressed(file, samples=np.array(samples), **arrays)
    return file.getvalue()


def keep(path: Path, content: bytes) -> bool:
    """Whether a file could be written whole; where not, that is told, and there is more to count again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(content)
        return True
    except OSError as error:
        log.warning("the calibration cannot be kept in %s (%s)", path.parent, error.strerror)
        return False
