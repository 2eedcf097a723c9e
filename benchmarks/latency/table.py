"""Runs of latency as Markdown, read from their lines alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wholebody.benchmarks.latency.figures import FIGURES

__all__ = ["markdown"]

Run = dict[str, Any]
STAGES = ("decode", "detect", "preprocess", "upload", "network", "download", "postprocess", "total")


def markdown(runs: Sequence[Run]) -> str:
    """A heading, a table for each kind of setting, the stages, what else was measured, and the machine."""
    frames = [run for run in runs if _swept(run) is None]
    parts = [
        _heading(runs),
        *_section("Whole frames, one after the other", frames, "", lambda run: ""),
        *_stages(frames),
        *_sweep(runs, "pace_hz", "Paced: frames come at a fixed rate", "frames/s"),
        *_sweep(runs, "people", "People in the picture", "people"),
        *_sweep(runs, "batch", "Batches of crops, the network alone", "crops"),
        *_network_stages(frames),
        *_costs(frames or runs),
        _notes(runs),
    ]
    return "\n\n".join(parts)


def _swept(run: Run) -> str | None:
    settings = run["settings"]
    return next((name for name in ("pace_hz", "people", "batch") if settings[name] is not None), None)


def _heading(runs: Sequence[Run]) -> str:
    models = list(dict.fromkeys(f"{run['model']['name']} ({run['model']['precision']})" for run in runs))
    samples = sorted({run["samples"] for run in runs})
    counted = str(samples[0]) if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
    threads = runs[0]["threads"]
    return (
        f"Latency of {', '.join(models)}: {counted} frames each in turns, every one in a process of its own, "
        f"{threads} {'thread' if threads == 1 else 'threads'}. Milliseconds, with 95 % intervals."
    )


def _sweep(runs: Sequence[Run], name: str, title: str, head: str) -> list[str]:
    chosen = [run for run in runs if _swept(run) == name]
    return _section(title, chosen, head, lambda run: f"{run['settings'][name]:g}")


def _section(title: str, runs: Sequence[Run], head: str, setting: Callable[[Run], str]) -> list[str]:
    if not runs:
        return []
    swept = [head] if head else []
    heads = [*swept, "student", "backend", *FIGURES, "/s", "times as fast"]
    rows = [
        [*([setting(run)] if head else []), *_who(run), *_figures(run), _pace(run), _over(run, runs)]
        for run in runs
    ]
    return [f"**{title}**", _table(heads, rows, numbers=len(FIGURES) + 1, words=2 + len(swept))]


def _who(run: Run) -> list[str]:
    proposals = run["settings"]["proposals"]
    return [run["model"]["file"] + (f", {proposals} proposals" if proposals else ""), run["backend"]]


def _figures(run: Run) -> list[str]:
    total = run["ms"]["total"]
    value, low, high = total["p50"]
    spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return [f"{value:.2f}{spread}", *(f"{total[name][0]:.2f}" for name in FIGURES[1:])]


def _pace(run: Run) -> str:
    """Frames a second of work, crops a second of a batch, or how many were late."""
    settings, middle = run["settings"], run["ms"]["total"]["p50"][0]
    if settings["pace_hz"] is None:
        return f"{1e3 * (settings['batch'] or 1) / middle:.1f}"
    times = [ms for times in run["times"] for ms in times]
    late = sum(ms > 1e3 / settings["pace_hz"] for ms in times)
    return f"{100 * late / len(times):.0f} % late"


def _over(run: Run, runs: Sequence[Run]) -> str:
    """Beside whom it was measured, and how they compare."""
    over = run["over"]
    if over is None:
        return "1"
    base = next(
        (other for other in runs if other["id"] == over["id"] and other["group"] == run["group"]), None
    )
    value, low, high = over["total"]
    of = "" if base is None else f" as {base['model']['file']} on {_short(base['backend'])}"
    return f"{value:.2f} ({low:.2f} to {high:.2f}){of}"


def _short(backend: str) -> str:
    kind, _, which = backend.partition(":")
    return which.removesuffix("ExecutionProvider") if kind == "onnxruntime" else kind


def _stages(runs: Sequence[Run]) -> list[str]:
    stages = [stage for stage in STAGES if any(stage in run["ms"] for run in runs)]
    if not stages:
        return []
    rows = [[*_who(run), *(_middle(run["ms"].get(stage)) for stage in stages), _outside(run)] for run in runs]
    heads = ["student", "backend", *stages, "outside the network"]
    return [
        "**Stages, medians** (decoding is not in the total)",
        _table(heads, rows, numbers=len(stages) + 1),
    ]


def _middle(figures: dict[str, Any] | None) -> str:
    return "" if figures is None else f"{figures['p50'][0]:.2f}"


def _outside(run: Run) -> str:
    network, total = (sum(map(sum, run[name])) for name in ("network_times", "times"))
    return f"{100 * (1 - network / total):.1f} %"


def _network_stages(runs: Sequence[Run]) -> list[str]:
    parts: list[str] = []
    for run in runs:
        if run["network_stages"]:
            whole = sum(run["network_stages"].values())
            rows = [[s, f"{ms:.2f}", f"{100 * ms / whole:.1f} %"] for s, ms in run["network_stages"].items()]
            title = f"**The network of {', '.join(_who(run))}, medians**"
            parts += [title, _table(["stage", "ms", "share"], rows, numbers=2, words=1)]
    return parts


def _costs(runs: Sequence[Run]) -> list[str]:
    heads = [
        "student",
        "backend",
        "MB",
        "host peak, MB",
        "device peak, MB",
        "J/frame",
        "import, s",
        "load, s",
        "first, s",
    ]
    rows = []
    for run in {(r["model"]["sha256"], r["backend"], r["settings"]["proposals"]): r for r in runs}.values():
        memory, energy, cold = run["memory"], run["energy"] or {}, run["cold_start"]
        numbers = (
            run["model"]["megabytes"], memory["host_peak_mb"], memory["device_peak_mb"],
            energy.get("joules_per_frame"), cold["import"], cold["load"], cold["first"],
        )  # fmt: skip
        rows.append([*_who(run), *("–" if number is None else f"{number:.4g}" for number in numbers)])
    return [
        "**Memory, energy, and the way from an empty process to the first people**",
        _table(heads, rows, numbers=7),
    ]


def _notes(runs: Sequence[Run]) -> str:
    from wholebody.benchmarks.machine import Machine

    machine = runs[0]["machine"]
    told = str(Machine(**{name: machine[name] for name in machine if name in Machine.__dataclass_fields__}))
    unstable = [run for run in runs if not run["warm_up"]["stable"]]
    sources = sorted({run["energy"]["source"] for run in runs if run["energy"]})
    lines = [told]
    if sources:
        lines.append(f"Energy: {', '.join(sources)}.")
    if unstable:
        names = ", ".join(dict.fromkeys(" on ".join(_who(run)) for run in unstable))
        lines.append(f"Not stable after warm-up: {names}.")
    return "\n\n".join(lines)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int, words: int = 2) -> str:
    rest = len(heads) - words - numbers
    rule = ["---"] * words + ["---:"] * numbers + ["---"] * rest
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows])
