"""What a report has to say first: what was measured, on what, and what was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wholebody.benchmarks.recorded import Accuracy, Latency, Run
from wholebody.benchmarks.report.document import Block, Listing, Section, Text
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.overview import overview
from wholebody.benchmarks.report.provenance import machine_name, machines
from wholebody.benchmarks.report.wording import number, plural
from wholebody.benchmarks.rounds import baselines

__all__ = ["lead", "summary_section"]

ENOUGH_FRAMES = 200  # for a 99th percentile that two frames do not decide
BUSY = 0.25  # load a core before a run, from which on others had a share in it


def lead(runs: Sequence[Run]) -> str:
    """One sentence: how much, on what, when."""
    if not runs:
        return "Nothing has been measured yet."
    timed = sum(isinstance(run, Latency) for run in runs)
    judged = len(runs) - timed
    counts = [plural(timed, "latency run")] * bool(timed) + [plural(judged, "accuracy run")] * bool(judged)
    where = " and ".join(dict.fromkeys(machine_name(found[0].machine) for found in machines(runs).values()))
    days = sorted({run.when[:10] for run in runs if run.when})
    when = "" if not days else f", {days[0]}" if len(days) == 1 else f", {days[0]} to {days[-1]}"
    return f"{' and '.join(counts)} on {where}{when}."


def summary_section(latency: Sequence[Latency], accuracy: Sequence[Accuracy], names: Names) -> Section:
    """Measured, and not measured."""
    runs = [*latency, *accuracy]
    if not runs:
        how = "Measure with `wholebody bench latency STUDENT --runs runs.jsonl`, then make this report again."
        return Section("In short", [Text(how)])
    blocks: list[Block] = [
        Listing([*_fastest(latency, names), *_measured(latency, accuracy, names)]),
        overview(latency, accuracy, names),
    ]
    if caveats := list(_caveats(latency, accuracy)):
        blocks += [Text("What these figures do not say:"), Listing(caveats)]
    return Section("In short", blocks)


def _measured(latency: Sequence[Latency], accuracy: Sequence[Accuracy], names: Names) -> Iterator[str]:
    runs = [*latency, *accuracy]
    students = list(dict.fromkeys(names.student(run) for run in runs))
    yield (
        f"{plural(len(students), 'student')}: {', '.join(students)}; run as "
        f"{', '.join(dict.fromkeys(map(names.way, runs)))}."
    )
    frames = sum(run.samples or 0 for run in latency)
    if frames:
        groups = len({run.group for run in latency})
        yield (
            f"Latency: {frames:,} frames counted, in {plural(groups, 'setting')} that were measured in turns."
        )
    datasets = list(dict.fromkeys((run.dataset, run.pictures) for run in accuracy))
    if datasets:
        told = ", ".join(
            f"{name} ({plural(count, 'picture') if count else 'pictures not counted'})"
            for name, count in datasets
        )
        yield f"Accuracy: {told}."


def _fastest(latency: Sequence[Latency], names: Names) -> Iterator[str]:
    """For each student the fastest way beside PyTorch in its first setting."""
    of = baselines(latency)
    seen = set()
    for run in latency:
        student = names.student(run)
        if student in seen or id(run) not in of or not of[id(run)].is_reference:
            continue
        seen.add(student)
        turns = [r for r in latency if of.get(id(r)) is of[id(run)] and r.figure("p50")]
        reference = of[id(run)].figure("p50")
        best = min(turns, key=lambda r: r.ms["total"]["p50"].value, default=None)
        if best and reference and best is not of[id(run)]:
            median = best.ms["total"]["p50"].value
            yield (
                f"{student} is fastest as {names.way(best)}: {number(median)} ms a frame (median), where "
                f"PyTorch takes {number(reference.value)} ms."
            )


def _caveats(latency: Sequence[Latency], accuracy: Sequence[Accuracy]) -> Iterator[str]:
    runs: list[Run] = [*latency, *accuracy]
    if not any(gpu in run.backend.lower() for run in runs for gpu in ("cuda", "tensorrt")):
        yield "Nothing ran on a GPU: no figure here speaks of CUDA or TensorRT."
    if not latency:
        yield "No latency was measured."
    elif not any(run.settings.pace_hz for run in latency):
        yield "No frames came at a camera's pace: all ran one upon the other."
    if latency and not any(run.energy for run in latency):
        yield "Energy could not be read."
    if not accuracy:
        yield "No accuracy was measured: what is fast here need not be right."
    yield from _doubts(latency, runs)
    if lone := [run for run in accuracy if run.reference is None]:
        yield f"{plural(len(lone), 'accuracy run')} had no PyTorch reference beside it."


def _doubts(latency: Sequence[Latency], runs: Sequence[Run]) -> Iterator[str]:
    if few := [run for run in latency if (run.samples or 0) < ENOUGH_FRAMES]:
        yield (
            f"{plural(len(few), 'latency run')} of fewer than {ENOUGH_FRAMES} frames: take p99 and max with "
            "caution."
        )
    if busy := [
        run for run in latency if (run.machine.get("load") or 0) > BUSY * (run.machine.get("cores") or 1)
    ]:
        worst = max(run.machine["load"] for run in busy)
        yield (
            f"Other work ran on the machine before {plural(len(busy), 'latency run')} (load up to "
            f"{worst:.1f}): trust ratios of what took turns, not single figures."
        )
    if unverified := sorted(
        {
            run.model.file or run.model.name
            for run in runs
            if run.model.verified is not True and "torch" not in run.backend
        }
    ):
        yield f"Without a certificate: {', '.join(unverified)}."
    if any(run.git and run.git.endswith("+dirty") for run in runs):
        yield "Some runs were made with files that are in no revision."
    if len(machines(runs)) > 1:
        yield "Several machines were measured: only compare what is of the same one."
