"""A run of accuracy as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["markdown"]

Run = Mapping[str, Any]
Metric = Mapping[str, Any]
UNITS = {"share": "%", "mm": "mm", "px": "px", "": ""}
FEW = 30  # pictures
BOXES = {
    "true": "The student was given the true boxes.",
    "detected": "The student was given the boxes of {detector}.",
    None: "The student found people by itself, in whole pictures.",
}


def markdown(run: Run) -> str:
    """What was measured, a row for each metric, what the figures mean, and the machine."""
    dataset = run["dataset"]
    lines = [
        _heading(run),
        "",
        *_table(run),
        "",
        *_notes(run),
        "",
        dataset["notes"],
        *_worst(run),
        "",
        _where(run),
    ]
    return "\n".join(lines)


def _heading(run: Run) -> str:
    model, dataset, reference = run["model"], run["dataset"], run["reference"]
    beside = f", beside {_said(reference)}" if reference else ""
    many = f"{dataset['pictures']:,} picture{'s' if dataset['pictures'] != 1 else ''}"
    size = run["settings"]["size"]
    of = f" of {size[1]} x {size[0]}" if size else ""
    return (
        f"Accuracy of {model['name']} ({model['precision']}, SHA-256 {model['sha256'][:12]}) on "
        f"{dataset['title']}: {many}{of}{beside}."
    )


def _said(reference: Mapping[str, Any]) -> str:
    return f"{reference['file']} in {reference['backend']} (SHA-256 {reference['sha256'][:12]})"


def _table(run: Run) -> list[str]:
    with_reference = run["reference"] is not None
    head = ["", run["model"]["name"], *(["reference", "difference"] if with_reference else []), "of"]
    rows = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for metric in run["metrics"].values():
        cells = [_arrow(metric), _span(metric, metric["value"])]
        if with_reference:
            cells += [_number(metric, metric["reference"]), _difference(metric, few=_few(run))]
        rows.append(_row([*cells, f"{metric.get('count') or 0:,}"]))
    return rows


def _few(run: Run) -> bool:
    return int(run["dataset"]["pictures"]) < FEW


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arrow(metric: Metric) -> str:
    return f"{metric['title']} {'↑' if metric['better'] == 'higher' else '↓'}"


def _text(metric: Metric, value: float, sign: str = "", digits: int = 1) -> str:
    """Without its unit; what is rounded away has no sign."""
    text = f"{100 * value if metric['unit'] == 'share' else value:{sign}.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def _united(metric: Metric, text: str) -> str:
    return f"{text} {UNITS[metric['unit']]}".strip()


def _number(metric: Metric, value: float | None) -> str:
    return "–" if value is None else _united(metric, _text(metric, value))


def _span(metric: Metric, span: Sequence[float] | None) -> str:
    """`85.9 % [84.1, 87.6]`: the unit once."""
    if span is None:
        return "–"
    value, low, high = (_text(metric, number) for number in span)
    return f"{_united(metric, value)} [{low}, {high}]"


def _difference(metric: Metric, *, few: bool) -> str:
    """Said to be better or worse where the interval, as it is shown, has no 0 in it."""
    difference = metric["difference"]
    if difference is None:
        return "–"
    value, low, high = (_text(metric, number, "+", digits=2) for number in difference)
    shown = f"{_united(metric, value)} [{low}, {high}]"
    if few or low[0] != high[0] or low[0] not in "+−":
        return shown
    return f"{shown} {'better' if (low[0] == '+') == (metric['better'] == 'higher') else 'worse'}"


def _notes(run: Run) -> list[str]:
    notes = [
        "In brackets 95 % intervals by bootstrap over pictures (1,000 resamples); `of` is how many "
        "people, hands, faces or joints a figure is of."
    ]
    if run["reference"]:
        notes.append(
            "The reference saw the same pictures in the same way; its difference is paired by picture, "
            "of shares in percentage points, and said to be better or worse where its interval excludes 0. "
            "Errors `found` are of those whom each found, which need not be the same."
        )
    else:
        notes.append(
            "No PyTorch reference was at hand, so there are no differences: give one as --reference."
        )
    if _few(run):
        notes.append(
            f"Of fewer than {FEW} pictures the intervals say little: they are too narrow, and nothing "
            "is said to be better or worse."
        )
    detector = run["detector"]["name"] if run["detector"] else ""
    notes.append(BOXES[run["settings"]["boxes"]].format(detector=detector))
    if run["settings"]["flip_test"]:
        notes.append("It was asked about every crop twice, once mirrored.")
    return [" ".join(notes)]


def _worst(run: Run) -> list[str]:
    files = [each["file"] for each in run["worst"] if each["file"]]
    return ["", f"The worst pictures are drawn in {files[0]} to {files[-1]}."] if files else []


def _where(run: Run) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in (machine.get("versions") or {}).items())
    return f"{run['backend']} on {machine['cpu']}, {machine['cores']} cores, {machine['system']}; {versions}"
