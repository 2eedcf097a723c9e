"""Between which values a network's activations are worth telling apart, by onnxruntime's methods."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Set
from contextlib import redirect_stdout
from types import MappingProxyType
from typing import Any, Literal

from onnx import ModelProto

from wholebody.export.precision.calibration import Samples
from wholebody.export.precision.histograms import Counted, Progress, collector, count_activations, keep

__all__ = ["Method", "Ranges", "activation_ranges"]

Method = Literal["entropy", "minmax", "percentile", "percentile-99.9"]
Ranges = Mapping[str, tuple[float, float]]  # lowest and highest by tensor

BINS = 2048
FEW_BINS = 512  # for entropy, which tries each as a threshold: with 2048 that takes minutes
PERCENTILES: Mapping[str, float] = MappingProxyType({"percentile": 99.995, "percentile-99.9": 99.9})


def activation_ranges(
    model: ModelProto,
    samples: Samples,
    tensors: Set[str],
    method: Method,
    *,
    progress: Progress | None = None,
) -> Ranges:
    """Lowest and highest value of these tensors of `model`, FP32; parameters and errors are those of
    `count_activations`, which one count for all methods but entropy serves.

    "minmax" takes all that occurs; "percentile" leaves out what is rarer than 1 in 20,000, "percentile-99.9"
    than 1 in 1,000; "entropy" cuts where the distribution that is left differs least once it is rounded.
    """
    bins = FEW_BINS if method == "entropy" else BINS
    counted = count_activations(model, samples, tensors, bins, progress=progress)
    if method == "minmax":
        return {name: (float(low), float(high)) for name, (_, _, low, high, _) in counted.histograms.items()}
    if method == "entropy":
        return _by_entropy(counted)
    return _cut(collector(counted.histograms, method="percentile", bins=bins, percentile=PERCENTILES[method]))


def _by_entropy(counted: Counted) -> Ranges:
    """Kept as well, for it takes as long as the counting."""
    path = counted.path.with_suffix(".json")
    try:
        return {
            name: (float(low), float(high)) for name, (low, high) in json.loads(path.read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        found = _cut(collector(counted.histograms, method="entropy", bins=FEW_BINS))
    keep(path, json.dumps(found).encode())
    return found


def _cut(collected: Any) -> Ranges:
    with redirect_stdout(io.StringIO()):  # it prints what it does
        cut = collected.compute_collection_result()
    return {name: (float(low), float(high)) for name, (low, high, *_) in cut.items()}
