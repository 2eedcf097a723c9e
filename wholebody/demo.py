"""The main job on the bundled student: export, verify, run, and a short report."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from wholebody.export.certificate import Certificate
from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
from wholebody.export.onnx import export_dope
from wholebody.export.reference import PyTorch
from wholebody.export.stages import torch_threads
from wholebody.export.verify import verify_dope
from wholebody.export.zoo import bundled
from wholebody.runtime.artefact import Artefact, read_artefact
from wholebody.runtime.cpu import cores
from wholebody.runtime.loading import load_dope
from wholebody.runtime.media import Frame, Output, Source, open_output, open_source
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.records import RecordWriter
from wholebody.runtime.run import annotate

__all__ = ["DemoReport", "calibration_pictures", "run_demo"]

SHOWN = 12  # pictures of the calibration set to draw
STAGES = ("preprocess", "network", "postprocess")


@dataclass(frozen=True)
class DemoReport:
    """What the demo found and wrote; prints itself on a rich console."""

    student: Path
    certificate: Certificate
    people: int
    pictures: int
    drawn: list[Path]
    times_ms: dict[str, dict[str, float]]

    def __rich__(self) -> Table:
        table = Table(title="median ms a picture", title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        for stage in (*STAGES, "total"):
            table.add_column(stage, justify="right")
        for backend, times in self.times_ms.items():
            table.add_row(backend, *(f"{times[stage]:.1f}" for stage in (*STAGES, "total")))
        return table

    def to_dict(self) -> dict[str, object]:
        return {
            "student": self.student.name,
            "people": self.people,
            "pictures": self.pictures,
            "drawn": [path.name for path in self.drawn],
            "times_ms": self.times_ms,
            "certificate": self.certificate.to_dict(),
        }


def calibration_pictures() -> list[Path]:
    """The rendered pictures that come with wholebody."""
    folder = Path(str(resources.files("wholebody"))) / "calibration_data"
    return sorted(folder.glob("*.jpg"))


def run_demo(
    output: str | Path,
    picture: str | Path | None = None,
    *,
    pictures: int | None = None,
    threads: int | None = None,
    console: Console | None = None,
) -> DemoReport:
    """Export dope-mini into `output`, verify it, run it on bundled pictures and on `picture`, and report.

    pictures: how many of the bundled ones; None takes all. threads: of either runtime; None takes the
    physical cores. Writes dope-mini.onnx with its sidecar, annotated pictures with the 3D poses,
    people.jsonl, report.json and report.md. Raises WholebodyError.
    """
    console, output = console or Console(quiet=True), Path(output)
    own, rendered = [] if picture is None else [Path(picture)], calibration_pictures()[:pictures]
    with (
        open_source(rendered) as measured,
        open_source([*own, *rendered]) as source,
        open_output(output, source) as drawings,  # what cannot be read or written ends the demo here
        torch_threads(threads or cores()),
    ):
        checkpoint = load_checkpoint(bundled("dope-mini"), DopeCheckpoint)
        with console.status("exporting dope-mini and measuring its drift from PyTorch"):
            student = export_dope(checkpoint, output / "dope-mini.onnx", images=measured.frames())
        console.print(f"exported {student.path}")
        with console.status("verifying the file that was written"):
            certificate = verify_dope(read_artefact(student.path), checkpoint, source.frames())
        console.print(certificate.table())
        with console.status("looking for people, in ONNX Runtime and in PyTorch"):
            people, times = _run(student, checkpoint, source, drawings, threads)
    report = DemoReport(student.path, certificate, people, certificate.pictures, drawings.written, times)
    _write_report(report, output)
    console.print(
        f"found {people} people in {report.pictures} pictures; {len(report.drawn)} drawn in {output}, open "
        f"{report.drawn[0]}"
    )
    return report


def _run(
    student: Artefact, checkpoint: DopeCheckpoint, source: Source, drawings: Output, threads: int | None
) -> tuple[int, dict[str, dict[str, float]]]:
    """Both runtimes on every picture, turn about; ONNX Runtime's people are counted, the first ones drawn."""
    exported = load_dope(student.path, threads=threads)
    size = (exported.spec.input.height, exported.spec.input.width)
    reference = DopePose(PyTorch(checkpoint, size, checkpoint.config.proposals), exported.spec)
    runners = {"ONNX Runtime": exported, "PyTorch": reference}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in runners}
    found = 0
    with RecordWriter(student.path.with_name("people.jsonl")) as records:
        for number, frame in enumerate(source.frames()):
            answers = {name: _second_answer(runner, frame) for name, runner in runners.items()}
            for name, answer in answers.items():
                times[name].append(dict(answer.metadata["times_ms"]))
            people = answers["ONNX Runtime"]
            records.write(frame, people)
            found += len(people)
            if number < SHOWN:
                drawings.write(frame, annotate(frame.image, people, view3d=True))
    return found, {name: _median(rows) for name, rows in times.items()}


def _second_answer(runner: DopePose, frame: Frame) -> People:
    """On the first call the caches and thread pools are still those of the runner before."""
    runner(frame.image)
    return runner(frame.image)


def _median(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    table = np.array([[row[stage] for stage in STAGES] for row in rows])
    medians = {stage: round(float(v), 2) for stage, v in zip(STAGES, np.median(table, axis=0), strict=True)}
    return {**medians, "total": round(float(np.median(table.sum(axis=1))), 2)}


def _write_report(report: DemoReport, output: Path) -> None:
    times = [
        f"| {backend} | " + " | ".join(f"{values[stage]:.1f}" for stage in (*STAGES, "total")) + " |"
        for backend, values in report.times_ms.items()
    ]
    lines = [
        "# wholebody demo",
        "",
        f"{report.people} people in {report.pictures} pictures, found by `{report.student.name}`.",
        "",
        "Median milliseconds a picture on this machine:",
        "",
        "| | preprocess | network | post-process | total |",
        "|---|---|---|---|---|",
        *times,
        "",
        "Drift of the exported student from PyTorch:",
        "",
        "```",
        report.certificate.table(),
        "```",
        "",
        *(f"![{path.stem}]({path.name})" for path in report.drawn),
        "",
    ]
    (output / "report.md").write_text("\n".join(lines), "utf-8")
    (output / "report.json").write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False), "utf-8")
