"""Which output of a SimCC student is x, which y and which z: by their sizes, then by their names."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import describe
from wholebody.runtime.published.said import PublishedFile

__all__ = ["order_of_axes"]


def order_of_axes(
    file: PublishedFile, size: tuple[int | None, int | None], bins: Mapping[str, int | None]
) -> tuple[str, ...]:
    """The names of the outputs in the order x, y (and z), asked for where nothing tells them apart.

    size is (height, width) of the crop, bins the size of each output in the file's order. The bins of x and y
    are in the ratio of width and height. Of x and z, which may have as many, z is the later one.
    """
    outputs, axes = tuple(bins), "xyz"[: len(bins)]
    fitting = [order for order in permutations(outputs) if _fits(order, size, bins)]
    if not fitting:
        raise ArtefactError(
            f"its outputs are {describe(file.onnx.outputs)} for crops of {size[0]}x{size[1]}; allowed for "
            "SimCC are bins of x and y in the ratio of width and height"
        )
    said = file.choice("axes", tuple(map("".join, permutations(axes))))
    if said is not None:
        told = tuple(outputs[said.index(axis)] for axis in axes)
        if told not in fitting:
            allowed = ", ".join("".join(axes[order.index(name)] for name in outputs) for order in fitting)
            raise ArtefactError(f"'axes' is {said!r}; the sizes of its outputs allow {allowed}")
        return told
    standard = tuple(f"simcc_{axis}" for axis in axes)
    if standard in fitting:
        return standard
    likely = [order for order in fitting if _z_is_later(order, outputs)] or fitting
    if len(likely) == 1:
        return likely[0]
    question = (
        f"which of its outputs {', '.join(outputs)} is x and which is y (axes: {axes}, yx{axes[2:]}, …)"
    )
    file.ask("axes", question, axes)
    return outputs


def _z_is_later(order: tuple[str, ...], outputs: tuple[str, ...]) -> bool:
    return len(order) == 2 or outputs.index(order[2]) > outputs.index(order[0])


def _fits(
    order: tuple[str, ...], size: tuple[int | None, int | None], bins: Mapping[str, int | None]
) -> bool:
    """A size that is open contradicts nothing."""
    (height, width), across, down = size, bins[order[0]], bins[order[1]]
    if height is None or width is None or across is None or down is None:
        return True
    return across * height == down * width
