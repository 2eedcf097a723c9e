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
from wholebody.export.verify import verify_dope
from wholebody.export.zoo import bundled
from wholebody.runtime.artefact import Artefact, read_artefact
from wholebody.runtime.loading import load
from wholebody.runtime.media import open_output, open_source, write_image
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
    threads: int | None = None,
    console: Console | None = None,
) -> DemoReport:
    """Export dope-mini into `output`, verify it, run it on bundled pictures and on `picture`, and report.

    Writes dope-mini.onnx with its sidecar, annotated pictures with the 3D poses, people.jsonl, report.json
    and report.md. Raises WholebodyError.
    """
    say = (console or Console(quiet=True)).print
    output = Path(output)
    pictures = [*([Path(picture)] if picture is not None else []), *calibration_pictures()]
    with open_source(pictures) as source:  # before any work: a picture that is not there ends the demo here
        open_output(output, source)  # and an output that cannot be written, too
        checkpoint = load_checkpoint(bundled("dope-mini"))
        student = export_dope(checkpoint, output / "dope-mini.onnx", images=calibration_pictures()[0].parent)
        say(f"exported {student.path}", soft_wrap=True)
        certificate = verify_dope(read_artefact(student.path), checkpoint, source.frames())
    say(certificate.table(), soft_wrap=True, highlight=False, markup=False)
    people, drawn, times = _run(student, checkpoint, pictures, output, threads)
    report = DemoReport(student.path, certificate, people, len(pictures), drawn, times)
    _write_report(report, output)
    say(
        f"found {people} people in {len(pictures)} pictures; {len(drawn)} drawn in {output}, open {drawn[0]}",
        soft_wrap=True,
    )
    return report


def _run(
    student: Artefact, checkpoint: DopeCheckpoint, pictures: list[Path], output: Path, threads: int | None
) -> tuple[int, list[Path], dict[str, dict[str, float]]]:
    """Both runtimes on every picture, turn about; ONNX Runtime's people are the ones drawn."""
    pose = load(student.path, threads=threads)
    size = (student.spec.input.height, student.spec.input.width)
    reference = DopePose(PyTorch(checkpoint, size, checkpoint.config.proposals), student.spec)
    found, drawn = 0, []
    times: dict[str, list[dict[str, float]]] = {"ONNX Runtime": [], "PyTorch": []}
    with RecordWriter(output / "people.jsonl") as records, open_source(pictures) as source:
        for number, frame in enumerate(source.frames()):
            for name, runner in (("ONNX Runtime", pose), ("PyTorch", reference)):
                runner(frame.image)  # the caches and thread pools of the one before are cold
                people = runner(frame.image)
                times[name].append(dict(people.metadata["times_ms"]))
                if name == "ONNX Runtime":
                    records.write(frame, people)
                    found += len(people)
                    if number < SHOWN:
                        path = output / f"{Path(frame.name).stem}.wholebody.png"
                        write_image(path, annotate(frame.image, people, view3d=True))
                        drawn.append(path)
    return found, drawn, {name: _median(rows) for name, rows in times.items()}


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
    (output / "report.md").write_text("\n".join(lines))
    (output / "report.json").write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False, default=str))
