"""SVG from Matplotlib that takes its colours from the page, so that it is at home in light and dark.

Figures are drawn in the light colours of `LIGHT`; every one is then written as the CSS variable of its name.
The same SVG as a file of its own brings both sets with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from wholebody.benchmarks.report.document import Chart

__all__ = [
    "LIGHT",
    "MARKERS",
    "SERIES",
    "chart",
    "fixed_axes",
    "look",
    "standalone",
    "style_axes",
    "variables",
]

LIGHT = {
    "ink": "#1d2129", "muted": "#667084", "grid": "#e3e6eb", "paper": "#fffffe",
    "c0": "#2563b8", "c1": "#c8591c", "c2": "#16836b", "c3": "#8b4bb3",
    "c4": "#a67c00", "c5": "#c03a6b", "c6": "#4b7a1f", "c7": "#5b6472",
}  # fmt: skip
DARK = {
    "ink": "#e6e8ec", "muted": "#98a1b0", "grid": "#30353e", "paper": "#15181d",
    "c0": "#6ea8ff", "c1": "#f0955a", "c2": "#4fc3a5", "c3": "#c592ea",
    "c4": "#dab642", "c5": "#f07fa6", "c6": "#98c464", "c7": "#a5aebb",
}  # fmt: skip
SERIES = tuple(LIGHT[f"c{i}"] for i in range(8))
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
SIDE = 0.06  # inches left and right of axes that have no labels there
WIDE, NARROW = 10.0, 5.0  # inches; 72 units each, as CSS pixels on the page
RC: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 12,
    "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["muted"], "axes.edgecolor": LIGHT["grid"],
    "axes.labelsize": 12, "xtick.color": LIGHT["grid"], "ytick.color": LIGHT["grid"], "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5, "xtick.labelcolor": LIGHT["muted"], "ytick.labelcolor": LIGHT["muted"],
    "grid.color": LIGHT["grid"], "grid.linewidth": 1, "axes.grid.axis": "x", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "legend.frameon": False,
    "legend.fontsize": 11.5, "legend.handlelength": 1.6, "figure.facecolor": "none", "axes.facecolor": "none",
    "savefig.facecolor": "none", "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0,
    "axes.titlesize": 12.5, "axes.titlelocation": "left", "axes.titleweight": "bold",
}  # fmt: skip


def chart(name: str, draw: Callable[[float], Figure], *, caption: str, alt: str) -> Chart:
    """`draw`'s figure at both widths, which it is given in inches."""
    wide, narrow = (_svg(draw, width, f"{name}-{kind}") for kind, width in (("w", WIDE), ("n", NARROW)))
    return Chart(name, wide, narrow, caption, alt)


def look(number: int) -> tuple[str, str, Any]:
    """Colour, marker and dash of the so-manieth of a chart's lines; no two of the first 64 are alike."""
    turn = number // len(SERIES)
    return SERIES[number % len(SERIES)], MARKERS[(number + turn) % len(MARKERS)], DASHES[turn % len(DASHES)]


def fixed_axes(width: float, height: float, *, top: float, bottom: float = 0.55) -> tuple[Figure, Any]:
    """A figure with one pair of axes, with margins in inches; it is drawn much faster than a layout is "
    "found."""
    figure = Figure((width, height))
    sides = {"left": SIDE / width, "right": 1 - SIDE / width}
    figure.subplots_adjust(**sides, top=1 - top / height, bottom=bottom / height)
    return figure, figure.subplots()


def style_axes(axes: Any, grid: str = "x") -> None:
    """Grid lines across one axis, and no others."""
    axes.grid(visible=True, axis=grid)
    axes.tick_params(which="both", length=0)


def variables() -> str:
    """CSS that gives the page both sets of colours."""
    light, dark = (" ".join(f"--{name}: {hue};" for name, hue in hues.items()) for hues in (LIGHT, DARK))
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def standalone(svg: str) -> str:
    """An SVG as a file: with its colours and a font."""
    font = "text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif !important }"
    background = "svg { background: var(--paper) }"
    head, rest = svg.split(">", 1)
    return f"{head}><style>{variables()}\n{background}\n{font}</style>{rest}\n"


def _svg(draw: Callable[[float], Figure], width: float, name: str) -> str:
    with mpl.rc_context({**RC, "svg.hashsalt": name}), StringIO() as text:
        figure = draw(width)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        drawn = text.getvalue()
    return _in_css_colors(_with_own_ids(_bare(drawn), name))


def _bare(svg: str) -> str:
    """The <svg> element alone, as large as its surroundings let it be."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg ") :], flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    (box,) = re.findall(r'viewBox="([^"]+)"', head)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{rest.strip()}'.replace(
        "xlink:href", "href"
    )


def _with_own_ids(svg: str, name: str) -> str:
    """Ids that something refers to are made unique to the figure; the others are dropped."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))

    def own(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', own, svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)


def _in_css_colors(svg: str) -> str:
    names = {hue: name for name, hue in LIGHT.items()}

    def css(match: re.Match[str]) -> str:
        name = names.get(match[0])
        return f"var(--{name}, {match[0]})" if name else match[0]

    return re.sub(r"#[0-9a-f]{6}\b", css, svg)
