"""Measure a student on a data set, beside its reference, and keep what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from wholebody.benchmarks.accuracy.asking import has_3d, kind_of_boxes
from wholebody.benchmarks.accuracy.measuring import Evaluation, evaluate
from wholebody.benchmarks.accuracy.opening import Asked, open_dataset, title_of
from wholebody.benchmarks.accuracy.record import Subject, identity, record
from wholebody.benchmarks.accuracy.reference import find_reference, open_reference
from wholebody.benchmarks.accuracy.worst import draw_worst
from wholebody.benchmarks.json_file import prove_writable
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.provenance import provenance
from wholebody.benchmarks.runs import append_run, read_runs
from wholebody.runtime.artefact import sidecar_path
from wholebody.runtime.errors import SourceError
from wholebody.runtime.loading import Pose, load
from wholebody.runtime.skeletons import SKELETONS

__all__ = ["measure"]


def measure(
    student: Path,
    asked: Asked,
    *,
    detector: Path | None = None,
    reference: Path | None = None,
    runs: Path | None = None,
    worst: Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    flip_test: bool = False,
    options: Mapping[str, Any] | None = None,
    detector_options: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The run (docs/runs.md): that of `runs` where the same was measured before, else measured now.

    student, detector, backend, threads, options and detector_options as for `wholebody.load`
    reference   a checkpoint or an FP32 ONNX file; None looks for the one the student came from, and does
                without where there is none
    runs        a file that the run is appended to; what it holds already is not measured again
    worst       a folder for the worst pictures; None: one beside the runs, or none at all without
    console     tells what is done, and shows the progress where it is a terminal

    Raises WholebodyError for whatever of these a user can mend, before any picture is looked at where it can
    be known by then.
    """
    if runs is not None:
        networks = [path for path in (student, detector, reference) if path is not None]
        prove_writable(runs, keep=[*networks, *map(sidecar_path, networks)])
    options_of_pipeline: dict[str, Any] = {"flip_test": True} if flip_test else {}
    folder = _folder(runs, worst)
    pose = load(
        student, detector=detector, backend=backend, threads=threads, options=options or None,
        detector_options=detector_options or None, **options_of_pipeline,
    )  # fmt: skip
    subject = _subject(student, detector, pose, asked, reference, threads, options)
    measured = {} if runs is None else {run.get("id"): run for run in read_runs(runs)}
    if (already := measured.get(identity(subject))) is not None:
        _tell(console, f"measured already, on {already.get('when')}: taken from {runs}")
        return already
    if subject.reference is None and console is not None and console.is_terminal:
        _tell(console, f"no reference of {student.name} was found: without differences; give --reference")
    machine = Machine.here()
    evaluation = evaluate(subject.dataset, pose, subject.beside, console=console)
    drawn = _draw(subject, evaluation, folder, runs)
    run = {**provenance(machine), **record(subject, evaluation, drawn, title_of(asked))}
    if runs is not None:
        append_run(runs, run)
    return run


def _subject(
    student: Path,
    detector: Path | None,
    pose: Pose,
    asked: Asked,
    reference: Path | None,
    threads: int | None,
    options: Mapping[str, Any] | None,
) -> Subject:
    skeleton = SKELETONS[pose.spec.skeleton]
    dataset = open_dataset(asked, skeleton, with_3d=has_3d(pose), boxes=kind_of_boxes(pose))
    path = reference or find_reference(student, pose)
    opened = None if path is None else open_reference(path, student, pose, threads=threads, options=options)
    return Subject(student, detector, pose, opened, dataset, threads)


def _draw(
    subject: Subject, evaluation: Evaluation, folder: Path | None, runs: Path | None
) -> list[dict[str, Any]]:
    """The worst pictures, drawn where there is a folder for them; files are named from that of the runs."""
    paths: list[Path] = []
    if folder is not None and evaluation.worst:
        metric = next(m for m in subject.dataset.metrics if m.name == evaluation.ranked_by)
        paths = draw_worst(
            folder, subject.dataset, metric, evaluation.worst, subject.pose, subject.beside, identity(subject)
        )
    return [
        {
            "picture": subject.dataset.pictures[each.index].name,
            "figure": round(each.figure, 6),
            "reference": None if each.reference is None else round(each.reference, 6),
            "file": _named(paths[place], runs) if paths else None,
        }
        for place, each in enumerate(evaluation.worst)
    ]


def _folder(runs: Path | None, worst: Path | None) -> Path | None:
    """Where the worst pictures go, there before any work."""
    folder = runs.with_name(f"{runs.stem}-worst") if worst is None and runs is not None else worst
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"cannot write {folder}: {error.strerror}; choose another place") from error
    return folder


def _named(path: Path, runs: Path | None) -> str:
    """Seen from the folder of the runs, where it lies below."""
    beside = Path() if runs is None else runs.parent
    try:
        return path.resolve().relative_to(beside.resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def _tell(console: Console | None, text: str) -> None:
    if console is not None:
        console.print(text)
