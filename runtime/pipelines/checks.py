"""What a pipeline checks before it trusts the numbers and the networks that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.onnxfile import describe
from wholebody.runtime.spec import CropInput, DetectorInput, Shape

__all__ = ["check_answers", "check_input_type", "check_number"]


def check_number(name: str, got: object, ok: bool, allowed: str) -> None:
    """Raise ValueError about the option `name` unless it is `ok`."""
    if not ok:
        raise ValueError(f"{name} is {got!r}; allowed is {allowed}")


def check_input_type(name: str, network: Backend, wanted: CropInput | DetectorInput) -> None:
    """Raise ArtefactError where normalised pixels, which are fractions, do not fit the network's input."""
    fractions = any(wanted.mean) or any(deviation != 1 for deviation in wanted.std)
    dtype = network.inputs[0].dtype
    if fractions and not np.issubdtype(dtype, np.floating):
        raise ArtefactError(
            f"{name} takes {dtype} pixels, which cannot be normalised; allowed are float32, float16 and "
            "float64, or a mean of 0 and a deviation of 1"
        )


def check_answers(
    name: str,
    kind: str,
    answers: Sequence[NDArray[Any] | DeviceArray],
    wanted: Mapping[str, Shape],
    count: int,
) -> None:
    """Raise ArtefactError unless the answers for `count` pictures or crops have the shapes described.

    wanted  shapes by name, None where any size will do; the first size, of the batch, is `count`
    """
    shapes = [(count, *shape[1:]) for shape in wanted.values()]
    if len(answers) != len(shapes) or not all(map(_fits, answers, shapes)):
        got = ", ".join("x".join(map(str, answer.shape)) for answer in answers)
        expected = describe(dict(zip(wanted, shapes, strict=True)))
        raise ArtefactError(f"{name} answers {got}, which is not {kind}: allowed is {expected}")


def _fits(array: NDArray[Any] | DeviceArray, wanted: Shape) -> bool:
    shape = array.shape
    return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted, strict=True))
