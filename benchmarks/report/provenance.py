"""What a report's figures were measured on and with, and how to measure them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wholebody.benchmarks.recorded import Model, Run
from wholebody.benchmarks.report.document import Block, Cell, Code, Section, Table, Text
from wholebody.benchmarks.report.wording import NOTHING, number

__all__ = ["machine_name", "machines", "provenance_sections"]

FIRST = ("host", "cpu", "cores", "mhz", "governor", "power_mode", "system", "gpu")
NAMES = {"cpu": "CPU", "mhz": "MHz", "gpu": "GPU", "power_mode": "power mode"}
VARYING = ("load", "mhz", "clocks")  # from run to run on one machine; shown as their range
CERTIFICATES = {True: "verified", False: "failed", None: "none"}


def provenance_sections(runs: Sequence[Run], files: Sequence[Path]) -> list[Section]:
    """The machine, the networks, and the commands; nothing where there are no runs."""
    if not runs:
        return []
    return [
        Section("The machine", [_machine_table(runs)]),
        Section("The networks", [_network_table(runs)]),
        Section("How to repeat it", list(_repeat(runs, files))),
    ]


def machines(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by the machine they were made on."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(f"{run.machine.get('host')} {machine_name(run.machine)}", []).append(run)
    return found


def machine_name(machine: Mapping[str, Any]) -> str:
    """`AMD EPYC 9R14, 2 cores, Linux x86_64`, and the GPU where there is one."""
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    gpu = machine.get("gpu")
    told = (
        machine.get("cpu"),
        cores,
        gpu.get("name") if isinstance(gpu, Mapping) else gpu,
        machine.get("system"),
    )
    return ", ".join(str(each) for each in told if each) or "an unknown machine"


def _machine_table(runs: Sequence[Run]) -> Table:
    each = [_fields(found) for found in machines(runs).values()]
    rows = list(dict.fromkeys(name for fields in each for name in fields))
    first = [name for name in FIRST if name in rows]
    ordered = [*first, *(name for name in rows if name not in first)]
    return Table(
        "As it told of itself when the runs were made",
        ["", *(f"machine {k}" if len(each) > 1 else "" for k in range(1, len(each) + 1))],
        [[Cell(NAMES.get(name, name)), *(_cell(fields.get(name)) for fields in each)] for name in ordered],
        words=len(each) + 1,
    )


def _fields(runs: Sequence[Run]) -> dict[str, str]:
    """Every field of a machine with its values over the runs."""
    values: dict[str, list[Any]] = {}
    for run in runs:
        for name, value in _flat(run.machine):
            values.setdefault(name, []).append(value)
    return {name: _told(name, each) for name, each in values.items()}


def _flat(machine: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in machine.items():
        if isinstance(value, Mapping):
            if name == "versions":
                yield from value.items()
            else:
                yield from ((f"{NAMES.get(name, name)} {key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _told(name: str, values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    numbers = [value for value in known if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if numbers and len(numbers) == len(known) and len(set(numbers)) > 1:
        return f"{number(min(numbers))} to {number(max(numbers))}"
    return ", ".join(dict.fromkeys(_word(value) for value in known))


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str | None) -> Cell:
    return Cell(text) if text else NOTHING


def _network_table(runs: Sequence[Run]) -> Table:
    models: dict[tuple[str, str, str | None], Model] = {}
    for run in runs:
        for model in filter(None, (run.model, run.detector)):
            models.setdefault((model.name, model.precision, model.sha256), model)
    return Table(
        "Every network that was run. Verified: its certificate says that it was measured against PyTorch "
        "and kept to "
        "its budget.",
        ["Network", "precision", "file", "certificate", "SHA-256", "MB"],
        [
            [
                Cell(model.name), Cell(model.precision.upper()), _cell(model.file),
                Cell(CERTIFICATES[model.verified], tone="worse" if model.verified is False else ""),
                Cell(f"`{model.sha256[:16]}`") if model.sha256 else NOTHING,
                NOTHING if model.megabytes is None else Cell(number(model.megabytes)),
            ]
            for model in models.values()
        ],
        words=5,
    )  # fmt: skip


def _repeat(runs: Sequence[Run], files: Sequence[Path]) -> Iterator[Block]:
    commands = list(dict.fromkeys(run.command for run in runs if run.command))
    revisions = list(dict.fromkeys(run.git for run in runs if run.git))
    if revisions:
        yield Text(f"Revision {', '.join(f'`{revision}`' for revision in revisions)}.")
    report = f"wholebody bench report {shlex.join(file.name for file in files)} -o report"
    yield Code([*commands, report])
    yield Text(
        "A command that was stopped goes on where it was when it is given again. Compare two "
        "versions with `wholebody bench compare old.jsonl new.jsonl`.",
        aside=True,
    )
