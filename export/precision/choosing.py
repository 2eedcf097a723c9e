"""How the ranges of activations are best cut for one student: it is tried, for no rule holds for all.

What is rare and far may be what a head decides by, and it coarsens all the rest: of the two bundled students
one wants ten times as much cut off as the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from onnx import ModelProto

from wholebody.export.precision.calibration import Inputs, Samples
from wholebody.export.precision.drift import PrecisionBudget, Reference
from wholebody.export.precision.int8 import Method, Target, to_int8
from wholebody.export.precision.sensitivity import used_in_all
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.spec import AnySpec

__all__ = ["TRIED", "choose_method"]

TRIED: tuple[Method, ...] = ("percentile", "percentile-99.9", "minmax")  # all of one count
INPUTS = 32  # that each is tried on


def choose_method(
    model: ModelProto,
    spec: AnySpec,
    calibration: Samples,
    budget: PrecisionBudget,
    *,
    target: Target,
    report: Callable[[str], None] = lambda method: None,
) -> Method:
    """The method with which `model` in INT8 drifts least from itself on the pictures it is calibrated on.

    Least is what uses least of the budget, in the mean over all that has one. Raises SourceError where the
    student sees nobody in these pictures.
    """
    few = _First(calibration)
    reference = Reference(Simulated(model), spec, few)
    drifts = dict[Method, float]()
    for method in TRIED:
        report(method)
        made = Simulated(to_int8(model, calibration, target=target, method=method), fused=target == "cpu")
        drifts[method] = used_in_all(reference.drift(made), budget)
    return min(drifts, key=lambda method: drifts[method])


@dataclass(frozen=True)
class _First:
    """The first samples of others."""

    of: Samples

    @property
    def names(self) -> Sequence[str]:
        return self.of.names[:INPUTS]

    def __iter__(self) -> Iterator[Inputs]:
        return islice(iter(self.of), INPUTS)
