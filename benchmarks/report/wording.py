"""How numbers, models, runtimes and settings are called."""

from __future__ import annotations

import math
from collections.abc import Callable

from wholebody.benchmarks.recorded import Estimate, Figure, Run, Settings
from wholebody.benchmarks.report.document import Cell, Tone

__all__ = [
    "NOTHING", "difference", "in_unit", "leaning", "number", "plain", "plural", "ratio_cell", "runtime",
    "setting", "signed", "value",
]  # fmt: skip

NOTHING = Cell("–", tone="muted")
RUNTIMES = {
    "onnxruntime:CPUExecutionProvider": "ONNX Runtime CPU",
    "onnxruntime:CUDAExecutionProvider": "ONNX Runtime CUDA",
    "onnxruntime:TensorrtExecutionProvider": "ONNX Runtime TensorRT",
    "tensorrt": "TensorRT",
    "torch": "PyTorch",
    "pytorch": "PyTorch",
}
MINUS = "−"
# Of a unit: by how much figures are multiplied, digits behind the point, how it is written.
UNITS = {"share": (100.0, 1, " %"), "mm": (1.0, 1, " mm"), "px": (1.0, 2, " px")}
PLAIN_UNIT = (1.0, 3, "")


def plural(count: int, one: str, many: str | None = None) -> str:
    """`3 runs`, `1 run`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def number(size: float, places: int | None = None) -> str:
    """`1,621`, `41.3`, `0.720`: three digits unless told how many stand behind the point."""
    return f"{size:,.{_places(size) if places is None else places}f}".replace("-", MINUS)


def signed(size: float, places: int) -> str:
    """`+0.4`, `−1.2`, and `0.0` without a sign."""
    text = f"{size:+,.{places}f}".replace("-", MINUS)
    return text if text.strip("+−0.,") else text[1:]


def plain(of: Estimate | None) -> Cell:
    """A figure over its interval, without a unit."""
    if of is None:
        return NOTHING
    places = _places(of.value)
    return Cell(number(of.value, places), _span(of, lambda size: number(size, places)))


def ratio_cell(of: Estimate | None) -> Cell:
    """`1.85×` over its interval; above 1 is better."""
    if of is None:
        return NOTHING
    return Cell(f"{of.value:.2f}×", _span(of, lambda size: number(size, 2)), leaning(of, 1.0, "higher"))


def value(figure: Figure) -> Cell:
    """An accuracy with its interval, in its unit."""
    if figure.value is None:
        return NOTHING
    scale, places, unit = in_unit(figure.unit)
    of = figure.value.times(scale)
    return Cell(number(of.value, places) + unit, _span(of, lambda size: number(size, places)))


def difference(figure: Figure) -> Cell:
    """The paired difference from the reference, over its interval; of shares in points."""
    if figure.difference is None:
        return NOTHING
    scale, places, unit = in_unit(figure.unit)
    of, places = figure.difference.times(scale), places + 1
    return Cell(
        signed(of.value, places) + (" points" if figure.unit == "share" else unit),
        _span(of, lambda size: signed(size, places)),
        leaning(of, 0.0, figure.better) if figure.moved else "",
    )


def in_unit(unit: str) -> tuple[float, int, str]:
    """By how much a unit's figures are multiplied, digits behind the point, and how the unit is written."""
    return UNITS.get(unit, PLAIN_UNIT)


def leaning(of: Estimate, nothing: float, better: str) -> Tone:
    """ "better" or "worse" where the whole interval is on one side of what would be no difference."""
    if of.interval is None or of.interval[0] <= nothing <= of.interval[1]:
        return ""
    return "better" if (of.interval[0] > nothing) == (better == "higher") else "worse"


def runtime(run: Run) -> str:
    """`ONNX Runtime CPU`; a backend that has no other name is called as it calls itself."""
    return RUNTIMES.get(run.runtime, run.runtime)


def setting(settings: Settings, *, without: str = "") -> str:
    """`640 × 480 pictures, 3 people, free-running`; `without` the one that is swept."""
    told = {
        "size": settings.size and f"{settings.size[1]} × {settings.size[0]} pixels",
        "people": settings.people is not None and plural(settings.people, "person", "people"),
        "batch": settings.batch is not None and settings.batch != 1 and f"batch {settings.batch}",
        "proposals": settings.proposals is not None and plural(settings.proposals, "proposal"),
        "pace_hz": f"a frame every {1e3 / settings.pace_hz:.1f} ms" if settings.pace_hz else "free-running",
    }  # fmt: skip
    return ", ".join(text for name, text in told.items() if text and name != without)


def _span(of: Estimate, show: Callable[[float], str]) -> str:
    return "" if of.interval is None else f"{show(of.interval[0])} to {show(of.interval[1])}"


def _places(size: float) -> int:
    return 1 if not size else min(3, max(0, 2 - math.floor(math.log10(abs(size)))))
