"""What the report says of all kinds of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from wholebody.benchmarks.published import PUBLISHED
from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.recorded import Accuracy
from wholebody.benchmarks.report.document import Block, Cell, Document, Fold, Gallery, Listing, Table, Text
from wholebody.benchmarks.report.html import render_html
from wholebody.benchmarks.report.markdown import render_markdown
from wholebody.benchmarks.report.write import compose, write_report
from wholebody.runtime.errors import SourceError


def report_on(path: Path, samples: ModuleType, *runs: Mapping[str, Any]) -> Document:
    file = samples.write(path / "runs.jsonl", *runs)
    return compose(load_runs([file]), [file])


def blocks(document: Document, title: str) -> list[Block]:
    (section,) = [section for section in document.sections if section.title == title]
    return list(unfolded(section.blocks))


def unfolded(of: Any) -> Iterator[Block]:
    for block in of:
        yield block
        if isinstance(block, Fold):
            yield from unfolded(block.blocks)


def tables(document: Document, title: str) -> list[Table]:
    return [block for block in blocks(document, title) if isinstance(block, Table)]


def words(document: Document, title: str) -> str:
    found = blocks(document, title)
    points = [point for block in found if isinstance(block, Listing) for point in block.points]
    return " ".join([*(block.text for block in found if isinstance(block, Text)), *points])


def column(table: Table, name: str) -> list[Cell]:
    return [row[list(table.columns).index(name)] for row in table.rows]


def test_no_runs_are_told_as_such(tmp_path: Path, samples: ModuleType) -> None:
    document = report_on(tmp_path, samples)
    assert [section.title for section in document.sections] == ["In short", "Published by others"]
    assert "Nothing has been measured yet" in document.lead
    assert "wholebody bench latency" in render_markdown(document)
    assert "wholebody bench latency" in render_html(document)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no"):
        write_report([tmp_path / "runs.jsonl"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, samples: ModuleType) -> None:
    file = samples.write(tmp_path / "runs.jsonl")
    with pytest.raises(SourceError, match="cannot write into"):
        write_report([file], file)


def test_one_run(tmp_path: Path, samples: ModuleType) -> None:
    document = report_on(tmp_path, samples, samples.latency_run(41.0))
    (table,) = tables(document, "Latency")
    (p50,) = column(table, "p50")
    assert p50.text.startswith("41")
    assert " to " in p50.note
    assert "No accuracy was measured" in words(document, "In short")


def test_a_run_of_nothing_but_nulls(tmp_path: Path, samples: ModuleType) -> None:
    latency, accuracy = samples.latency_run(), samples.accuracy_run()
    kept = ("format", "kind", "id")
    bare = [
        {name: value if name in kept else None for name, value in run.items()} for run in (latency, accuracy)
    ]
    document = report_on(tmp_path, samples, *bare)
    assert "unnamed" in render_markdown(document)
    assert "unnamed" in render_html(document)


def test_figures_that_are_null_are_dashes(tmp_path: Path, samples: ModuleType) -> None:
    latency, accuracy = samples.latency_run(), samples.accuracy_run()
    latency["ms"]["total"] = {"p50": [41.0, None, None], "p99": [None, None, None], "max": None}
    latency["times"] = [[41.0, None], [], [None]]
    accuracy["metrics"]["body/pck"].update(value=None, difference=None, reference=None)
    document = report_on(tmp_path, samples, latency, accuracy)
    (table,) = tables(document, "Latency")
    assert column(table, "p50") == [Cell("41.0")]
    assert [cell.text for name in ("p90", "p99", "max") for cell in column(table, name)] == ["–"] * 3
    (judged,) = tables(document, "Accuracy")
    (row,) = [row for row in judged.rows if "PCK@0.1" in row[0].text]
    assert [cell.text for cell in row[1:]] == ["–"] * 3


def test_the_ratio_is_of_those_who_took_turns(tmp_path: Path, samples: ModuleType) -> None:
    torch = samples.latency_run(80.0, backend=samples.TORCH, seed=1)
    apart = samples.latency_run(40.0, group="another", precision="int8")
    document = report_on(tmp_path, samples, torch, samples.latency_run(40.0, seed=2), apart)
    (table,) = tables(document, "Latency")
    base, beside, alone = column(table, "PyTorch ÷ this")
    assert base.text == "1"
    assert beside.text in ("1.98×", "1.99×", "2.00×", "2.01×", "2.02×")
    assert beside.tone == "better"
    assert alone.text == "–"


def test_a_recorded_ratio_is_taken_over(tmp_path: Path, samples: ModuleType) -> None:
    torch = samples.latency_run(80.0, backend=samples.TORCH)
    ours = {**samples.latency_run(40.0), "over": {"id": torch["id"], "total": [3.21, 3.1, 3.3]}}
    (table,) = tables(report_on(tmp_path, samples, torch, ours), "Latency")
    assert column(table, "PyTorch ÷ this")[1] == Cell("3.21×", "3.10 to 3.30", "better")


def test_runs_without_rounds_have_no_charts_of_them(tmp_path: Path, samples: ModuleType) -> None:
    run = {**samples.latency_run(), "times": None, "network_times": None}
    document = report_on(tmp_path, samples, run)
    assert "distribution" not in render_markdown(document)
    assert "stages-0" in render_markdown(document)


def test_caveats_are_told(tmp_path: Path, samples: ModuleType) -> None:
    machine = {**samples.MACHINE, "load": 1.9}
    run = {**samples.latency_run(rounds=5, machine=machine), "git": "de2d80b+dirty"}
    run["model"]["verified"] = None
    told = words(report_on(tmp_path, samples, run), "In short")
    for expected in (
        "Nothing ran on a GPU", "Energy could not be read", "fewer than 200 frames", "load up to 1.9",
        "in no revision", "Without a certificate: dope-mini-fp32.onnx", "No accuracy", "camera's pace",
    ):  # fmt: skip
        assert expected in told


def test_what_was_measured_is_not_denied(tmp_path: Path, samples: ModuleType) -> None:
    machine = {**samples.MACHINE, "gpu": {"name": "H200", "driver": "570"}}
    run = samples.latency_run(machine=machine, pace_hz=30.0, backend="tensorrt:10.3.0")
    run["energy"] = {"joules_per_frame": 1.25, "watts": 31.0, "source": "NVML"}
    document = report_on(tmp_path, samples, run, samples.accuracy_run(machine=machine))
    told = words(document, "In short")
    for denied in ("on a GPU", "Energy", "fewer than", "Other work", "certificate", "No accuracy", "pace"):
        assert denied not in told
    assert "H200" in document.lead
    (cost,) = tables(document, "Memory, energy and cold start")
    assert column(cost, "J/frame")[0].text == "1.25"


def test_differences_are_told_by_their_interval(tmp_path: Path, samples: ModuleType) -> None:
    worse, same = samples.accuracy_run(-0.05, precision="int8"), samples.accuracy_run(0.0)
    (table,) = tables(report_on(tmp_path, samples, same, worse), "Accuracy")
    assert table.columns[1:] == [
        "reference",
        "FP32 · ONNX Runtime CPU",
        "difference",
        "INT8 · ONNX Runtime CPU",
        "difference",
    ]
    assert {row[3].tone for row in table.rows} == {""}
    assert {row[5].tone for row in table.rows} == {"worse"}
    error = next(row for row in table.rows if row[0].text == "body: MPJPE")
    assert [cell.text for cell in error[1:]] == ["133.0 mm", "133.0 mm", "0.00 mm", "139.7 mm", "+6.65 mm"]
    share = next(row for row in table.rows if row[0].text == "body: PCK@0.1")
    assert share[5].text == "−4.51 points"


def test_the_chart_shows_every_part_and_what_moved_most(samples: ModuleType, tmp_path: Path) -> None:
    from wholebody.benchmarks.report.accuracy import _most_moved

    run = samples.accuracy_run(-0.001)
    run["metrics"] |= {
        f"body/more_{k}": samples.metric("more", "share", "higher", 0.5, -0.01 * k) for k in range(30)
    }
    (read,) = load_runs([samples.write(tmp_path / "one.jsonl", run)])
    assert isinstance(read, Accuracy)
    shown = list(_most_moved([read]))
    assert shown[:3] == ["body/ap", "hand/recall", "face/recall"]
    assert set(shown[3:]) == {f"body/more_{k}" for k in range(19, 30)}


def test_what_rounds_to_nothing_is_no_difference(tmp_path: Path, samples: ModuleType) -> None:
    run = samples.accuracy_run()
    for figure in run["metrics"].values():
        figure["difference"] = [-2e-6, -3e-6, -1e-6]
    document = report_on(tmp_path, samples, run)
    (table,) = tables(document, "Accuracy")
    assert {row[3].tone for row in table.rows} == {""}
    assert "no figure differs" in words(document, "Accuracy")


def test_boxes_and_annotations_part_the_data_sets(tmp_path: Path, samples: ModuleType) -> None:
    given, found, other = samples.accuracy_run(), samples.accuracy_run(), samples.accuracy_run()
    for run, boxes in ((given, "true"), (found, "detected")):
        run["settings"]["boxes"], run["id"] = boxes, boxes
    other["dataset"]["sha256"] = "ee" * 32
    document = report_on(tmp_path, samples, given, found, other)
    folds = [block.title for block in blocks(document, "Accuracy") if isinstance(block, Fold)]
    assert folds == [
        "synthetic, 500 pictures, true boxes", "synthetic, 500 pictures, detected boxes", "synthetic, 500 "
        "pictures",
    ]  # fmt: skip


def test_pictures_are_only_taken_from_beside_the_runs(tmp_path: Path, samples: ModuleType) -> None:
    (tmp_path / "secret.txt").write_text("no picture")
    names = ["../secret.png", "/etc/hostname", "secret.txt", "missing.png", None]
    worst = tuple({"picture": str(n), "figure": None, "reference": None, "file": n} for n in names)
    document = report_on(tmp_path, samples, samples.accuracy_run(worst=worst))
    assert "Worst pictures" not in [section.title for section in document.sections]


def test_the_worst_pictures_are_in_the_page(tmp_path: Path, samples: ModuleType) -> None:
    run = samples.accuracy_run(worst=samples.drawn(tmp_path))
    document = report_on(tmp_path, samples, run)
    (gallery,) = [block for block in blocks(document, "Worst pictures") if isinstance(block, Gallery)]
    assert [photo.caption for photo in gallery.photos][
        1
    ] == "scene 00001 · body: AP 10.0 % · reference 90.0 %"
    assert render_html(document).count("data:image/jpeg;base64,") == 4


def test_names_that_are_markup_are_shown_as_they_are(tmp_path: Path, samples: ModuleType) -> None:
    run = samples.latency_run()
    run["model"]["name"] = "<script>alert(1)</script>|x"
    run["command"] = "wholebody bench latency '</code><img src=x>'"
    document = report_on(tmp_path, samples, run)
    assert "<script" not in render_html(document)
    assert "<img src=x" not in render_html(document)
    rows = [
        line for line in render_markdown(document).splitlines() if "alert" in line and line.startswith("|")
    ]
    assert rows
    assert all(r"\<script\>" in row and r"\|x" in row for row in rows)


def test_commands_are_told_once_in_their_order(tmp_path: Path, samples: ModuleType) -> None:
    runs = samples.latency_run(people=1), samples.latency_run(people=2)
    document = report_on(tmp_path, samples, *runs)
    text = render_markdown(document)
    repeat = text[text.index("## How to repeat it") :]
    assert repeat.count("wholebody bench latency dope-mini-fp32.onnx --runs runs.jsonl\n") == 1
    assert "wholebody bench report runs.jsonl -o report\n" in repeat


def test_a_run_that_was_measured_again_is_shown_once(tmp_path: Path, samples: ModuleType) -> None:
    document = report_on(tmp_path, samples, samples.latency_run(41.0), samples.latency_run(20.0))
    (table,) = tables(document, "Latency")
    assert [cell.text[:2] for cell in column(table, "p50")] == ["20"]


def test_several_machines_are_kept_apart(tmp_path: Path, samples: ModuleType) -> None:
    orin = {**samples.MACHINE, "cpu": "Cortex-A78AE", "host": "orin"}
    document = report_on(
        tmp_path, samples, samples.latency_run(41.0), samples.latency_run(90.0, machine=orin)
    )
    assert len(tables(document, "Latency")) == 2
    assert "Several machines" in words(document, "In short")
    (machines,) = tables(document, "The machine")
    assert list(machines.columns) == ["", "machine 1", "machine 2"]


def test_threads_are_told_where_they_differ(tmp_path: Path, samples: ModuleType) -> None:
    one = {**samples.latency_run(60.0), "threads": 1, "id": "one"}
    (table,) = tables(report_on(tmp_path, samples, samples.latency_run(41.0), one), "Latency")
    assert [row[0].text for row in table.rows] == [
        "FP32 · ONNX Runtime CPU, 2 threads",
        "FP32 · ONNX Runtime CPU, 1 thread",
    ]


def test_published_figures_stand_apart_with_their_sources(tmp_path: Path, samples: ModuleType) -> None:
    document = report_on(tmp_path, samples, samples.latency_run())
    foreign = [section for section in document.sections if section.foreign]
    assert [section.title for section in foreign] == ["Published by others"]
    found = tables(document, "Published by others")
    assert all(
        f"[{table.source}]({table.url})" in shown.caption
        for table, shown in zip(PUBLISHED, found, strict=True)
    )
    names = {row[0].text for table in found for row in table.rows}
    assert not names & {row[0].text for table in tables(document, "Latency") for row in table.rows}


@pytest.mark.parametrize("table", PUBLISHED, ids=lambda table: table.title)
def test_published_tables_are_whole(table: Any) -> None:
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert table.url.startswith("https://")


@pytest.mark.parametrize(
    "change", [{"times": "abc"}, {"ms": [1]}, {"settings": {"size": [1]}}, {"metrics": [3]}]
)
def test_a_run_of_another_shape_is_refused(
    tmp_path: Path, samples: ModuleType, change: dict[str, Any]
) -> None:
    run = samples.accuracy_run() if "metrics" in change else samples.latency_run()
    with pytest.raises(SourceError, match=r"is not as docs/runs\.md says"):
        report_on(tmp_path, samples, {**run, **change})


def test_a_run_of_an_unknown_kind_is_refused(tmp_path: Path, samples: ModuleType) -> None:
    with pytest.raises(SourceError, match="of kind 'power'"):
        report_on(tmp_path, samples, {"kind": "power", "id": "x"})


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, samples: ModuleType) -> None:
    file = samples.write(tmp_path / "runs.jsonl", samples.latency_run())
    with file.open("ab") as stream:
        stream.write(b'{"format": 1, "kind": "lat')
    assert len(load_runs([file])) == 1
